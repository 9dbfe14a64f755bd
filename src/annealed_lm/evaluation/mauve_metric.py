"""MAUVE: how near the distribution of one set of texts is to another's, from features of each text (arXiv 2102.01454).

It is not symmetric: p is always the set under test, q the reference. It depends on the number of texts (fewer look nearer)
and on the clustering's seed, and does not reach 1 for two draws from one distribution; so only sets of one size are
compared, the seeds are averaged, and a number means something only beside the same number for two real sets.
"""

import os
import statistics
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from annealed_lm.common.feature_sets import Features

SMALLEST_SET = 20
"""Texts a side. Fewer leave a single cluster, in which all sets are alike."""


class MauveScore(NamedTuple):
    """Mean and standard deviation over the clusterings; both sets alike give about 0.96, unlike ones go to 0."""

    mean: float
    std: float


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


def mauve_score(tested: Features, reference: Features, scaling: float, seeds: int) -> MauveScore:
    """Compute MAUVE(p = tested, q = reference) over `seeds` k-means clusterings into `mauve_buckets(n)` clusters.

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

    scores = []
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
            scores.append(float(outcome.mauve))
    return MauveScore(statistics.fmean(scores), statistics.stdev(scores) if seeds > 1 else 0.0)
