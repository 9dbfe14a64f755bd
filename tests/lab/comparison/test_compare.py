"""The comparison of a study in which it is known who learns faster."""

import json
import random
import statistics
from dataclasses import replace
from typing import Any

import pytest

from annealed_lab.comparison.compare import compare
from annealed_lab.comparison.seed_statistics import holm, paired_test
from annealed_lab.comparison.variant_groups import Member
from annealed_lm.common.errors import InputError
from support.comparison_records import BINS, LABELS, stand_in, study

LINEAR, REVERSE = LABELS[1:]


@pytest.fixture(scope="module")
def members() -> list[Member]:
    return study()


@pytest.fixture(scope="module")
def comparison(members: list[Member]) -> dict[str, Any]:
    return compare(members, "normal", None, ["b has no params.yaml", "a diverged"])


def losses(members: list[Member], name: str, steps: int) -> dict[int, float]:
    return {
        each.seed: each.record.training["validation_loss"] for each in members if each.record.name.startswith(f"{name}-{steps}-")
    }


def test_means_and_differences_are_those_of_the_records(members: list[Member], comparison: dict[str, Any]) -> None:
    setting = comparison["settings"][0]
    normal, linear = losses(members, "normal", 600), losses(members, "linear", 600)
    assert setting["metrics"]["validation_loss"][LINEAR]["mean"] == pytest.approx(statistics.mean(linear.values()))
    assert setting["metrics"]["validation_loss"][LINEAR]["by_seed"] == linear
    difference = setting["differences"]["validation_loss"][LINEAR]
    assert difference["by_seed"] == {seed: linear[seed] - normal[seed] for seed in linear}
    assert difference["p"] == paired_test(list(difference["by_seed"].values()))["p"]
    assert difference["mean"] < 0 < setting["differences"]["validation_loss"][REVERSE]["mean"]


def test_p_is_corrected_over_variants_and_settings_of_one_metric(comparison: dict[str, Any]) -> None:
    for key in ("validation_loss", "grammatical (greedy)"):
        tests = [test for each in comparison["settings"] for test in each["differences"][key].values()]
        assert len(tests) == 4
        expected = holm({number: test["p"] for number, test in enumerate(tests)})
        assert {number: test["p_holm"] for number, test in enumerate(tests)} == expected


def test_shares_lie_between_control_and_ceiling(comparison: dict[str, Any]) -> None:
    metrics = comparison["settings"][0]["metrics"]
    perplexity = metrics["perplexity_corpus (greedy)"]["normal"]
    assert perplexity["share"]["mean"] == pytest.approx((34 - perplexity["mean"]) / 30)
    assert "share" not in metrics["diversity (greedy)"]["normal"]  # its control and ceiling are equal
    assert "memorization (greedy)" not in metrics
    assert 0 < metrics["grammatical (greedy)"]["normal"]["share"]["mean"] < 1
    assert comparison["settings"][0]["bounds"]["grammatical (greedy)"] == {"control": 0.2, "ceiling": 1.0}


def test_who_learns_faster_needs_fewer_steps_and_who_learns_slower_never_gets_there(comparison: dict[str, Any]) -> None:
    for setting in comparison["settings"]:
        steps = int(setting["label"].split()[-1])
        found = setting["steps_to_target"]["validation_loss"]
        assert found["normal"]["step"] == {"median": steps, "above": False}
        assert found[LINEAR]["step"]["median"] < steps
        assert found[LINEAR]["ratio"]["median"] < 1
        assert (found[REVERSE]["reached"], found[REVERSE]["n"]) == (0, 3)
        assert found[REVERSE]["step"] == {"median": steps, "above": True}
        assert found["normal"]["teraflops"]["median"] == pytest.approx(steps * 2e12 / 1e12)
        assert found["normal"]["seconds"]["median"] == pytest.approx(0.05 * steps)


