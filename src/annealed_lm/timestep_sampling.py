"""Which timesteps training draws, and with what weight: the one place where training learns of T_now.

A sampler states a density over t for the training step; draws are its inverse CDF at stratified uniforms, which have less
variance than independent ones (Kingma et al. 2021, arXiv 2107.00630, appendix I.1) and the same density.
"""

from typing import Protocol

import torch
from torch import Tensor

from annealed_lm.annealing import DiffusionRange


class TimestepSampler(Protocol):
    """A distribution over t that may depend on the training step."""

    def density(self, step: int) -> Tensor:
        """Probability of each t at `step`, float64 [timesteps]."""
        ...


class RangeSampler:
    """Uniform over {0, ..., T_now - 1}, T_now from a T schedule."""

    def __init__(self, diffusion_range: DiffusionRange) -> None:
        self.diffusion_range = diffusion_range

    def density(self, step: int) -> Tensor:
        T_now = self.diffusion_range.max_timestep(step)
        density = torch.zeros(self.diffusion_range.timesteps, dtype=torch.float64)
        density[:T_now] = 1 / T_now
        return density


def stratified_uniforms(count: int, random: torch.Generator) -> Tensor:
    """`count` uniforms in [0, 1), one in each of `count` equal intervals, in random order, float64 [count]."""
    offsets = torch.rand(count, generator=random, device=random.device, dtype=torch.float64)
    order = torch.randperm(count, generator=random, device=random.device)
    return (order + offsets) / count


def draw_timesteps(density: Tensor, uniforms: Tensor) -> Tensor:
    """t int64 [batch]: the smallest t whose cumulated density exceeds u."""
    cumulated = density.cumsum(0).to(uniforms.device)
    last = int(density.nonzero().max())  # rounding may leave the cumulated density a little under 1
    return torch.searchsorted(cumulated / cumulated[-1], uniforms, right=True).clamp(max=last)
