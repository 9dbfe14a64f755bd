"""Densities over t that follow the losses seen so far. What they have learnt is their state, which a checkpoint holds.

Losses come in by batch and are worked in at once, in order, so that when a checkpoint is written changes nothing.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from annealed_lm.annealing.settings import Array, ScheduleSettings

HISTORY = 10
"""Losses kept of each t by `LossSecondMoment`."""
UNIFORM_PROBABILITY = 0.001
BINS = 25
"""Of `LossCurve`, at most."""
CURVE_DECAY = 0.995
"""Of its moving averages, by batch: they look back over about two hundred."""
LEAST_OBSERVATIONS = 20
"""Of each bin, before the curve is used."""
REFRESH_EVERY = 50
"""Steps between two densities of it."""
LEAST_RISE = 0.2
"""Of the curve, as a share of its highest value, before it is followed."""
UNIFORM_SHARE = 0.1
"""Of its draws, so that no timestep is forgotten."""


class LossSecondMoment:
    """p(t) proportional to sqrt(E[L_t^2]) over the last ten losses of each t, the loss weighted by 1 / (T p(t)); uniform until
    every t has ten (Nichol & Dhariwal 2021, arXiv 2102.09672, equation 18, with their mixture of 0.001 uniform)."""

    observes = True

    def __init__(self, settings: ScheduleSettings) -> None:
        self.timesteps = settings.timesteps
        self.losses = np.zeros((settings.timesteps, HISTORY))
        self.counts = np.zeros(settings.timesteps, dtype=np.int64)

    def density(self, step: int) -> Array:
        uniform = np.full(self.timesteps, 1 / self.timesteps)
        if self.counts.min() < HISTORY:
            return uniform
        roots = np.sqrt(np.square(self.losses).mean(1))
        if roots.sum() == 0:
            return uniform
        density: Array = (1 - UNIFORM_PROBABILITY) * roots / roots.sum() + UNIFORM_PROBABILITY * uniform
        return density

    def weights(self, step: int) -> Array | None:
        return 1 / (self.timesteps * self.density(step))

    def observe(self, step: int, t: npt.NDArray[np.int64], losses: Array) -> None:
        """Take in the loss of each text of the batch of `step`, and its t, both [batch]."""
        for each, loss in zip(t, losses, strict=True):
            self.losses[each, self.counts[each] % HISTORY] = loss
            self.counts[each] += 1

    def state(self) -> dict[str, Any]:
        return {"losses": self.losses, "counts": self.counts}

    def restore(self, state: dict[str, Any]) -> None:
        self.losses[:] = state["losses"]
        self.counts[:] = state["counts"]


class LossCurve:
    """p(t) proportional to dL/dt, L the loss of x_start at t: each draw then meets an equal part of the loss's rise, and the loss
    grows linearly in the uniform number that t is drawn with (Dieleman et al. 2022, CDCD, arXiv 2211.15089, time warping; they do
    not weight the loss for it either).

    L is measured: moving averages over batches in at most 25 bins of t, made non-decreasing by isotonic regression, joined by
    straight lines, which are drawn out to the ends of the range. A tenth of the draws stays uniform; all are until each bin has
    twenty losses, and while L hardly rises, as at the start of a training: noise would be taken for slope.
    """

    observes = True

    def __init__(self, settings: ScheduleSettings) -> None:
        self.timesteps = settings.timesteps
        self.to_x_start = settings.to_x_start()
        self.edges = np.linspace(0, settings.timesteps, min(BINS, settings.timesteps) + 1).round().astype(np.int64)
        self.means = np.zeros(len(self.edges) - 1)
        self.counts = np.zeros(len(self.edges) - 1, dtype=np.int64)
        self.current = np.full(settings.timesteps, 1 / settings.timesteps)

    def density(self, step: int) -> Array:
        return self.current

    def weights(self, step: int) -> Array | None:
        return None

    def observe(self, step: int, t: npt.NDArray[np.int64], losses: Array) -> None:
        """Take in the loss of each text of the batch of `step`, and its t, both [batch]."""
        bins = np.searchsorted(self.edges, t, side="right") - 1
        here = np.bincount(bins, minlength=len(self.means))
        seen = here > 0
        means = np.bincount(bins, weights=losses * self.to_x_start[t], minlength=len(self.means))[seen] / here[seen]
        # The mean of what was seen while that is young, a moving average afterwards.
        kept = np.minimum(CURVE_DECAY, self.counts[seen] / (self.counts[seen] + here[seen]))
        self.means[seen] = kept * self.means[seen] + (1 - kept) * means
        self.counts += here
        if (step + 1) % REFRESH_EVERY == 0 and self.counts.min() >= LEAST_OBSERVATIONS:
            self.current = (1 - UNIFORM_SHARE) * self.slopes() + UNIFORM_SHARE / self.timesteps

    def slopes(self) -> Array:
        """The rise of L over each timestep as a share of all its rise, [timesteps]."""
        middles = (self.edges[1:] + self.edges[:-1]) / 2
        curve = isotonic_regression(self.means).x
        before, after = (curve[1] - curve[0], curve[-1] - curve[-2]) if len(curve) > 1 else (0.0, 0.0)
        places = np.array([0.0, *middles, self.timesteps])
        values = np.array([max(curve[0] - before / 2, 0.0), *curve, curve[-1] + after / 2])
        rises = np.diff(np.interp(np.arange(self.timesteps + 1), places, values))
        if rises.sum() <= LEAST_RISE * values[-1]:
            return np.full(self.timesteps, 1 / self.timesteps)
        slopes: Array = rises / rises.sum()
        return slopes

    def state(self) -> dict[str, Any]:
        return {"means": self.means, "counts": self.counts, "current": self.current}

    def restore(self, state: dict[str, Any]) -> None:
        self.means[:] = state["means"]
        self.counts[:] = state["counts"]
        self.current = np.array(state["current"])
