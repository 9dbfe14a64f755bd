"""Drawing timesteps: all that a training asks of annealing."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from annealed_lm.annealing.settings import Array, ScheduleSettings
from annealed_lm.annealing.timesteps import drawn_range, make_distribution
from annealed_lm.annealing.weights import TimestepWeights, WeightSettings


def stratified_uniforms(count: int, random: torch.Generator) -> Tensor:
    """Return `count` uniforms in [0, 1), one in each of `count` equal intervals, in random order, float64 [count].

    They have less variance than independent ones (Kingma et al. 2021, arXiv 2107.00630, appendix I.1) and the same density.
    """
    offsets = torch.rand(count, generator=random, device=random.device, dtype=torch.float64)
    order = torch.randperm(count, generator=random, device=random.device)
    return (order + offsets) / count


def inverse_cdf(density: Array, uniforms: Tensor) -> Tensor:
    """Return t int64 [batch], on the device of `uniforms`: the smallest t whose cumulated density exceeds u.

    Args:
        density: [timesteps].
        uniforms: u in [0, 1), float64 [batch].
    """
    cumulated = torch.from_numpy(density.cumsum()).to(uniforms.device)
    last = int(density.nonzero()[0].max())  # rounding may leave the cumulated density a little under 1
    return torch.searchsorted(cumulated / cumulated[-1], uniforms, right=True).clamp(max=last)


class Timesteps:
    """The timesteps of one training: draws them with their weights, and is handed back the losses.

    Args:
        settings: which T_schedule, and what it may depend on.
        weights: how the losses are weighted by t.
    """

    def __init__(self, settings: ScheduleSettings, weights: WeightSettings) -> None:
        self.distribution = make_distribution(settings)
        self.weights = TimestepWeights(weights, settings.alphas_cumprod(), settings.trained_timesteps)

    def draw(self, step: int, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Draw the timesteps of the batch of `step`, with the weights of their losses.

        Args:
            count: how many texts the batch has.
            generator: on the CPU.

        Returns:
            t, int64 [count], and the weights of the losses at these t, float32 [count], or None for weights of 1. On the CPU.
        """
        t = inverse_cdf(self.distribution.density(step), stratified_uniforms(count, generator))
        weights = self.weights.at(self.distribution, step)
        return t, None if weights is None else torch.from_numpy(weights[t.numpy()]).float()

    @property
    def observes(self) -> bool:
        """Whether the next draws depend on the losses of this step."""
        return self.distribution.observes

    def observe(self, step: int, t: npt.NDArray[np.int64], losses: Array) -> None:
        """Take in the t of every text of the batch of `step`, and its loss before any weight, both [batch].

        Raises:
            TypeError: the distribution depends on no losses.
        """
        self.distribution.observe(step, t, losses)

    def drawn_range(self, step: int) -> dict[str, int | float]:
        """Return T_low and T_now, the ends of what may be drawn at `step`, T_low, ..., T_now - 1, and mean_t, its mean."""
        return drawn_range(self.distribution.density(step))

    def state_dict(self) -> dict[str, Any]:
        """Return what observing has changed, as tensors for a checkpoint."""
        return {name: torch.from_numpy(array.copy()) for name, array in self.distribution.state().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.distribution.restore({name: tensor.numpy() for name, tensor in state_dict.items()})
