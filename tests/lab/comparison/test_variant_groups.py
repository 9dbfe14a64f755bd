"""What counts as the same run, as another variant, as another setting, and what they are called."""

from dataclasses import replace
from typing import Any

import pytest

from annealed_lab.comparison.variant_groups import (
    Member,
    member,
    natural,
    setting_labels,
    settings_of,
    shown,
    variant_labels,
    without_repeats,
)
from annealed_lm.annealing.timesteps import DISTRIBUTIONS
from support.comparison_records import LABELS, stand_in, study

LOSS_WEIGHT = "train_diffusion.loss_weight"
RANGE_IN = "train_diffusion.range_in"
STEPS = "train_diffusion.num_train_steps"


def labels(*changes: dict[str, Any]) -> list[str]:
    """Labels of the variants of these parameters, in their order."""
    members = [stand_in(str(number), each) for number, each in enumerate(changes)]
    named = variant_labels(each.variant for each in members)
    return [named[each.variant] for each in members]


def settings(*changes: dict[str, Any]) -> list[str]:
    members = [stand_in(str(number), each) for number, each in enumerate(changes)]
    named = setting_labels(each.setting for each in members)
    return [named[each.setting] for each in members]


def same_group(one: dict[str, Any], other: dict[str, Any]) -> bool:
    first, second = stand_in("a", one), stand_in("b", other)
    return (first.variant, first.setting) == (second.variant, second.setting)


@pytest.mark.parametrize(
    "changes",
    [
        {"random_seed": 7},
        {"power": 9},
        {"power": 2.0},
        {"trackers": ["wandb"]},
        {"train_diffusion.checkpoint_every": 7},
        {"train_diffusion.base_schedule": "cosine"},
        {"train_diffusion.min_snr_gamma": 9},
        {"train_diffusion.tan_d": 5},
    ],
)
def test_seed_and_unused_parameters_make_no_other_group(changes: dict[str, Any]) -> None:
    assert same_group({"T_schedule": "linear"}, {"T_schedule": "linear", **changes})


@pytest.mark.parametrize(
    "changes", [{"T_schedule": "cosine"}, {"train_diffusion.start_fraction": 0.5}, {RANGE_IN: "log_snr"}, {LOSS_WEIGHT: "p2"}]
)
def test_what_concerns_the_timesteps_makes_another_variant_of_the_same_setting(changes: dict[str, Any]) -> None:
    first, second = stand_in("a", {"T_schedule": "linear"}), stand_in("b", {"T_schedule": "linear", **changes})
    assert first.variant != second.variant
    assert first.setting == second.setting


@pytest.mark.parametrize(
    "changes", [{STEPS: 600}, {"dataset_name": "e2e"}, {"optimizer": "adamw"}, {"sample_texts.num_samples": 50}]
)
def test_everything_else_makes_another_setting_of_the_same_variant(changes: dict[str, Any]) -> None:
    first, second = stand_in("a", {}), stand_in("b", changes)
    assert first.variant == second.variant
    assert first.setting != second.setting


def test_texts_that_another_judge_scored_are_of_another_setting() -> None:
    one = stand_in("a", {})
    evaluation = one.record.evaluation
    judged = {**evaluation, "settings": evaluation["settings"] | {"perplexity": {"name": "judge", "sha256": "d7" * 32}}}
    other = member(replace(one.record, evaluation=judged))
    assert one.setting != other.setting
    assert sorted(setting_labels([one.setting, other.setting]).values()) == ["sha256 c6c6c6c6", "sha256 d7d7d7d7"]


def test_variants_have_short_names() -> None:
    static = {"T_schedule": "static", "train_diffusion.base_schedule": "linear"}
    reverse = {"T_schedule": "reverse", "train_diffusion.base_schedule": "polynomial", "power": 3}
    polynomial = {"T_schedule": "polynomial", "power": 3}
    expected = ["normal", "linear", "polynomial 3", "static (of linear)", "reverse (of polynomial 3)"]
    assert labels({}, {"T_schedule": "linear"}, polynomial, static, reverse) == expected