def test_curves_and_bins_have_a_band_and_a_ratio(comparison: dict[str, Any]) -> None:
    setting = comparison["settings"][0]
    rows = setting["curves"]["validation_loss"][LINEAR]
    assert [row["step"] for row in rows] == [50 * n for n in range(1, 13)]
    assert all(row["n"] == 3 and row["low"] < row["mean"] < row["high"] for row in rows)
    assert len(setting["curves"]["grammatical"][LINEAR]) == 4
    assert list(setting["log_snr"][LINEAR]) == list(BINS)
    assert setting["log_snr"]["normal"]["0 to 4"]["relative"]["mean"] == 1
    assert setting["log_snr"][LINEAR]["0 to 4"]["relative"]["mean"] < 1


def test_samples_are_of_one_seed_and_side_by_side_with_the_references(comparison: dict[str, Any]) -> None:
    shown = comparison["settings"][0]["samples"]
    assert shown["seed"] == 1
    assert list(shown["texts"]) == [*LABELS, "(control)", "(ceiling)"]
    assert all(len(texts) == 4 for texts in shown["texts"].values())


def test_the_order_of_the_records_changes_no_byte(members: list[Member], comparison: dict[str, Any]) -> None:
    shuffled = random.Random(0).sample(members, len(members))
    again = compare(shuffled, "normal", None, ["a diverged", "b has no params.yaml"])
    assert json.dumps(again) == json.dumps(comparison)


def test_what_was_left_out_stands_in_the_comparison(comparison: dict[str, Any]) -> None:
    assert comparison["left_out"] == ["a diverged", "b has no params.yaml"]


def test_another_baseline_turns_the_differences_round(members: list[Member], comparison: dict[str, Any]) -> None:
    other = compare(members, LINEAR, None, [])
    assert other["variants"] == [LINEAR, "normal", REVERSE]
    found = other["settings"][0]["differences"]["validation_loss"]["normal"]
    before = comparison["settings"][0]["differences"]["validation_loss"][LINEAR]
    assert (found["mean"], found["p"]) == pytest.approx((-before["mean"], before["p"]))


def test_an_unknown_baseline_or_quality_is_refused_with_what_there_is(members: list[Member]) -> None:
    with pytest.raises(InputError, match=r"no variant is called 'cosine' \(--baseline\); there are linear, normal, reverse"):
        compare(members, "cosine", None, [])
    with pytest.raises(InputError, match=r"^no setting has mauve_lm_valid along the training"):
        compare(members, "normal", "mauve_lm_valid", [])


def test_without_the_usual_baseline_there_are_means_alone(members: list[Member]) -> None:
    found = compare([each for each in members if not each.record.name.startswith("normal")], "normal", None, [])
    for setting in found["settings"]:
        assert setting["differences"] == {}
        assert setting["steps_to_target"] == {"validation_loss": {}, "grammatical": {}}
        assert set(setting["metrics"]["validation_loss"]) == {LINEAR, REVERSE}


def test_only_common_seeds_are_paired(members: list[Member]) -> None:
    few = [each for each in members if each.seed == 1 or not each.record.name.startswith("normal")]
    for setting in compare(few, "normal", None, [])["settings"]:
        found = setting["differences"]["validation_loss"][LINEAR]
        assert (found["n"], list(found["by_seed"])) == (1, [1])
        assert "p" not in found
        assert "p_holm" not in found
        assert setting["metrics"]["validation_loss"][LINEAR]["n"] == 3


def test_one_setting_has_no_label_to_tell_it_by() -> None:
    assert [each["label"] for each in compare([stand_in("a", {})], "normal", None, [])["settings"]] == ["all"]


def test_a_score_that_is_no_number_is_not_there(members: list[Member]) -> None:
    one = members[0]
    samples = {"greedy": one.record.evaluation["samples"]["greedy"] | {"perplexity_corpus": {"value": float("nan")}}}
    broken = replace(one, record=replace(one.record, evaluation=one.record.evaluation | {"samples": samples}))
    found = compare([broken, *members[1:]], "normal", None, [])
    assert found["settings"][0]["metrics"]["perplexity_corpus (greedy)"]["normal"]["n"] == 2
    json.dumps(found, allow_nan=False)


def test_without_records_the_reasons_are_told() -> None:
    with pytest.raises(InputError, match=r"no finished experiment has all that a comparison needs: a diverged$"):
        compare([], "normal", None, ["a diverged"])
    with pytest.raises(InputError, match=r"needs: a; b; c; and 2 more$"):
        compare([], "normal", None, list("abcde"))
