"""The method of the thesis: which timesteps training draws, by training step."""

from annealed_lm.annealing.t_schedules import diffusion_range

__all__ = ["diffusion_range"]
