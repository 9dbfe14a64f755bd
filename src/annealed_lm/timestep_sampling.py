"""Which timesteps training draws, and with what weight: the one place where training learns of T_now.

A sampler states a density over t for the training step (and, if it observes, the losses so far). Draws are its inverse CDF at
stratified uniforms (`timestep_draws`), so the density is all there is to say; beside it stands the weight that its source gives
the loss. To add one, write a function or class of `ScheduleSettings` and name it in `SAMPLERS`; `T_schedule` takes the names
there. A range that grows needs only its shape, in `annealing.T_SCHEDULES`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from annealed_lm.adaptive_sampling import LossCurve, LossSecondMoment
from annealed_lm.annealing import T_SCHEDULES
from annealed_lm.range_sampling import RangeSampler, reverse, static, static_reverse
from annealed_lm.schedule_settings import Array, ScheduleSettings
from annealed_lm.static_sampling import laplace, logit_normal, speed


class TimestepSampler(Protocol):
    """A distribution over t that may depend on the training step and on the losses before it."""

    @property
    def observes(self) -> bool:
        """Whether it wants to be told the losses."""
        ...

    def density(self, step: int) -> Array:
        """Probability of each t at `step`, [timesteps]."""
        ...

    def weights(self, step: int) -> Array | None:
        """Of the loss at each t, as the sampler's source has them, [timesteps]; None: 1."""
        ...

    def observe(self, step: int, t: npt.NDArray[np.int64], losses: Array) -> None:
        """Be told, after the batch of `step`, the t of each of its texts and the loss of its objective before any weight, both
        [batch]."""
        ...

    def state(self) -> dict[str, Any]:
        """All that observing has changed, as arrays whose shapes never change."""
        ...

    def restore(self, state: dict[str, Any]) -> None: ...


@dataclass(frozen=True)
class SamplerKind:
    """One value of T_schedule.

    Attributes:
        make: the sampler of settings.
        parameters: dotted keys of params.yaml that it reads, beside T_schedule, timesteps and the noise schedule.
        depends_on_losses: if not, its densities are known before any training.
    """

    make: Callable[[ScheduleSettings], TimestepSampler]
    parameters: tuple[str, ...] = ()
    depends_on_losses: bool = False


def keys(*names: str) -> tuple[str, ...]:
    return tuple(f"train_diffusion.{name}" for name in names)


RANGE = keys("start_fraction", "anneal_fraction", "range_in")


def range_parameters(T_schedule: str) -> tuple[str, ...]:
    if T_schedule == "normal":
        return ()
    return (*RANGE, "power") if T_schedule == "polynomial" else RANGE


SAMPLERS: dict[str, SamplerKind] = {
    **{
        name: SamplerKind(partial(RangeSampler, T_schedule=name, from_noise=False), range_parameters(name))
        for name in T_SCHEDULES
    },
    "reverse": SamplerKind(reverse, keys("base_schedule")),
    "static": SamplerKind(static, keys("base_schedule")),
    "static_reverse": SamplerKind(static_reverse, keys("base_schedule")),
    "logit_normal": SamplerKind(logit_normal, keys("logit_normal_mean", "logit_normal_std")),
    "laplace": SamplerKind(laplace, keys("laplace_mean", "laplace_scale")),
    "speed": SamplerKind(speed, keys("speed_tau", "speed_k", "speed_lambda")),
    "loss_second_moment": SamplerKind(LossSecondMoment, depends_on_losses=True),
    "loss_curve": SamplerKind(LossCurve, depends_on_losses=True),
}
"""By value of T_schedule. Those with a base_schedule also read what that one reads."""


def drawn_range(density: Array) -> dict[str, int | float]:
    """Of a density: the timesteps T_low, ..., T_now - 1 that may be drawn, and their mean."""
    drawn = density.nonzero()[0]
    return {"T_low": int(drawn[0]), "T_now": int(drawn[-1]) + 1, "mean_t": float(density @ np.arange(len(density)))}


def make_timestep_sampler(settings: ScheduleSettings) -> TimestepSampler:
    return SAMPLERS[settings.T_schedule].make(settings)
