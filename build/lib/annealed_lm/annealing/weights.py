"""Weights of the loss by t, beside the density that t is drawn with.

Both published weights are stated here for the loss of x_start. For the loss of the noise they are divided by SNR, for that of v
by SNR + 1: squared, these losses are that many times the loss of x_start. SNR = alphas_cumprod / (1 - alphas_cumprod).
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from annealed_lm.annealing.settings import TO_X_START, Array, TimestepDistribution


@dataclass(frozen=True)
class WeightSettings:
    """All that decides the weights, under its name in params.yaml."""

    objective: str
    loss_weight: str
    min_snr_gamma: float
    p2_k: float
    p2_gamma: float
    sampling_weights: str


def min_snr(snr: Array, settings: WeightSettings) -> Array:
    """Return min(SNR, gamma) (Hang et al. 2023, Min-SNR, arXiv 2303.09556, section 3.4): less weight on the lowest noise."""
    return np.minimum(snr, settings.min_snr_gamma)


def p2(snr: Array, settings: WeightSettings) -> Array:
    """Return SNR (k + SNR)^-gamma (Choi et al. 2022, P2, arXiv 2204.00227, equation 8, there for the loss of the noise)."""
    weights: Array = snr * (settings.p2_k + snr) ** -settings.p2_gamma
    return weights


LOSS_WEIGHTS: dict[str, Callable[[Array, WeightSettings], Array]] = {"min_snr": min_snr, "p2": p2}
"""By value of loss_weight: (SNR [timesteps], settings) -> the weight of the loss of x_start at every t, [timesteps]."""


class TimestepWeights:
    """What the loss at t is multiplied by: the loss weight times the weight that goes with how t is drawn.

    `sampling_weights` chooses the latter. `published` is what the distribution's source has. `none` is 1. `inverse_density` is
    1 / (T p(t)), T timesteps being there to draw: the loss is then in expectation that of uniform t, over the timesteps that are
    drawn at all, for an annealed range leaves the others out.

    Args:
        alphas_cumprod: [timesteps].
        trained_timesteps: how many of them there are to draw.
    """

    def __init__(self, settings: WeightSettings, alphas_cumprod: Array, trained_timesteps: int) -> None:
        self.sampling_weights = settings.sampling_weights
        self.trained_timesteps = trained_timesteps
        snr = alphas_cumprod / (1 - alphas_cumprod)
        self.of_loss: Array | None = None
        if settings.loss_weight != "none":
            self.of_loss = LOSS_WEIGHTS[settings.loss_weight](snr, settings) * TO_X_START[settings.objective](snr)

    def of_drawing(self, distribution: TimestepDistribution, step: int) -> Array | None:
        """Return the weight that goes with how every t is drawn, [timesteps]; None: 1."""
        if self.sampling_weights == "published":
            return distribution.weights(step)
        if self.sampling_weights == "none":
            return None
        density = distribution.density(step)
        return np.divide(1 / self.trained_timesteps, density, out=np.zeros_like(density), where=density > 0)

    def at(self, distribution: TimestepDistribution, step: int) -> Array | None:
        """Return the weight of every t at `step`, [timesteps]; None: 1."""
        factors = [factor for factor in (self.of_loss, self.of_drawing(distribution, step)) if factor is not None]
        return np.prod(factors, axis=0) if factors else None
