"""Noise schedules: how much of the signal is left at every timestep, alphas_cumprod of shape [timesteps], float64.

t = 0 is one step of noise; u = (t + 1) / T. To add a noise schedule, write one function here and name it in `NOISE_SCHEDULES`.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
NoiseSchedule = Callable[[int, float], Array]
"""(timesteps, d of tan-d) -> alphas_cumprod, strictly decreasing in (0, 1)."""

SMALLEST_ALPHA_CUMPROD = 1e-9
"""Where a schedule ends in pure noise, a trace of signal is left, so that x_start can be computed from noise."""


def linear(timesteps: int, d: float) -> Array:
    """Return the cumulated product of 1 - beta, with beta from 1e-4 to 0.02, scaled by 1000 / T.

    Source: Ho et al. 2020, arXiv 2006.11239, section 4.
    """
    scale = 1000 / timesteps
    betas = np.linspace(scale * 1e-4, scale * 0.02, timesteps)
    return np.cumprod(1 - np.minimum(betas, 0.999))


def cosine(timesteps: int, d: float) -> Array:
    """Return cos^2((u + 0.008) / 1.008 * pi / 2) over its value at u = 0, with beta at most 0.999.

    Source: Nichol & Dhariwal 2021, arXiv 2102.09672, equation 17.
    """
    signal = np.cos((np.arange(timesteps + 1) / timesteps + 0.008) / 1.008 * np.pi / 2) ** 2
    betas = np.minimum(1 - signal[1:] / signal[:-1], 0.999)
    return np.cumprod(1 - betas)


def sqrt(timesteps: int, d: float) -> Array:
    """Return 1 - sqrt(u + 0.0001) (Li et al. 2022, Diffusion-LM, arXiv 2205.14217, appendix A)."""
    u = np.arange(1, timesteps + 1) / timesteps
    alphas_cumprod: Array = np.maximum(1 - np.sqrt(u + 1e-4), SMALLEST_ALPHA_CUMPROD)
    return alphas_cumprod


def tan(timesteps: int, d: float) -> Array:
    """Return 1 / (1 + d^2 tan^2(u pi / 2)) (Shabalin et al. 2025, TEncDM, arXiv 2402.19097, section 4.3)."""
    u = np.arange(1, timesteps + 1) / timesteps
    return np.maximum(1 / (1 + d**2 * np.tan(u * np.pi / 2) ** 2), SMALLEST_ALPHA_CUMPROD)


NOISE_SCHEDULES: dict[str, NoiseSchedule] = {"linear": linear, "cosine": cosine, "sqrt": sqrt, "tan": tan}
"""By value of noise_schedule."""


def log_snr(alphas_cumprod: Array) -> Array:
    """Return log(alphas_cumprod / (1 - alphas_cumprod)), decreasing, [timesteps]."""
    values: Array = np.log(alphas_cumprod) - np.log1p(-alphas_cumprod)
    return values


def noise_levels(alphas_cumprod: Array) -> Array:
    """Return sqrt(1 - alphas_cumprod), the noise level of every timestep, rising in (0, 1), [timesteps].

    It says how noisy x_t is whatever the noise schedule.
    """
    levels: Array = np.sqrt(1 - alphas_cumprod)
    return levels


def lowest_level(alphas_cumprod: Array, first_timestep: int) -> float:
    """Return the lowest noise level that sampling reaches with a network that knows the timesteps from `first_timestep` on.

    The step from there ends one timestep below; 0 stands for x_start.
    """
    return float(noise_levels(alphas_cumprod)[first_timestep - 1]) if first_timestep else 0.0


def below_every_timestep(alphas_cumprod: Array, level: float) -> bool:
    """Return whether a noise level lies between those of x_start and of the lowest timestep, where there is no x_t."""
    return 0 < level < float(noise_levels(alphas_cumprod)[0])


def timestep_of_level(alphas_cumprod: Array, level: float) -> int:
    """Return the highest timestep whose noise level is at most `level`; -1, which stands for x_start, if none is."""
    return int(np.searchsorted(noise_levels(alphas_cumprod), level, side="right")) - 1


def timesteps_above(alphas_cumprod: Array, level: float) -> int:
    """Return how many evaluations of the network there are at most on the way down to `timestep_of_level`."""
    return len(alphas_cumprod) - 1 - timestep_of_level(alphas_cumprod, level)


def rounded_up(level: float) -> float:
    """Return a noise level in thousandths, and not below it: what can be written in params.yaml and is allowed."""
    return math.ceil(1000 * level) / 1000
