"""Values of the variants of a setting over their training seeds: means and intervals, shares between control and ceiling, paired
differences from a baseline with Student's t, sign flips and Holm's correction.

Two variants trained with one seed share the start of their weights, the order of their texts and the noise of their samples, so
the difference within a seed varies less than the runs do, and it is the difference that is tested.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from itertools import product
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from scipy.stats import nct, permutation_test, ttest_1samp
from scipy.stats import t as student_t

from annealed_lab.comparison.variant_groups import Member, Setting

ALPHA = 0.05
"""Level of the tests; the intervals hold the true mean with probability 1 - `ALPHA`."""
POWER = 0.8
MOST_FLIPPED = 16
"""Sign flips of more pairs than this are not all tried: 2^16 are a moment's work."""
LOSS = "validation_loss"
COMPARED = (
    "grammatical",
    "perplexity",
    "perplexity_corpus",
    "mauve_train",
    "mauve_valid",
    "mauve_lm_train",
    "diversity",
    "memorization",
    "seen_trigrams",
    "doubled_word",
    "distinct",
)
"""Metrics of the samples, of which those that there are."""
ROUNDING = 1e-6
"""Values that differ by no more than this share of the larger are equal: single precision keeps seven digits."""
CLOSE = 0.2
"""Control and ceiling that differ by a smaller share of the larger one are no scale to read a metric on."""

K = TypeVar("K")


def mean_and_interval(values: Sequence[float]) -> dict[str, float]:
    """Return n and mean; from two values on their standard deviation `sd` and the t interval, `low` to `high`."""
    n, mean = len(values), math.fsum(values) / len(values)
    if n < 2:
        return {"n": n, "mean": mean}
    sd = deviation(values)
    half = t_quantile(n) * sd / math.sqrt(n)
    return {"n": n, "mean": mean, "sd": sd, "low": mean - half, "high": mean + half}


def deviation(values: Sequence[float]) -> float:
    """Return the standard deviation with n - 1; exactly 0 where values differ by no more than rounding."""
    sd = float(np.std(values, ddof=1))
    return 0.0 if sd <= 1e-12 * max(map(abs, values)) else sd


@cache
def t_quantile(n: int) -> float:
    """Return half the width of the interval of a mean of n values, in standard errors."""
    return float(student_t.ppf(1 - ALPHA / 2, n - 1))


def paired_test(differences: Sequence[float]) -> dict[str, float]:
    """Return the mean of paired differences with its interval, and two-sided p values that the true mean is 0.

    `p` is that of the paired t-test, `p_flip` that of the exact sign-flip test, which assumes no normal distribution and is never
    below 2 / 2^n; `detectable` is the smallest true difference that such a test finds with power `POWER`. A single pair has none.

    Pairs that all differ by the same amount, as a few counts of texts may, do not say how much pairs vary: they have no interval
    and no detectable difference, and `p` is that of the sign flips.
    """
    result = mean_and_interval(differences)
    n = len(differences)
    if n < 2:
        return result
    if result["sd"] == 0:
        p = 1.0 if result["mean"] == 0 else 2 / 2**n
        return {"n": n, "mean": result["mean"], "sd": 0.0, "p": p, "p_flip": p}
    p = float(ttest_1samp(differences, 0).pvalue)
    flips = {"p_flip": sign_flip_p(differences)} if n <= MOST_FLIPPED else {}
    return result | {"p": p} | flips | {"detectable": detectable_in_deviations(n) * result["sd"]}


def sign_flip_p(differences: Sequence[float]) -> float:
    """Return the share of all 2^n choices of signs whose mean is as far from 0 as the one that was found (Fisher 1935)."""
    exact = {"permutation_type": "samples", "n_resamples": 2**MOST_FLIPPED, "vectorized": True}
    return float(permutation_test((differences,), np.sum, **exact).pvalue)


@cache
def detectable_in_deviations(n: int) -> float:
    """Return the true mean, in standard deviations of the differences, that a t-test of n pairs at level `ALPHA` finds with
    `POWER`.

    From the noncentral t distribution (Cohen 1988, chapter 2), without the chance of a finding on the wrong side, next to none;
    scipy has the distribution, but no power of a test.
    """
    critical = t_quantile(n)

    def lacking(shift: float) -> float:
        return float(nct.sf(critical, n - 1, shift)) - POWER

    return float(brentq(lacking, 0, 2 * critical + 2)) / math.sqrt(n)


def holm(p_values: Mapping[K, float]) -> dict[K, float]:
    """Correct p values by Holm's step-down method (Holm 1979): under a level each, the chance of any false finding is under it.

    The i-th smallest of m (from 0) is multiplied by m - i, made at least as large as the one before it, and at most 1. It stands
    here because scipy corrects only the rate of false findings (`false_discovery_control`), which is another promise.
    """
    corrected: dict[K, float] = {}
    largest = 0.0
    for rank, key in enumerate(sorted(p_values, key=lambda each: p_values[each])):
        largest = max(largest, min((len(p_values) - rank) * p_values[key], 1.0))
        corrected[key] = largest
    return corrected


def metric_key(metric: str, strategy: str) -> str:
    return f"{metric} ({strategy})"


def finite(scores: Mapping[str, Any], metric: str) -> float | None:
    """Return the value of a metric among scores, None if it has none or one that is no number."""
    value = scores.get(metric, {}).get("value")
    return float(value) if value is not None and math.isfinite(value) else None


