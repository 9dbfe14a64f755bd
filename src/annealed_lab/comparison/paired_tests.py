"""Means, differences and their uncertainty over training seeds: Student's t, paired, with Holm's correction.

Two variants trained with one seed share the start of their weights, the order of their texts and the noise of their samples, so
the difference within a seed varies less than the runs do, and it is the difference that is tested.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import product
from typing import TypeVar

import numpy as np
from scipy.optimize import brentq
from scipy.stats import nct
from scipy.stats import t as student_t

ALPHA = 0.05
"""Level of the tests; the intervals hold the true mean with probability 1 - `ALPHA`."""
POWER = 0.8
MOST_FLIPPED = 16
"""Sign flips of more pairs than this are not all tried: 2^16 are a moment's work."""

K = TypeVar("K")


def mean_and_interval(values: Sequence[float]) -> dict[str, float]:
    """n and mean; from two values on their standard deviation `sd` and the t interval, `low` to `high`."""
    n, mean = len(values), math.fsum(values) / len(values)
    if n < 2:
        return {"n": n, "mean": mean}
    sd = deviation(values)
    half = quantile(n) * sd / math.sqrt(n)
    return {"n": n, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}


def deviation(values: Sequence[float]) -> float:
    """Standard deviation with n - 1; exactly 0 where values differ by no more than rounding."""
    sd = float(np.std(values, ddof=1))
    return 0.0 if sd <= 1e-12 * max(map(abs, values)) else sd


@cache
def quantile(n: int) -> float:
    """Half the width of the interval of a mean of n values, in standard errors."""
    return float(student_t.ppf(1 - ALPHA / 2, n - 1))


def paired_test(differences: Sequence[float]) -> dict[str, float]:
    """The mean of paired differences with its interval, and two-sided p values that the true mean is 0.

    `p` is that of the paired t-test, `p_flip` that of the exact sign-flip test, which assumes no normal distribution and is never
    below 2 / 2^n; `detectable` is the smallest true difference that such a test finds with power `POWER`. A single pair has none.
    """
    result = mean_and_interval(differences)
    n, mean = len(differences), result["mean"]
    if n < 2:
        return result
    error = result["sd"] / math.sqrt(n)
    p = 2 * float(student_t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    flips = {"p_flip": sign_flip_p(differences)} if n <= MOST_FLIPPED else {}
    return result | {"p": p} | flips | {"detectable": detectable_in_deviations(n) * result["sd"]}


def sign_flip_p(differences: Sequence[float]) -> float:
    """The share of all 2^n choices of signs whose mean is as far from 0 as the one that was found (Fisher 1935)."""
    magnitudes = np.abs(np.asarray(differences, dtype=np.float64))
    signs = np.array(list(product((-1.0, 1.0), repeat=len(differences))))
    found = abs(math.fsum(differences))
    reached = np.abs(signs @ magnitudes) >= found - 1e-12 * magnitudes.sum()  # despite rounding, the choice found counts
    return float(reached.mean())


@cache
def detectable_in_deviations(n: int) -> float:
    """The true mean, in standard deviations of the differences, that a t-test of n pairs at level `ALPHA` finds with `POWER`.

    From the noncentral t distribution (Cohen 1988, chapter 2), without the chance of a finding on the wrong side, next to none.
    """
    critical = quantile(n)

    def lacking(shift: float) -> float:
        return float(nct.sf(critical, n - 1, shift)) - POWER

    return float(brentq(lacking, 0, 2 * critical + 2)) / math.sqrt(n)


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Holm's step-down correction (Holm 1979): under a level each, the chance of any false finding is under that level.

    The i-th smallest of m (from 0) is multiplied by m - i, made at least as large as the one before it, and at most 1.
    """
    corrected: dict[K, float] = {}
    largest = 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda each: p_values[each])):
        largest = max(largest, min((len(p_values) - rank) * p_values[key], 1.0))
        corrected[key] = largest
    return corrected
