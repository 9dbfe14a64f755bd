"""How a step of sampling goes from one noise level to a lower one, and between which timesteps: numbers, known before any step.

Every solver here is linear: x = a x_t + b x_start + c (x_start of the step before) + s (fresh noise), where x_start is what the
network predicts at t. With signal sqrt(alphas_cumprod), noise sqrt(1 - alphas_cumprod), and lambda = log(signal / noise).
To add a solver, write one function here and name it in `SOLVERS`; to add a spacing, in `SPACINGS`.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from annealed_lm.diffusion.noise_schedules import log_snr, timestep_of_level

Alphas = npt.NDArray[np.float64]
X_START = -1
"""The timestep that stands for x_start: no noise is left."""


class SolverStep(NamedTuple):
    """From t to the next timestep.

    Attributes:
        x_t, x_start, previous, noise: what the latents at t, the predicted x_start, that of the step before, and fresh normal
            noise are multiplied by.
    """

    t: int
    x_t: float
    x_start: float
    previous: float
    noise: float


class NoisePoint(NamedTuple):
    """A timestep on the way: how much signal and noise it has."""

    t: int
    signal: float
    noise: float

    @classmethod
    def of(cls, alphas_cumprod: Alphas, t: int) -> "NoisePoint":
        """Return the point of timestep t, -1 for x_start."""
        signal = 1.0 if t == X_START else float(alphas_cumprod[t])
        return cls(t, math.sqrt(signal), math.sqrt(1 - signal))

    @property
    def log_ratio(self) -> float:
        """Return lambda, infinite at x_start."""
        return math.log(self.signal / self.noise) if self.noise else math.inf


def trailing(alphas_cumprod: Alphas, count: int, stop: int) -> list[int]:
    """Return timesteps in even strides from T - 1 to `stop` (Lin et al. 2024, arXiv 2305.08891, table 2).

    The network is evaluated at all but the last.
    """
    return [round(t) for t in np.linspace(len(alphas_cumprod) - 1, stop, count + 1)]


def uniform(alphas_cumprod: Alphas, count: int, stop: int) -> list[int]:
    """Return timesteps in even strides from T - 1 to the one before `stop`, and `stop`: the last step is the shortest."""
    return [*(round(t) for t in np.linspace(len(alphas_cumprod) - 1, stop + 1, count)), stop]


def even_log_snr(alphas_cumprod: Alphas, count: int, stop: int) -> list[int]:
    """Return the timesteps nearest to even strides of log-SNR from T - 1 to `stop` (Lu et al. 2022, arXiv 2206.00927, section 3).

    Where `stop` is x_start, whose log-SNR is infinite, the strides end at t = 0. Where even strides would fall on one timestep
    twice, the next one is taken.
    """
    values = log_snr(alphas_cumprod)
    last = max(stop, 0)
    ends = np.linspace(values[-1], values[last], count + (stop != X_START))
    nearest = [int(np.abs(values - value).argmin()) for value in ends] + [X_START] * (stop == X_START)
    return distinct(nearest)


def distinct(timesteps: list[int]) -> list[int]:
    """Return falling timesteps that are all different, as near as may be to those given, whose ends stay."""
    count = len(timesteps) - 1
    falling: list[int] = []
    for place, t in enumerate(timesteps):
        below = falling[-1] - 1 if falling else t
        falling.append(min(max(t, timesteps[-1] + count - place), below))
    return falling


SPACINGS: dict[str, Callable[[Alphas, int, int], list[int]]] = {"trailing": trailing, "uniform": uniform, "log_snr": even_log_snr}
"""By value of spacing: (alphas_cumprod, evaluations of the network, last timestep) -> timesteps, falling, one more than
evaluations."""


def ddim_step(here: NoisePoint, there: NoisePoint, before: NoisePoint | None, eta: float) -> SolverStep:
    """Return a step of DDIM (Song et al. 2021, arXiv 2010.02502, equations 12 and 16): eta 1 is ancestral sampling, eta 0 adds no
    noise."""
    sigma = eta * math.sqrt(max(1 - (here.signal / there.signal) ** 2, 0)) * there.noise / here.noise
    direction = math.sqrt(max(there.noise**2 - sigma**2, 0))
    x_t = direction / here.noise
    return SolverStep(here.t, x_t, there.signal - x_t * here.signal, 0.0, sigma)


def with_previous(step: SolverStep, here: NoisePoint, there: NoisePoint, before: NoisePoint | None) -> SolverStep:
    """Return a first-order step made second-order: x_start is extrapolated by that of the step before.

    To the middle of the step in lambda, which is what DPM-Solver++(2M) does. The last step to x_start has no middle, and the
    first one has none before: they stay.
    """
    if before is None or there.t == X_START:
        return step
    ratio = (there.log_ratio - here.log_ratio) / (here.log_ratio - before.log_ratio) / 2
    return step._replace(x_start=step.x_start * (1 + ratio), previous=-step.x_start * ratio)


def dpm_solver_step(here: NoisePoint, there: NoisePoint, before: NoisePoint | None, eta: float) -> SolverStep:
    """Return a step of DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, algorithm 2): second order, no noise is added."""
    return with_previous(ddim_step(here, there, before, 0.0), here, there, before)


def sde_dpm_solver_step(here: NoisePoint, there: NoisePoint, before: NoisePoint | None, eta: float) -> SolverStep:
    """Return a step of SDE-DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, appendix B): second order, of the SDE."""
    if there.t == X_START:
        return SolverStep(here.t, 0.0, 1.0, 0.0, 0.0)
    decay = math.exp(here.log_ratio - there.log_ratio)
    fresh = -math.expm1(2 * (here.log_ratio - there.log_ratio))
    first = SolverStep(here.t, there.noise / here.noise * decay, there.signal * fresh, 0.0, there.noise * math.sqrt(fresh))
    return with_previous(first, here, there, before)


Solver = Callable[[NoisePoint, NoisePoint, NoisePoint | None, float], SolverStep]
"""(where the step begins, where it ends, where the step before began or None, eta) -> the step."""

SOLVERS: dict[str, Solver] = {
    "ddim": ddim_step,
    "dpm_solver": dpm_solver_step,
    "sde_dpm_solver": sde_dpm_solver_step,
}
"""By value of solver; eta is read by ddim alone."""


def solver_steps(
    alphas_cumprod: Alphas, solver: str, spacing: str, count: int, eta: float, decode_at: float, from_level: float = 1.0
) -> list[SolverStep]:
    """Return the steps from noise down to the noise level `decode_at`, `count` evaluations of the network.

    Args:
        alphas_cumprod: [timesteps].
        solver, spacing: names in `SOLVERS` and `SPACINGS`.
        count: at most as many as there are timesteps above the last.
        decode_at: a noise level sqrt(1 - alphas_cumprod) in [0, 1): the last timestep is the highest that has at most this noise;
            0: x_start.
        from_level: steps that begin at more noise are left out.
    """
    timesteps = SPACINGS[spacing](alphas_cumprod, count, timestep_of_level(alphas_cumprod, decode_at))
    points = [NoisePoint.of(alphas_cumprod, t) for t in timesteps]
    points = [point for point in points if point.noise <= from_level]
    earlier = [None, *points]
    return [SOLVERS[solver](here, there, earlier[place], eta) for place, (here, there) in enumerate(pairwise(points))]
