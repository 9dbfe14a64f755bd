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
import torch
from torch import Tensor

from annealed_lm.annealing.loss_aware import LossCurve, LossSecondMoment
from annealed_lm.annealing.ranges import RangeSampler, reverse
from annealed_lm.annealing.settings import Array, ScheduleSettings
from annealed_lm.annealing.static_densities import laplace, logit_normal, speed, static, static_reverse
from annealed_lm.annealing.t_schedules import T_SCHEDULES


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


def stratified_uniforms(count: int, random: torch.Generator) -> Tensor:
    """`count` uniforms in [0, 1), one in each of `count` equal intervals, in random order, float64 [count]."""
    offsets = torch.rand(count, generator=random, device=random.device, dtype=torch.float64)
    order = torch.randperm(count, generator=random, device=random.device)
    return (order + offsets) / count


def draw_timesteps(density: Array, uniforms: Tensor) -> Tensor:
    """t int64 [batch], on the device of `uniforms`: the smallest t whose cumulated density exceeds u."""
    cumulated = torch.from_numpy(density.cumsum()).to(uniforms.device)
    last = int(density.nonzero()[0].max())  # rounding may leave the cumulated density a little under 1
    return torch.searchsorted(cumulated / cumulated[-1], uniforms, right=True).clamp(max=last)


class SamplerState:
    """The state of a sampler as a checkpoint holds it: tensors."""

    def __init__(self, sampler: TimestepSampler) -> None:
        self.sampler = sampler

    def state_dict(self) -> dict[str, Any]:
        return {name: torch.from_numpy(array.copy()) for name, array in self.sampler.state().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sampler.restore({name: tensor.numpy() for name, tensor in state_dict.items()})
