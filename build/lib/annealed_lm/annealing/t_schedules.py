"""Annealing the diffusion range: how far up the noise levels training may draw its timesteps, by training step.

To add a T schedule, write one function here and name it in `T_SCHEDULES`; the command line, the checks, the plots, the contract
tests, `reverse` and `static` find it there. (Distributions over t that are no range: `timesteps.DISTRIBUTIONS`.)
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

Shape = Callable[[float, float], float]
"""(progress in [0, 1], power) -> share in [0, 1] of the way from the start of the range to the whole of it."""


def normal(progress: float, power: float) -> float:
    """Anneal nothing: the whole range from the first step."""
    return 1.0


def linear(progress: float, power: float) -> float:
    """Grow by the same amount at every step."""
    return progress


def polynomial(progress: float, power: float) -> float:
    """Grow as progress^power: slowly at first where the power is above 1."""
    return float(progress**power)


def cosine(progress: float, power: float) -> float:
    """Grow as (1 - cos(pi progress)) / 2: slowly at both ends."""
    # Not 0.5 * (1 - cos): the algebraic twin truncates to another integer at some T.
    return 1 - 0.5 * (1 + math.cos(math.pi * progress))


def unsmooth(progress: float, power: float) -> float:
    """Grow in four equal stages, at 0, 1/4, 1/2 and 3/4 of the way; the last holds until the end of annealing."""
    return max(math.ceil(4 * progress) - 1, 0) / 4


T_SCHEDULES: dict[str, Shape] = {
    "normal": normal,
    "linear": linear,
    "cosine": cosine,
    "polynomial": polynomial,
    "unsmooth": unsmooth,
}
"""By value of T_schedule."""


@dataclass(frozen=True)
class DiffusionRange:
    """T_now as a pure function of the training step, so that resuming needs no state.

    Attributes:
        T_schedule: a name in `T_SCHEDULES`.
        total_steps: N, the training steps.
        timesteps: T, the whole range.
        power: exponent of `polynomial`, > 0.
        start_fraction: T_now at the first step as a share of T, in (0, 1].
        anneal_fraction: share of N after which T_now is T, in [0, 1].

    Raises:
        ValueError: T_schedule is no name in `T_SCHEDULES`.
    """

    T_schedule: str
    total_steps: int
    timesteps: int
    power: float = 2
    start_fraction: float = 0.2
    anneal_fraction: float = 0.5

    def __post_init__(self) -> None:
        if self.T_schedule not in T_SCHEDULES:
            raise ValueError(f"T_schedule {self.T_schedule!r} is not one of {', '.join(T_SCHEDULES)}")

    @cached_property
    def anneal_steps(self) -> int:
        """m = floor(N * anneal_fraction), with the fraction read as the decimal that the user wrote."""
        return math.floor(self.total_steps * Fraction(str(self.anneal_fraction)))

    @cached_property
    def start(self) -> Fraction:
        """T * start_fraction, with the fraction read as the decimal that the user wrote."""
        return self.timesteps * Fraction(str(self.start_fraction))

    def way(self, step: int) -> float:
        """Return the share of the way from the start of the range to the whole of it at `step`, in [0, 1]; 1 after step m."""
        if step > self.anneal_steps or self.anneal_steps == 0:
            return 1.0
        return T_SCHEDULES[self.T_schedule](step / self.anneal_steps, self.power)

    def share(self, step: int) -> float:
        """Return the share of the range that is drawn from at `step`, in [start_fraction, 1], before anything is truncated."""
        return self.start_fraction + self.way(step) * (1 - self.start_fraction)

    def max_timestep(self, step: int) -> int:
        """Return T_now at `step` (0-based), in [1, T]: training draws t from {0, ..., T_now - 1}.

        It is T0 + shape(step / m) * (T - T0), truncated, with T0 = floor(T * start_fraction); after step m it is T.
        """
        way = self.way(step)
        if self.T_schedule == "unsmooth":  # its stages are shares of T itself: truncated once, not twice
            return max(int(self.start + Fraction(way) * (self.timesteps - self.start)), 1)
        first = math.floor(self.start)
        return max(int(first + way * (self.timesteps - first)), 1)


def diffusion_range(
    T_schedule: str,
    step: int,
    total_steps: int,
    timesteps: int,
    power: float = 2,
    start_fraction: float = 0.2,
    anneal_fraction: float = 0.5,
) -> int:
    """Return T_now at `step` in one call, with the arguments of `DiffusionRange`.

    Raises:
        ValueError: T_schedule is no name in `T_SCHEDULES`.
    """
    return DiffusionRange(T_schedule, total_steps, timesteps, power, start_fraction, anneal_fraction).max_timestep(step)
