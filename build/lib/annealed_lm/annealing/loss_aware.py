"""Densities over t that follow the losses seen so far. What they have learnt is their state, which a checkpoint holds.

Losses come in by batch and are worked in at once, in order, so that it makes no difference when a checkpoint is written.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from annealed_lm.annealing.settings import Array, ScheduleSettings

HISTORY = 10
"""How many losses `LossSecondMoment` keeps of every t."""
UNIFORM_PROBABILITY = 0.001
"""Share of its density that is uniform."""
BINS = 25
"""How many bins of t `LossCurve` has, at most."""
CURVE_DECAY = 0.995
"""Decay of its moving averages, by batch: they look back over about two hundred batches."""
LEAST_OBSERVATIONS = 20
"""How many losses every bin needs before the curve is used."""
REFRESH_EVERY = 50
"""Steps between two of its densities."""
LEAST_RISE = 0.2
"""How much the curve must rise, as a share of its highest value, before it is followed."""
UNIFORM_SHARE = 0.1
"""Share of its draws that stays uniform, so that no timestep is forgotten."""
UNKNOWN_LOSS = 1.0
"""The squared loss of x_start when nothing is known of it: the variance of a dimension of normalised latents."""


class LossSecondMoment:
    """A density that follows the second moment of the losses: p(t) proportional to sqrt(E[L_t^2]) over the last ten losses of t.

    The loss is weighted by 1 / (T p(t)). The density is uniform until every t has ten losses; then a share of 0.001 of it stays
    uniform (Nichol & Dhariwal 2021, arXiv 2102.09672, equation 18 and their mixture).
    """

    observes = True

    def __init__(self, settings: ScheduleSettings) -> None:
        self.timesteps = settings.trained_timesteps
        self.losses = np.zeros((self.timesteps, HISTORY))
        self.counts = np.zeros(self.timesteps, dtype=np.int64)

    def density(self, step: int) -> Array:
        """Return the probability of every t at `step`, [timesteps]."""
        uniform = np.full(self.timesteps, 1 / self.timesteps)
        if self.counts.min() < HISTORY:
            return uniform
        roots = np.sqrt(np.square(self.losses).mean(1))
        if roots.sum() == 0:
            return uniform
        density: Array = (1 - UNIFORM_PROBABILITY) * roots / roots.sum() + UNIFORM_PROBABILITY * uniform
        return density

    def weights(self, step: int) -> Array | None:
        """Return the weight of the loss at every t, 1 / (T p(t)), [timesteps]."""
        return 1 / (self.timesteps * self.density(step))

    def observe(self, step: int, t: npt.NDArray[np.int64], losses: Array) -> None:
        """Take in the t of every text of the batch of `step`, and its loss, both [batch]."""
        for each, loss in zip(t, losses, strict=True):
            self.losses[each, self.counts[each] % HISTORY] = loss
            self.counts[each] += 1

    def state(self) -> dict[str, Any]:
        """Return the last losses of every t, [timesteps, HISTORY], and how many it has had, [timesteps]."""
        return {"losses": self.losses, "counts": self.counts}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        self.losses[:] = state["losses"]
        self.counts[:] = state["counts"]


class LossCurve:
    """A density that follows the rise of the loss: p(t) proportional to dL/dt, where L is the loss of x_start at t.

    Every draw then meets an equal part of the rise, and the loss grows linearly in the uniform number that t is drawn with
    (Dieleman et al. 2022, CDCD, arXiv 2211.15089, time warping). As there, the loss is not weighted.

    L is measured by moving averages over batches in at most 25 bins of t. They are made non-decreasing by isotonic regression and
    joined by straight lines, which are drawn out to the ends of the range. A tenth of the draws stays uniform. All of them are
    uniform until every bin has twenty losses, and while L hardly rises, as at the start of a training: noise would be taken for
    slope.

    A loss of the noise is divided by SNR, and so may say anything of x_start where next to no signal is left: 1e9 times itself.
    It counts as no more than `UNKNOWN_LOSS` there, since x_start cannot be known less than not at all.
    """

    observes = True

    def __init__(self, settings: ScheduleSettings) -> None:
        self.timesteps = settings.trained_timesteps
        self.to_x_start = settings.to_x_start()
        self.edges = np.linspace(0, self.timesteps, min(BINS, self.timesteps) + 1).round().astype(np.int64)
        self.means = np.zeros(len(self.edges) - 1)
        self.counts = np.zeros(len(self.edges) - 1, dtype=np.int64)
        self.current = np.full(self.timesteps, 1 / self.timesteps)

    def density(self, step: int) -> Array:
        """Return the probability of every t, [timesteps]; it changes every `REFRESH_EVERY` steps."""
        return self.current

    def weights(self, step: int) -> Array | None:
        """Return None: the loss is not weighted."""
        return None

    def observe(self, step: int, t: npt.NDArray[np.int64], losses: Array) -> None:
        """Take in the t of every text of the batch of `step`, and its loss, both [batch]."""
        bins = np.searchsorted(self.edges, t, side="right") - 1
        here = np.bincount(bins, minlength=len(self.means))
        seen = here > 0
        of_x_start = np.minimum(losses * self.to_x_start[t], np.maximum(losses, UNKNOWN_LOSS))
        means = np.bincount(bins, weights=of_x_start, minlength=len(self.means))[seen] / here[seen]
        # The mean of what was seen while that is young, a moving average afterwards.
        kept = np.minimum(CURVE_DECAY, self.counts[seen] / (self.counts[seen] + here[seen]))
        self.means[seen] = kept * self.means[seen] + (1 - kept) * means
        self.counts += here
        if (step + 1) % REFRESH_EVERY == 0 and self.counts.min() >= LEAST_OBSERVATIONS:
            self.current = (1 - UNIFORM_SHARE) * self.slopes() + UNIFORM_SHARE / self.timesteps

    def slopes(self) -> Array:
        """Return the share of L's rise that falls on every timestep, [timesteps]; equal shares while L hardly rises."""
        from scipy.optimize import isotonic_regression  # as long to import as all else here, for this density alone

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
        """Return the mean and the number of the losses in every bin, [bins], and the density in use, [timesteps]."""
        return {"means": self.means, "counts": self.counts, "current": self.current}

    def restore(self, state: dict[str, Any]) -> None:
        """Put back what `state` returned."""
        self.means[:] = state["means"]
        self.counts[:] = state["counts"]
        self.current = np.array(state["current"])
