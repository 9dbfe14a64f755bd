"""Densities over t that are the same at every training step: averages of growing ranges, and those of the literature on images.

`static` draws at every step what a range draws on average over the training: it tells the effect of the order of the timesteps
from the effect of how often they are drawn.
"""

from statistics import NormalDist

import numpy as np

from annealed_lm.annealing.ranges import GrowingRange, reverse
from annealed_lm.annealing.settings import Array, ScheduleSettings, Unobserving

SMALLEST_MASS = 1e-9
"""Least share of a distribution that must lie within the timesteps."""


class FixedDensity(Unobserving):
    """One density at every step.

    Args:
        density: [timesteps], sums to 1.
        weights: of the loss at every t, [timesteps]; None: 1.
    """

    def __init__(self, density: Array, weights: Array | None = None) -> None:
        self.fixed_density = density
        self.fixed_weights = weights

    def density(self, step: int) -> Array:
        """Return the probability of every t, [timesteps]."""
        return self.fixed_density

    def weights(self, step: int) -> Array | None:
        """Return the weight of the loss at every t, [timesteps]; None: 1."""
        return self.fixed_weights


def static(settings: ScheduleSettings) -> FixedDensity:
    """Draw with p(t) = the mean over all steps of the density of `base_schedule`: the same timesteps, in no order."""
    return FixedDensity(GrowingRange(settings, settings.base_schedule, from_noise=False).average())


def static_reverse(settings: ScheduleSettings) -> FixedDensity:
    """Draw with p(t) = the mean over all steps of the density of `reverse`."""
    return FixedDensity(reverse(settings).average())


def between(cumulated: Array) -> Array:
    """Return the density of the timesteps, given a distribution function at their edges, [timesteps + 1].

    Raises:
        ValueError: there is nothing between the edges.
    """
    mass = np.diff(cumulated)
    if mass.sum() < SMALLEST_MASS:
        raise ValueError("the distribution lies outside the timesteps")
    density: Array = mass / mass.sum()
    return density


def logit_normal(settings: ScheduleSettings) -> FixedDensity:
    """Draw t / T = sigmoid(u), u ~ N(logit_normal_mean, logit_normal_std^2): the middle of the range more often than its ends
    (Esser et al. 2024, Stable Diffusion 3, arXiv 2403.03206, equation 19)."""
    normal = NormalDist(settings.logit_normal_mean, settings.logit_normal_std)
    inner = np.arange(1, settings.trained_timesteps) / settings.trained_timesteps
    below = [normal.cdf(float(logit)) for logit in np.log(inner / (1 - inner))]
    return FixedDensity(between(np.array([0.0, *below, 1.0])))


def laplace(settings: ScheduleSettings) -> FixedDensity:
    """Draw log-SNR ~ Laplace(laplace_mean, laplace_scale): noise levels around one log-SNR, whatever the noise schedule.

    A timestep stands for the log-SNRs that are nearest to its own; what lies beyond the noise schedule's ends is left out (Hang
    et al. 2025, Improved Noise Schedule, arXiv 2407.03297).

    Raises:
        ValueError: all of the distribution lies beyond these ends.
    """
    log_snr = settings.log_snr()
    if len(log_snr) == 1:
        return FixedDensity(np.ones(1))
    middles = (log_snr[1:] + log_snr[:-1]) / 2
    edges = np.array([2 * log_snr[0] - middles[0], *middles, 2 * log_snr[-1] - middles[-1]])
    distance = (edges - settings.laplace_mean) / settings.laplace_scale
    below = np.where(distance < 0, 0.5 * np.exp(np.minimum(distance, 0)), 1 - 0.5 * np.exp(-np.maximum(distance, 0)))
    return FixedDensity(between(1 - below))


def speed(settings: ScheduleSettings) -> FixedDensity:
    """Draw as SpeeD does: p(t) is speed_k times larger below t = speed_tau T, where the noise grows, than above.

    The loss is weighted by 1 - l + (2 l - 1) norm(d(1 - alphas_cumprod)/dt), where l = speed_lambda and norm scales to [0, 1]
    (Wang et al. 2025, arXiv 2405.17403). SpeeD's antithetic pairs of t are a case of the stratified draws that all distributions
    share.
    """
    t = np.arange(settings.trained_timesteps)
    density = np.where(t < settings.speed_tau * settings.trained_timesteps, settings.speed_k, 1.0)
    growth = -np.diff(settings.alphas_cumprod(), prepend=1.0)[settings.first_timestep :]
    scaled = (growth - growth.min()) / max(np.ptp(growth), np.finfo(np.float64).tiny)
    weights = 1 - settings.speed_lambda + (2 * settings.speed_lambda - 1) * scaled
    return FixedDensity(density / density.sum(), weights)
