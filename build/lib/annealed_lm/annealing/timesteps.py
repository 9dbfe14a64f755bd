"""Which timesteps training draws, and with what weight: the one place where training learns of T_now.

A distribution states a density over t for the training step (and, if it observes, the losses so far). Draws are its inverse CDF
at stratified uniforms, so the density is all there is to say; beside it stands the weight that its source gives the loss. To add
a distribution, write a function or class of `ScheduleSettings` and name it in `DISTRIBUTIONS`; `T_schedule` takes the names
there. A range that grows needs only its shape, in `t_schedules.T_SCHEDULES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from annealed_lm.annealing.loss_aware import LossCurve, LossSecondMoment
from annealed_lm.annealing.ranges import GrowingRange, reverse
from annealed_lm.annealing.settings import Array, ScheduleSettings, TimestepDistribution
from annealed_lm.annealing.static_densities import laplace, logit_normal, speed, static, static_reverse
from annealed_lm.annealing.t_schedules import T_SCHEDULES


@dataclass(frozen=True)
class DistributionKind:
    """One value of T_schedule.

    Attributes:
        make: settings -> the distribution, over [0, trained_timesteps).
        parameters: dotted keys of params.yaml that it reads, beside T_schedule, timesteps and the noise schedule.
        depends_on_losses: if not, its densities are known before any training.
    """

    make: Callable[[ScheduleSettings], TimestepDistribution]
    parameters: tuple[str, ...] = ()
    depends_on_losses: bool = False


def keys(*names: str) -> tuple[str, ...]:
    """Return the dotted keys of these parameters of train_diffusion."""
    return tuple(f"train_diffusion.{name}" for name in names)


RANGE = keys("start_fraction", "anneal_fraction", "range_in")
"""What every growing range reads."""


def range_parameters(T_schedule: str) -> tuple[str, ...]:
    """Return the keys that a range with this T schedule reads."""
    if T_schedule == "normal":
        return ()
    return (*RANGE, "power") if T_schedule == "polynomial" else RANGE


DISTRIBUTIONS: dict[str, DistributionKind] = {
    **{
        name: DistributionKind(partial(GrowingRange, T_schedule=name, from_noise=False), range_parameters(name))
        for name in T_SCHEDULES
    },
    "reverse": DistributionKind(reverse, keys("base_schedule")),
    "static": DistributionKind(static, keys("base_schedule")),
    "static_reverse": DistributionKind(static_reverse, keys("base_schedule")),
    "logit_normal": DistributionKind(logit_normal, keys("logit_normal_mean", "logit_normal_std")),
    "laplace": DistributionKind(laplace, keys("laplace_mean", "laplace_scale")),
    "speed": DistributionKind(speed, keys("speed_tau", "speed_k", "speed_lambda")),
    "loss_second_moment": DistributionKind(LossSecondMoment, depends_on_losses=True),
    "loss_curve": DistributionKind(LossCurve, depends_on_losses=True),
}
"""By value of T_schedule. Those with a base_schedule also read what the base_schedule reads."""


class FromFirstTimestep:
    """A distribution over the timesteps from `first` on, as one over all of them.

    Args:
        distribution: over t - `first`.
        first: the lowest timestep that is drawn.
    """

    def __init__(self, distribution: TimestepDistribution, first: int) -> None:
        self.distribution = distribution
        self.first = first

    @property
    def observes(self) -> bool:
        """Whether it wants the losses of every step."""
        return self.distribution.observes

    def density(self, step: int) -> Array:
        """Return the probability of every t at `step`, [timesteps]."""
        return np.pad(self.distribution.density(step), (self.first, 0))

    def weights(self, step: int) -> Array | None:
        """Return the weight of the loss at every t, [timesteps], 0 where none is drawn; None: 1."""
        weights = self.distribution.weights(step)
        return None if weights is None else np.pad(weights, (self.first, 0))

    def observe(self, step: int, t: npt.NDArray[np.int64], losses: Array) -> None:
        """Take in the t of every text of the batch of `step`, and its loss before any weight, both [batch]."""
        self.distribution.observe(step, t - self.first, losses)

    def state(self) -> dict[str, Any]:
        """Return all that observing has changed."""
        return self.distribution.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        self.distribution.restore(state)


def make_distribution(settings: ScheduleSettings) -> TimestepDistribution:
    """Return the distribution that `settings.T_schedule` names, over the timesteps that `settings.range_start` leaves."""
    distribution, first = DISTRIBUTIONS[settings.T_schedule].make(settings), settings.first_timestep
    return FromFirstTimestep(distribution, first) if first else distribution


def drawn_range(density: Array) -> dict[str, int | float]:
    """Return T_low and T_now, the ends of what a density [timesteps] may draw, T_low, ..., T_now - 1, and mean_t, its mean."""
    drawn = density.nonzero()[0]
    return {"T_low": int(drawn[0]), "T_now": int(drawn[-1]) + 1, "mean_t": float(density @ np.arange(len(density)))}