def test_variants_are_told_apart_by_what_differs() -> None:
    linear = {"T_schedule": "linear"}
    assert labels(linear, linear | {RANGE_IN: "log_snr"}) == ["linear", "linear, range_in log_snr"]
    assert labels({}, {LOSS_WEIGHT: "min_snr"}) == ["normal", "normal, loss_weight min_snr"]
    fractions = [linear | {"train_diffusion.start_fraction": share} for share in (0.2, 0.4)]
    assert labels(*fractions) == ["linear, start_fraction 0.2", "linear, start_fraction 0.4"]
    assert labels(linear | {"T_schedule": "cosine"}, *fractions) == ["cosine", "linear", "linear, start_fraction 0.4"]


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
def test_where_the_range_starts_is_a_matter_of_the_setting(T_schedule: str) -> None:
    """So that normal, which reads nothing of a range, is compared with what grows from the same timestep on."""
    start = {"train_diffusion.range_start": 0.2}
    normal, other = stand_in("a", start), stand_in("b", start | {"T_schedule": T_schedule})
    assert normal.setting == other.setting
    assert (normal.variant == other.variant) == (T_schedule == "normal")
    elsewhere = stand_in("c", start | {"T_schedule": T_schedule, RANGE_IN: "log_snr"})
    assert elsewhere.setting != other.setting


def test_labels_of_variants_that_differ_differ() -> None:
    weights = ({}, {LOSS_WEIGHT: "min_snr"}, {LOSS_WEIGHT: "p2"}, {"train_diffusion.sampling_weights": "none"})
    schedules = ({}, {"T_schedule": "linear"}, {"T_schedule": "linear", RANGE_IN: "log_snr"}, {"T_schedule": "cosine"})
    found = labels(*(schedule | weight for schedule in schedules for weight in weights))
    assert found[3] == found[0] == "normal"  # whose uniform draws have no weights to leave out
    assert len(set(found)) == len(found) - 1 == 15


def test_settings_are_named_by_what_differs() -> None:
    assert settings({}, {}) == ["all", "all"]
    assert settings({STEPS: 600}, {STEPS: 2400}) == ["num_train_steps 600", "num_train_steps 2400"]
    both = settings({"dataset_name": "e2e", STEPS: 600}, {STEPS: 2400})
    assert both == ["dataset_name e2e, num_train_steps 600", "dataset_name restaurants, num_train_steps 2400"]


def test_when_something_is_written_down_is_named_only_where_nothing_else_tells_settings_apart() -> None:
    changes = [{f"train_diffusion.{name}": value for name in ("num_train_steps", "evaluate_every")} for value in (600, 1200)]
    one, other = (stand_in("x", each).setting for each in changes)
    assert sorted(setting_labels([one, other]).values()) == ["num_train_steps 1200", "num_train_steps 600"]
    third = stand_in("x", {"train_diffusion.num_train_steps": 600, "train_diffusion.evaluate_every": 100}).setting
    assert setting_labels([one, third])[third] == "evaluate_every 100"


def test_a_setting_that_differs_in_much_is_named_by_what_tells_it_apart() -> None:
    names = ("tx_dim", "tx_depth", "tx_heads", "train_batch_size", "lr_warmup_steps")
    many = {f"train_diffusion.{name}": 2 for name in names}
    assert settings({"dataset_name": "e2e", **many}, {}) == ["dataset_name e2e", "dataset_name restaurants"]


def test_numbers_in_labels_are_sorted_as_numbers() -> None:
    found = sorted(["num_train_steps 2400, b", "num_train_steps 600, c", "num_train_steps 600, a"], key=natural)
    assert found == ["num_train_steps 600, a", "num_train_steps 600, c", "num_train_steps 2400, b"]


@pytest.mark.parametrize(
    ("value", "text"), [('"a"', "a"), ("2", "2"), ("null", "null"), (None, "absent"), (f'"{"0f" * 32}"', "0f0f0f0f")]
)
def test_values_as_labels_show_them(value: str | None, text: str) -> None:
    assert shown(value) == text


def test_of_two_records_of_one_run_the_newest_is_kept_and_the_other_told() -> None:
    older, newer = stand_in("older", {}, newness=5), stand_in("newer", {}, newness=9)
    other = stand_in("other seed", {"random_seed": 1}, newness=1)
    for members in ([older, newer, other], [newer, other, older]):
        kept, told = without_repeats(members)
        assert [each.record.name for each in kept] == ["other seed", "newer"]
        assert told == ["older is the same run as newer, seed included, and not the newest"]


def test_settings_hold_variants_the_baseline_first_and_seeds_in_order() -> None:
    members: list[Member] = study()
    found = settings_of(members[::-1], "normal")
    assert [each.label for each in found] == ["num_train_steps 600", "num_train_steps 1200"]
    for setting in found:
        assert list(setting.variants) == LABELS
        assert [[each.seed for each in group] for group in setting.variants.values()] == [[1, 2, 3]] * 3
