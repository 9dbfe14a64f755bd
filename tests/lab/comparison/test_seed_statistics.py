"""Intervals, tests and shares by hand, and how often they are wrong; no case warns."""

import itertools
import math
import warnings
from collections.abc import Iterator

import numpy as np
import pytest
from scipy import stats

from annealed_lab.comparison.seed_statistics import (
    MOST_FLIPPED,
    POWER,
    detectable_in_deviations,
    holm,
    mean_and_interval,
    paired_test,
    share_of_bounds,
    sign_flip_p,
)

FIRST = [0.31, 0.42, 0.35, 0.50, 0.28]
SECOND = [0.30, 0.45, 0.41, 0.55, 0.33]


@pytest.fixture(autouse=True)
def no_warnings() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def test_the_interval_of_a_mean_by_hand() -> None:
    """Of 1, 2, 3, 4: mean 2.5, sd sqrt(5 / 3), standard error 0.6455, t of 3 degrees 3.1824."""
    found = mean_and_interval([1, 2, 3, 4])
    assert found["n"] == 4
    assert found["mean"] == 2.5
    assert found["sd"] == pytest.approx(math.sqrt(5 / 3))
    assert found["high"] - 2.5 == pytest.approx(3.182446 * 0.645497, rel=1e-5)
    assert 2.5 - found["low"] == pytest.approx(found["high"] - 2.5)


def test_the_paired_test_by_hand() -> None:
    """Of 1, 2, 3, 4: t = 2.5 / 0.645497 = 3.872983; with 3 degrees p = 1 - 2 / pi (atan u + u / (1 + u^2)), u = t / sqrt(3)."""
    u = 3.8729833 / math.sqrt(3)
    found = paired_test([1, 2, 3, 4])
    assert found["p"] == pytest.approx(1 - 2 / math.pi * (math.atan(u) + u / (1 + u**2)))
    assert found["p_flip"] == 2 / 16


def test_the_paired_test_is_that_of_scipy() -> None:
    differences = [b - a for a, b in zip(FIRST, SECOND, strict=True)]
    found, expected = paired_test(differences), stats.ttest_rel(SECOND, FIRST)
    assert found["p"] == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((interval.low, interval.high))


def test_the_sign_of_all_differences_changes_the_sign_of_the_mean_alone() -> None:
    differences = [b - a for a, b in zip(FIRST, SECOND, strict=True)]
    found, mirrored = paired_test(differences), paired_test([-each for each in differences])
    assert mirrored["mean"] == -found["mean"]
    for name in ("p", "p_flip", "sd", "detectable"):
        assert mirrored[name] == pytest.approx(found[name])


def test_one_value_has_neither_interval_nor_p() -> None:
    assert mean_and_interval([3.0]) == {"n": 1, "mean": 3.0}
    assert paired_test([3.0]) == {"n": 1, "mean": 3.0}


@pytest.mark.parametrize("n", [2, 3, 5, 30])
@pytest.mark.parametrize("value", [0.0, 0.1, -0.002])
def test_pairs_that_all_differ_by_the_same_tell_their_sign_and_no_more(value: float, n: int) -> None:
    found = paired_test([value] * n)
    expected = 1 if value == 0 else 2 / 2**n
    assert found == {"n": n, "mean": pytest.approx(value), "sd": 0, "p": expected, "p_flip": expected}


def test_equal_differences_of_counts_are_not_found_too_often() -> None:
    """Of two seeds, each with 500 texts of which .995 are right, a tenth differ by the same amount, and mean nothing."""
    counts = np.random.default_rng(0).binomial(500, 0.995, (2000, 2, 2)) / 500
    found = [paired_test((one - other).tolist())["p"] for one, other in counts]
    assert np.mean(np.array(found) <= 0.05) <= 0.06


def test_differences_by_rounding_are_no_spread() -> None:
    assert mean_and_interval([0.1 + 0.2, 0.3, 0.3])["sd"] == 0


def test_sign_flips_by_hand() -> None:
    """Of +1, +2, +3 the sums as far from 0 as 6 are 6 and -6: 2 of 8. Of +1, -2, +3: |2| or more has all but none."""
    assert sign_flip_p([1, 2, 3]) == 2 / 8
    assert sign_flip_p([1, -2, 3]) == 6 / 8
    assert sign_flip_p([0.1] * 5) == 1 / 16
    assert sign_flip_p([0.0, 0.0]) == 1


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_sign_flips_are_counted_one_by_one(n: int) -> None:
    differences = np.random.default_rng(n).integers(-3, 4, n).astype(float)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product((-1, 1), repeat=n)]
    assert sign_flip_p(differences.tolist()) == np.mean([each >= abs(differences.sum()) for each in sums])