def bounds_of(member: Member, strategy: str, metric: str) -> dict[str, float]:
    """Return `control` and `ceiling` of a metric, as far as the record has them."""
    references = member.record.evaluation["references"]
    found = {bound: finite(references.get(bound, {}).get(strategy, {}), metric) for bound in ("control", "ceiling")}
    return {bound: value for bound, value in found.items() if value is not None}


def share_of_bounds(value: float | None, bounds: Mapping[str, float]) -> float | None:
    """Return (value - control) / (ceiling - control): 0 as if decoded from noise, 1 from real latents; None where the metric
    hardly tells the two apart (diversity: texts from noise are as diverse as real ones), or one of the three is missing."""
    if value is None or len(bounds) < 2:
        return None
    control, ceiling = bounds["control"], bounds["ceiling"]
    if abs(ceiling - control) <= CLOSE * max(abs(ceiling), abs(control)):
        return None
    return (value - control) / (ceiling - control)


def seed_values(setting: Setting) -> pd.DataFrame:
    """Return a row for each value that there is: metric, variant, seed, value, and share between control and ceiling, if any."""
    everyone = [(label, each) for label, members in setting.variants.items() for each in members]
    rows: list[tuple[Any, ...]] = [(LOSS, label, each.seed, float(each.record.training[LOSS]), None) for label, each in everyone]
    for strategy, metric in product(setting.strategies, COMPARED):
        for label, each in everyone:
            value = finite(each.record.evaluation["samples"].get(strategy, {}), metric)
            share = share_of_bounds(value, bounds_of(each, strategy, metric))
            rows.append((metric_key(metric, strategy), label, each.seed, value, share))
    found = pd.DataFrame(rows, columns=["metric", "variant", "seed", "value", "share"])
    return found.dropna(subset=["value"]).astype({"value": float, "share": float})


def groups(rows: pd.DataFrame, first: str, second: str) -> Iterator[tuple[str, str, pd.DataFrame]]:
    """Yield every pair of values of two columns, in the order in which they appear, with its rows."""
    keyed: Any = rows.groupby([first, second], sort=False)  # whose keys pandas cannot type
    yield from ((*key, group) for key, group in keyed)


def by_seed(rows: pd.DataFrame, column: str) -> dict[int, float]:
    return dict(zip(rows["seed"].tolist(), rows[column].tolist(), strict=True))


def beside_baseline(values: pd.DataFrame, baseline: str, of: str) -> pd.DataFrame:
    """Return values with a column `own`: the value of the baseline with the same seed, nan where there is none.

    Args:
        values: rows of `variant`, `seed`, `value`, and what they are values of, in the column `of`.
    """
    own = values.loc[values["variant"] == baseline, [of, "seed", "value"]].rename(columns={"value": "own"})
    return values.merge(own, how="left", on=[of, "seed"])


def summaries(values: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Return metric -> variant -> mean and interval over seeds, the values by seed, and the share between control and ceiling."""
    result: dict[str, dict[str, Any]] = {}
    for key, label, rows in groups(values, "metric", "variant"):
        shares = rows["share"].dropna().tolist()
        share = {"share": mean_and_interval(shares)} if shares else {}
        summary = {**mean_and_interval(rows["value"].tolist()), **share, "by_seed": by_seed(rows, "value")}
        result.setdefault(key, {})[label] = summary
    return result


def differences(values: pd.DataFrame, baseline: str) -> dict[str, dict[str, Any]]:
    """Return metric -> variant -> paired test of variant - baseline over the seeds that both have.

    Where all pairs are `equal` but for rounding there is nothing to test.
    """
    paired = beside_baseline(values[["metric", "variant", "seed", "value"]], baseline, "metric")
    paired = paired.assign(difference=paired["value"] - paired["own"]).dropna(subset=["difference"])
    result: dict[str, dict[str, Any]] = {}
    for key, label, rows in groups(paired[paired["variant"] != baseline], "metric", "variant"):
        found = rows["difference"].tolist()
        rounded = (rows["difference"].abs() <= ROUNDING * rows[["value", "own"]].abs().max(axis=1)).all()
        test = {"n": len(found), "mean": math.fsum(found) / len(found), "equal": True} if rounded else paired_test(found)
        result.setdefault(key, {})[label] = {**test, "by_seed": by_seed(rows, "difference")}
    return result


def add_holm(settings: Sequence[Mapping[str, Any]]) -> None:
    """Put `p_holm` beside each p, corrected over all variants of all settings that are compared in one metric."""
    for key in sorted({key for each in settings for key in each["differences"]}):
        tests = {
            (number, label): test
            for number, each in enumerate(settings)
            for label, test in each["differences"].get(key, {}).items()
            if "p" in test
        }
        for place, corrected in holm({place: test["p"] for place, test in tests.items()}).items():
            tests[place]["p_holm"] = corrected


def bounds(setting: Setting) -> dict[str, dict[str, float]]:
    """Return metric -> control and ceiling, of the first record."""
    found = {
        metric_key(metric, strategy): bounds_of(setting.members[0], strategy, metric)
        for strategy, metric in product(setting.strategies, COMPARED)
    }
    return {key: both for key, both in found.items() if both}
