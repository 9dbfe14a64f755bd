"""The verdict says what the tests found, and no more."""

from typing import Any

import pytest

from annealed_lab.comparison.compare import compare
from annealed_lab.comparison.findings import judgement, sign, verdict
from support.comparison_records import stand_in, study


@pytest.mark.parametrize(
    ("entry", "metric", "expected", "shown"),
    [
        ({"mean": -1.0, "p_holm": 0.01}, "validation_loss", "better", "▲ "),
        ({"mean": -1.0, "p_holm": 0.01}, "mauve_train", "worse", "▼ "),
        ({"mean": -1.0, "p_holm": 0.05}, "mauve_train", "not told apart", ""),
        ({"mean": -1.0}, "mauve_train", "of one seed alone", ""),
        ({"mean": 1e-9, "equal": True}, "mauve_train", "equal", ""),
        ({"mean": -1.0, "p_holm": 0.01}, "memorization", None, ""),
    ],
)
def test_a_difference_is_better_or_worse_only_where_it_was_told_apart(
    entry: dict[str, Any], metric: str, expected: str | None, shown: str
) -> None:
    assert judgement(entry, metric) == expected
    assert sign(entry, metric) == shown


def differences(*p_and_mean: tuple[float, float]) -> dict[str, Any]:
    return {str(number): {"mean": mean, "p_holm": p} for number, (p, mean) in enumerate(p_and_mean)}


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (((0.01, 1.0), (0.5, -1.0)), "some variants are better than normal and none is worse (of 2 comparisons 1 better, 1 not"),
        (((0.01, -1.0), (0.5, 1.0)), "no variant is better than normal and some are worse (of 2 comparisons 1 worse, 1 not told"),
        (
            ((0.01, -1.0), (0.01, 1.0)),
            "some variants are better than normal and some are worse (of 2 comparisons 1 better, 1",
        ),
        (((0.5, -1.0), (0.5, 1.0)), "no variant was told apart from normal (of 2 comparisons 2 not told apart)"),
    ],
)
def test_the_verdict_counts_what_was_found_in_quality_first(found: tuple[tuple[float, float], ...], expected: str) -> None:
    setting = {
        "quality_metric": "mauve_train",
        "strategies": ["greedy"],
        "differences": {"validation_loss": differences((0.9, 1.0)), "mauve_train (greedy)": differences(*found)},
    }
    sentence = verdict({"baseline": "normal", "settings": [setting]})
    assert sentence.startswith(f"In mauve_train, {expected}")
    assert sentence.endswith("; in validation loss, no variant was told apart from normal (of 1 comparison 1 not told apart).")


def test_one_seed_tells_nothing_and_no_pair_nothing_at_all() -> None:
    single = compare([each for each in study() if each.seed == 1], "normal", None, [])
    assert verdict(single).startswith("In grammatical, nothing is told, for single seeds differ")
    alone = compare([each for each in study() if each.record.name.startswith("linear")], "normal", None, [])
    assert verdict(alone).startswith("Nothing is told: no other variant stands beside normal")


def test_runs_that_differ_by_rounding_are_equal_and_not_tested() -> None:
    runs = [(name, seed) for name in ("normal", "linear") for seed in (1, 2, 3)]
    members = [stand_in(f"{name}-{seed}", {"random_seed": seed, "T_schedule": name}) for name, seed in runs]
    for number, each in enumerate(members[3:]):
        each.record.training["validation_loss"] *= 1 + 1e-8 * (number + 1)
        each.record.evaluation["samples"]["greedy"]["mauve_train"]["value"] += 0.01 + 0.001 * number
    found = compare(members, "normal", None, [])["settings"][0]["differences"]
    assert set(found["validation_loss"]["linear"]) == {"n", "mean", "equal", "by_seed"}
    assert found["mauve_train (greedy)"]["linear"]["p_holm"] < 0.05
