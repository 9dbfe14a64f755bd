"""What a distribution over timesteps may depend on, and what it answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from annealed_lm.annealing.t_schedules import DiffusionRange
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES

Array = npt.NDArray[np.float64]

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
        return DiffusionRange(T_schedule, self.total_steps, self.timesteps, self.power, self.start_fraction, self.anneal_fraction)

    def alphas_cumprod(self) -> Array:
        """Return alphas_cumprod of the noise schedule, decreasing in (0, 1), [timesteps]."""
        return NOISE_SCHEDULES[self.noise_schedule](self.timesteps, self.tan_d)

    def log_snr(self) -> Array:
        """Return log(alphas_cumprod / (1 - alphas_cumprod)), decreasing, [timesteps]."""
        alphas_cumprod = self.alphas_cumprod()
        log_snr: Array = np.log(alphas_cumprod) - np.log1p(-alphas_cumprod)
        return log_snr

    def to_x_start(self) -> Array:
        """Return the factor that turns the squared loss of the objective into that of x_start, at every t, [timesteps]."""
        return TO_X_START[self.objective](np.exp(self.log_snr()))


class TimestepDistribution(Protocol):
    """A distribution over t that may depend on the training step and on the losses before it."""

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
