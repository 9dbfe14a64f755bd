"""Curves by hand: means over seeds, and when one reaches the end of another."""

import pytest

from annealed_lab.comparison.curves import DIRECTIONS, first_step, mean_curve, median_above, reach, seconds_at, summarise
from annealed_lm.reporting.tables import Columns

TIMING: Columns = {"step": [10, 20, 40], "seconds": [5, 9, 29]}
BASELINE: Columns = {"step": [10, 20, 30], "loss": [0.9, 0.6, 0.5]}


def curve(*losses: float) -> Columns:
    return {"step": [10, 20, 30], "loss": list(losses)}


def test_a_mean_curve_has_every_step_of_any_curve_and_the_mean_of_those_that_have_it() -> None:
    rows = mean_curve([{"step": [20, 10], "loss": [3, 1]}, {"step": [10, 30], "loss": [2, 5]}, {"step": [], "loss": []}], "loss")
    assert [(row["step"], row["n"], row["mean"]) for row in rows] == [(10, 2, 1.5), (20, 1, 3), (30, 1, 5)]
    assert [sorted(row) for row in rows] == [["high", "low", "mean", "n", "sd", "step"], *[["mean", "n", "step"]] * 2]
    assert mean_curve([{"step": [], "loss": []}], "loss") == []


@pytest.mark.parametrize(
    ("losses", "step"), [((0.5, 0.4, 0.3), 10), ((0.9, 0.4, 0.7), 20), ((0.9, 0.8, 0.5), 30), ((0.9, 0.8, 0.7), None)]
)
def test_the_first_crossing_counts_and_equal_is_enough(losses: tuple[float, ...], step: int | None) -> None:
    assert first_step(curve(*losses), "loss", 0.5, -1) == step


def test_where_more_is_better_the_target_is_reached_from_below() -> None:
    rising: Columns = {"step": [1, 2, 3], "grammatical": [0.1, 0.5, 0.9]}
    assert first_step(rising, "grammatical", 0.5, DIRECTIONS["grammatical"]) == 2
    assert first_step(rising, "grammatical", 0.95, 1) is None


def test_the_baseline_reaches_its_own_end_at_its_end() -> None:
    found = reach(BASELINE, BASELINE, "loss", -1, TIMING, 1e12)
    assert found == {"target": 0.5, "step": 30, "censored": False, "ratio": 1, "teraflops": 30, "seconds": 19}


def test_a_baseline_that_was_as_good_before_gets_no_credit_for_the_steps_after() -> None:
    own = curve(0.9, 0.5, 0.5)
    assert reach(curve(0.9, 0.8, 0.4), own, "loss", -1, TIMING, 1e12)["ratio"] == 30 / 20


def test_what_is_never_reached_is_censored_at_the_last_step() -> None:
    found = reach(curve(0.9, 0.8, 0.6), BASELINE, "loss", -1, TIMING, 2e12)
    assert (found["censored"], found["step"], found["ratio"], found["teraflops"]) == (True, 30, 1, 60)


@pytest.mark.parametrize(("step", "seconds"), [(0, 0), (5, 2.5), (10, 5), (15, 7), (30, 19), (40, 29)])
def test_seconds_between_recorded_steps(step: int, seconds: float) -> None:
    assert seconds_at(TIMING, step) == seconds


@pytest.mark.parametrize(
    ("values", "censored", "expected"),
    [
        ([1, 2, 9], [False, False, False], (2, False)),
        ([1, 2, 9], [False, False, True], (2, False)),
        ([1, 9, 9], [False, True, True], (9, True)),
        ([9, 3, 9], [False, True, False], (9, False)),  # wherever the one that was 3 really is
        ([1, 3], [False, False], (2, False)),
        ([1, 9], [False, True], (5, True)),  # more than half way between 1 and 9
        ([9], [True], (9, True)),
    ],
)
def test_medians_with_values_that_are_only_known_to_be_more(
    values: list[float], censored: list[bool], expected: tuple[float, bool]
) -> None:
    assert median_above(values, censored) == expected


def test_a_summary_counts_the_seeds_that_reached_it() -> None:
    seeds = {1: curve(0.9, 0.4, 0.4), 2: curve(0.9, 0.8, 0.5), 3: curve(0.9, 0.8, 0.7)}
    found = summarise({seed: reach(each, BASELINE, "loss", -1, TIMING, 1e12) for seed, each in seeds.items()})
    assert (found["n"], found["reached"]) == (3, 2)
    assert found["step"] == {"median": 30, "above": False}
    assert list(found["by_seed"]) == [1, 2, 3]