def test_sign_flips_of_many_pairs_are_still_all_tried_and_of_more_none() -> None:
    assert paired_test([1.0 + number for number in range(MOST_FLIPPED)])["p_flip"] == 2 / 2**MOST_FLIPPED
    assert "p_flip" not in paired_test([1.0 + number for number in range(MOST_FLIPPED + 1)])


def test_holm_by_hand() -> None:
    """Holm 1979: 0.01 x 4, 0.02 x 3, 0.03 x 2 (no less than the one before), 0.04 x 1 (the same)."""
    found = holm({"d": 0.04, "a": 0.01, "c": 0.03, "b": 0.02})
    assert found == pytest.approx({"a": 0.04, "b": 0.06, "c": 0.06, "d": 0.06})


def test_holm_of_one_and_of_none() -> None:
    assert holm({"a": 0.03}) == {"a": 0.03}
    assert holm({}) == {}


def test_holm_keeps_the_order_and_never_lowers_a_p() -> None:
    random = np.random.default_rng(0)
    for count in (2, 5, 20):
        p_values = dict(enumerate(random.random(count) ** 3))
        found = holm(p_values)
        assert all(p_values[key] <= found[key] <= 1 for key in p_values)
        order = sorted(p_values, key=lambda key: p_values[key])
        assert [found[key] for key in order] == sorted(found.values())


def test_holm_finds_something_false_in_at_most_one_of_twenty_families() -> None:
    p_values = np.random.default_rng(1).random((2000, 8))
    false = np.mean([min(holm(dict(enumerate(row))).values()) < 0.05 for row in p_values])
    assert 0.035 < false < 0.065


def null(seed: int, n: int, repeats: int) -> list[list[float]]:
    """Differences of pairs that share the luck of their seed and differ by chance alone."""
    random = np.random.default_rng(seed)
    luck = random.standard_normal((repeats, n))
    first, second = (luck + 0.5 * random.standard_normal((repeats, n)) for _ in range(2))
    differences: list[list[float]] = (second - first).tolist()
    return differences


@pytest.mark.parametrize("n", [3, 5])
def test_without_an_effect_nineteen_of_twenty_intervals_hold_zero(n: int) -> None:
    intervals = [mean_and_interval(each) for each in null(n, n, 2000)]
    assert 0.935 < np.mean([each["low"] < 0 < each["high"] for each in intervals]) < 0.965  # 3 standard errors of a share of 2000


@pytest.mark.parametrize("n", [2, 3, 5])
def test_a_difference_is_found_where_its_interval_does_not_hold_zero(n: int) -> None:
    tests = [paired_test(each) for each in null(n, n, 200)]
    found = [test["p"] < 0.05 for test in tests]
    assert found == [not test["low"] < 0 < test["high"] for test in tests]
    assert 0 < sum(found) < 25


def test_without_an_effect_the_sign_flips_find_no_more_than_their_level() -> None:
    assert np.mean([sign_flip_p(each) <= 1 / 16 for each in null(2, 5, 500)]) < 1 / 16 + 0.033  # 3 standard errors


@pytest.mark.parametrize("n", [2, 3, 5, 10])
def test_the_detectable_difference_is_found_as_often_as_promised(n: int) -> None:
    effect = detectable_in_deviations(n)
    draws = np.random.default_rng(n).standard_normal((4000, n)) + effect
    assert np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05) == pytest.approx(POWER, abs=0.02)


def test_more_pairs_detect_less() -> None:
    found = [detectable_in_deviations(n) for n in (2, 3, 4, 5, 10, 30)]
    assert found == sorted(found, reverse=True)
    assert detectable_in_deviations(30) == pytest.approx((1.95996 + 0.84162) / math.sqrt(30), rel=0.06)  # the normal theory


def test_a_share_lies_between_control_and_ceiling() -> None:
    assert share_of_bounds(0.5, {"control": 0.2, "ceiling": 0.8}) == pytest.approx(0.5)
    assert share_of_bounds(10.0, {"control": 34.0, "ceiling": 4.0}) == pytest.approx(0.8)
    assert share_of_bounds(3.0, {"control": 34.0, "ceiling": 4.0}) == pytest.approx(31 / 30)


def test_without_a_scale_there_is_no_share() -> None:
    assert share_of_bounds(0.5, {"control": 0.9, "ceiling": 1.0}) is None
    assert share_of_bounds(0.5, {"ceiling": 1.0}) is None
    assert share_of_bounds(None, {"control": 0.2, "ceiling": 0.8}) is None
