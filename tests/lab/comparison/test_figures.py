"""Figures of a comparison: all variants in one colour each, and what cannot be drawn is not."""

from collections.abc import Callable
from typing import Any

import pytest
from matplotlib.figure import Figure

from annealed_lab.comparison.compare import compare
from annealed_lab.comparison.figures import (
    COLOURS,
    curves_figure,
    differences_figure,
    log_snr_figure,
    means_figure,
    steps_figure,
    styles,
)
from support.comparison_records import LABELS, study

FIGURES: dict[str, Callable[[dict[str, Any]], Figure | None]] = {
    "means": means_figure,
    "differences": differences_figure,
    "steps": steps_figure,
    "curves": curves_figure,
    "log_snr": log_snr_figure,
}
NEEDS_A_BASELINE = ("differences", "steps", "log_snr")


@pytest.fixture(scope="module")
def comparison() -> dict[str, Any]:
    return compare(study(), "normal", None, [])


def figure(name: str, comparison: dict[str, Any]) -> Figure:
    found = FIGURES[name](comparison)
    assert found is not None
    return found


@pytest.mark.parametrize(("name", "panels"), [("means", 4), ("differences", 4), ("steps", 2), ("curves", 2), ("log_snr", 1)])
def test_there_is_a_row_of_panels_for_each_setting(name: str, panels: int, comparison: dict[str, Any]) -> None:
    rows = figure(name, comparison).subfigs
    assert [len(row.axes) for row in rows] == [panels] * 2
    assert [row.get_suptitle() for row in rows] == ["num_train_steps 600", "num_train_steps 1200"]


@pytest.mark.parametrize("name", FIGURES)
def test_a_variant_has_one_colour_in_all_figures(name: str, comparison: dict[str, Any]) -> None:
    drawn = {line.get_color() for axes in figure(name, comparison).axes for line in axes.get_lines()}
    assert drawn <= {COLOURS[number] for number in range(len(LABELS))} | {"0.6", "0.9"}


def test_styles_of_many_variants_differ() -> None:
    found = styles({"variants": [str(number) for number in range(25)]})
    assert len({tuple(style.values()) for style in found.values()}) == 25


def test_means_stand_in_the_row_of_their_variant(comparison: dict[str, Any]) -> None:
    axes = figure("means", comparison).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == LABELS
    dots = [line for line in axes.get_lines() if line.get_marker() == "o"]
    means = [comparison["settings"][0]["metrics"]["validation_loss"][label]["mean"] for label in LABELS]
    assert [float(line.get_xdata()[0]) for line in dots] == means  # type: ignore[index]
    assert [float(line.get_ydata()[0]) for line in dots] == [0, 1, 2]  # type: ignore[index]


def test_a_seed_that_never_got_there_is_hollow(comparison: dict[str, Any]) -> None:
    axes = figure("steps", comparison).axes[0]
    hollow = [line for line in axes.get_lines() if line.get_marker() == ">"]
    assert len(hollow) == 3  # the seeds of the slow variant
    assert {line.get_markerfacecolor() for line in hollow} == {"none"}
    assert len([line for line in axes.get_lines() if line.get_marker() == "o"]) == 6


def test_curves_say_that_training_losses_cannot_be_compared(comparison: dict[str, Any]) -> None:
    title = " ".join(figure("curves", comparison).get_suptitle().split())
    assert "Training losses of different T schedules cannot be compared" in title


def test_there_is_no_empty_panel_and_no_row_of_a_variant_that_a_setting_lacks() -> None:
    members = [each for each in study() if not (each.record.name.startswith("reverse-600"))]
    for each in members:
        if "-600-" in each.record.name:
            each.record.curves.quality.clear()
    partial = compare(members, "normal", None, [])
    short, long = figure("curves", partial).subfigs
    assert (len(short.axes), len(long.axes)) == (1, 2)
    for name in ("means", "differences", "steps"):
        short, long = figure(name, partial).subfigs
        assert LABELS[2] not in {label.get_text() for label in short.axes[0].get_yticklabels()}
        assert LABELS[2] in {label.get_text() for label in long.axes[0].get_yticklabels()}
        assert all(axes.has_data() for axes in (*short.axes, *long.axes))


def test_differences_say_on_which_side_better_is(comparison: dict[str, Any]) -> None:
    labels = [axes.get_xlabel() for axes in figure("differences", comparison).axes[:2]]
    assert labels == ["← better    validation loss", "grammatical (greedy)    better →"]


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_has_a_title_and_every_panel_names_its_axes(name: str, comparison: dict[str, Any]) -> None:
    found = figure(name, comparison)
    assert found.get_suptitle()
    assert all(axes.get_xlabel() for axes in found.axes)
    assert all(axes.get_ylabel() or name not in ("curves", "log_snr") for axes in found.axes)


@pytest.mark.parametrize("name", FIGURES)
def test_without_a_baseline_what_needs_one_is_not_drawn(name: str) -> None:
    alone = compare([each for each in study() if each.record.name.startswith("linear-600")], "normal", None, [])
    found = FIGURES[name](alone)
    assert (found is None) == (name in NEEDS_A_BASELINE)
    if found is not None:
        found.draw_without_rendering()


@pytest.mark.parametrize("name", FIGURES)
def test_one_seed_and_no_quality_are_drawn_too(name: str) -> None:
    few = [each for each in study() if each.seed == 1]
    for each in few:
        each.record.curves.quality.clear()
    figure(name, compare(few, "normal", None, [])).draw_without_rendering()
