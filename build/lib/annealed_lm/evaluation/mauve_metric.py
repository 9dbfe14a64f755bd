"""MAUVE: how near the distribution of one set of texts is to another's, from features of each text (arXiv 2102.01454).

It is not symmetric: p is always the set under test, q the reference. It depends on the number of texts (fewer look nearer)
and on the clustering's seed, and does not reach 1 for two draws from one distribution; so only sets of one size are
compared, the seeds are averaged, and a number means something only beside the same number for two real sets.

MAUVE* (Pillutla et al. 2023, JMLR 24, arXiv 2212.14578) is the same of smoothed histograms, half a text more in every cluster
of both sets: with few texts a cluster that holds texts of one set alone says less than MAUVE takes it for.
"""

import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from annealed_lm.common.feature_sets import Features

SMALLEST_SET = 20
"""Texts a side. Fewer leave a single cluster, in which all sets are alike."""
CURVE_POINTS = 25
"""Mixtures of the two histograms of which the divergence curve is made, as the MAUVE package has them."""

Shares = npt.NDArray[np.float64]


class MauveScore(NamedTuple):
    """Mean and standard deviation of MAUVE over the clusterings, and the mean of MAUVE*.

    A set against itself gives 1, two draws from one distribution about 0.96, unlike sets go to 0.
    """

    mean: float
    std: float
    star: float


@contextmanager
def silenced_stderr() -> Iterator[None]:
    """Drop what compiled code writes to standard error, past Python: faiss warns of few points a cluster, once a clustering."""
    sys.stderr.flush()
    kept = os.dup(2)
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def mauve_buckets(texts: int) -> int:
    """Return the number of clusters for so many texts a side, as the MAUVE package chooses it."""
    return round(texts / 10)


def curve_area(curve: Shares) -> float:
    """Return the area under a divergence curve, in [0, 1].

    The package sorts the points by one coordinate before it adds up trapezoids, and where several have it in common, as all
    have for equal histograms, leaves those in any order: of equal sets it makes 0.75. The points come in order already.

    Args:
        curve: from (1, 0) to (0, 1), [points, 2]; its first coordinate never rises and the second never falls.
    """
    x, y = np.clip(curve, 0, 1).T  # rounding takes them a little over 1
    return float(np.trapezoid(y[::-1], x[::-1]))


def areas(p: Shares, q: Shares, texts: int, scaling: float) -> tuple[float, float]:
    """Return MAUVE and MAUVE* of two histograms [clusters] of as many texts."""
    from mauve.compute_mauve import get_divergence_curve_for_multinomials  # type: ignore[import-untyped]

    weights = np.linspace(1e-6, 1 - 1e-6, CURVE_POINTS)
    smoothed = [(shares * texts + 0.5) / (texts + 0.5 * len(shares)) for shares in (p, q)]
    of_both = (get_divergence_curve_for_multinomials(*pair, weights, scaling) for pair in ((p, q), smoothed))
    mauve, star = map(curve_area, of_both)
    return mauve, star


def mauve_score(tested: Features, reference: Features, scaling: float, seeds: int) -> MauveScore:
    """Compute MAUVE and MAUVE* (p = tested, q = reference) over `seeds` k-means clusterings into `mauve_buckets(n)` clusters.

    Args:
        tested, reference: [n, d] each, one row a text.
        scaling: the scaling factor c of the divergence curve; the larger, the lower the score.

    Raises:
        ValueError: the sets differ in size, or hold fewer than `SMALLEST_SET` texts.
    """
    if len(tested) != len(reference) or len(tested) < SMALLEST_SET:
        raise ValueError(f"MAUVE needs two equal sets of at least {SMALLEST_SET} texts, not {len(tested)} and {len(reference)}")
    from mauve import compute_mauve  # type: ignore[import-untyped]  # GPL 3, and seconds to import: only where it is used
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    outcomes = []
    # The matrices are so small that threads cost more than they bring, many times more on a busy machine.
    with silenced_stderr(), threadpool_limits(1):
        for seed in range(seeds):
            outcome = compute_mauve(
                p_features=tested,
                q_features=reference,
                num_buckets=mauve_buckets(len(tested)),
                mauve_scaling_factor=scaling,
                seed=seed,
            )
            outcomes.append(areas(outcome.p_hist, outcome.q_hist, len(tested), scaling))
    scores, stars = zip(*outcomes, strict=True)
    return MauveScore(statistics.fmean(scores), statistics.stdev(scores) if seeds > 1 else 0.0, statistics.fmean(stars))
