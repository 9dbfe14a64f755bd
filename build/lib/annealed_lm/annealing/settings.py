"""What a distribution over timesteps may depend on, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from annealed_lm.annealing.t_schedules import DiffusionRange
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES, log_snr

Array = npt.NDArray[np.float64]
HIGHEST_LOG_SNR = 10.0
"""Shares of the way along log-SNR are of that from 10 to -10. (The ends of the noise schedules themselves are where they were
clipped: they differ, and there is next to nothing to learn beyond 10 and -10.)"""

TO_X_START: dict[str, Callable[[Array], Array]] = {
    "pred_x0": np.ones_like,
    "pred_noise": lambda snr: 1 / snr,
    "pred_v": lambda snr: 1 / (snr + 1),
}
"""By objective: SNR -> the factor that turns its squared loss into that of x_start."""


@dataclass(frozen=True)
class ScheduleSettings:
    """All that a distribution over timesteps may depend on, under its name in params.yaml (`total_steps`: num_train_steps)."""

    T_schedule: str
    power: float
    total_steps: int
    timesteps: int
    noise_schedule: str
    tan_d: float
    objective: str
    start_fraction: float
    anneal_fraction: float
    range_in: str
    range_start: float
    base_schedule: str
    logit_normal_mean: float
    logit_normal_std: float
    laplace_mean: float
    laplace_scale: float
    speed_tau: float
    speed_k: float
    speed_lambda: float

    def diffusion_range(self, T_schedule: str) -> DiffusionRange:
        """Return the range that grows as the T schedule of this name says.

        Raises:
            ValueError: there is no such T schedule.
        """
        return DiffusionRange(
            T_schedule, self.total_steps, self.trained_timesteps, self.power, self.start_fraction, self.anneal_fraction
        )

    def alphas_cumprod(self) -> Array:
        """Return alphas_cumprod of the noise schedule, decreasing in (0, 1), [timesteps]."""
        return NOISE_SCHEDULES[self.noise_schedule](self.timesteps, self.tan_d)

    @cached_property
    def first_timestep(self) -> int:
        """The lowest timestep that is ever drawn: where `range_start` lies in [0, T), as a share of what `range_in` says."""
        if self.range_in == "log_snr":
            way = share_of_way(log_snr(self.alphas_cumprod()), HIGHEST_LOG_SNR)
            return min(int(np.searchsorted(way, self.range_start)), self.timesteps - 1)
        return int(self.timesteps * Fraction(str(self.range_start)))  # read as the decimal that the user wrote

    @property
    def trained_timesteps(self) -> int:
        """How many timesteps there are from the first that is drawn: what a distribution is a distribution over."""
        return self.timesteps - self.first_timestep

    def log_snr(self) -> Array:
        """Return log(alphas_cumprod / (1 - alphas_cumprod)), decreasing, [trained_timesteps]."""
        return log_snr(self.alphas_cumprod())[self.first_timestep :]

    def to_x_start(self) -> Array:
        """Return the factor that turns the squared loss of the objective into that of x_start, [trained_timesteps]."""
        return TO_X_START[self.objective](np.exp(self.log_snr()))


def share_of_way(values: Array, highest: float) -> Array:
    """Return the share of the way along log-SNR from `highest` to -10 that lies before each value, in [0, 1]."""
    length = max(highest + HIGHEST_LOG_SNR, np.finfo(np.float64).tiny)
    share: Array = (highest - np.clip(values, -HIGHEST_LOG_SNR, highest)) / length
    return share


class TimestepDistribution(Protocol):
    """A distribution over t that may depend on the training step and on the losses before it.

    Where low timesteps are never drawn (range_start), t counts from the first that is.
    """

    @property
    def observes(self) -> bool:
        """Whether it wants the losses of every step."""
        ...

    def density(self, step: int) -> Array:
        """Return the probability of every t at `step`, [timesteps]."""
        ...

    def weights(self, step: int) -> Array | None:
        """Return the weight of the loss at every t that the distribution's source gives it, [timesteps]; None: 1."""
        ...

    def observe(self, step: int, t: npt.NDArray[np.int64], losses: Array) -> None:
        """Take in the t of every text of the batch of `step`, and its loss before any weight, both [batch]."""
        ...

    def state(self) -> dict[str, Any]:
        """Return all that observing has changed, as arrays whose shapes never change."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        ...


class Unobserving:
    """The part of a distribution's interface that concerns losses, for those that look at none."""

    observes = False

    def observe(self, step: int, t: npt.NDArray[np.int64], losses: Array) -> None:
        """Refuse: such a distribution is never handed losses.

        Raises:
            TypeError: always.
        """
        raise TypeError(f"{type(self).__name__} depends on no losses")

    def state(self) -> dict[str, Array]:
        """Return nothing: density and weights are functions of the step."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Put nothing back: there is no state."""
