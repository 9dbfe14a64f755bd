"""Figures of a comparison: one row of panels for each setting, one colour for each variant in all of them."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annealed_lab.comparison.seed_statistics import LOSS, metric_key
from annealed_lab.comparison.tables import MAIN, spoken, tested_metrics

COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#6a3d9a")
"""Okabe & Ito's, which people of any colour vision tell apart, and four more; black is the baseline."""
DASHES = ("-", "--", ":")
"""Past the last colour they begin again, dashed."""
INCHES_A_ROW, STEPS_ROW, INCHES_A_PANEL = 0.22, 0.32, 2.5


def styles(comparison: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Colour and dashes of each variant."""
    return {
        label: {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}
        for number, label in enumerate(comparison["variants"])
    }


def shown_keys(comparison: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """The validation loss, and of the metrics of the first strategy those that any setting has."""
    keys = {LOSS: None}
    for metric in metrics:
        for setting in comparison["settings"]:
            key = metric_key(metric, setting["strategies"][0])
            if key in setting["metrics"]:
                keys[key] = None
    return list(keys)


def grid(
    comparison: Mapping[str, Any], columns: int, height: float, width: float = INCHES_A_PANEL
) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a row of panels for each setting, under its name, `height` inches each."""
    settings = comparison["settings"]
    size = (max(columns * width + 1.6, 8), len(settings) * height + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    rows = figure.subfigures(len(settings), 1, squeeze=False)[:, 0]
    for row, setting in zip(rows, settings, strict=True):
        if len(settings) > 1:
            row.suptitle(textwrap.fill(setting["label"], 110), x=0.01, horizontalalignment="left", fontsize=9, fontweight="bold")
    return figure, [list(row.subplots(1, columns, squeeze=False)[0]) for row in rows]


def intervals_figure(comparison: Mapping[str, Any], part: str, keys: Sequence[str], title: str) -> Figure:
    """A dot and its interval for each variant, a panel for each setting and metric.

    Args:
        part: of a setting, `metrics` or `differences`; of the second the zero is drawn.
    """
    style = styles(comparison)
    shown = {label for each in comparison["settings"] for key in keys for label in each[part].get(key, {})}
    labels = [label for label in comparison["variants"] if label in shown]
    figure, panels = grid(comparison, len(keys), INCHES_A_ROW * len(labels) + 0.9)
    for setting, row in zip(comparison["settings"], panels, strict=True):
        for column, (axes, key) in enumerate(zip(row, keys, strict=True)):
            if part == "differences":
                axes.axvline(0, color="0.6", linewidth=1)
            for height, label in enumerate(labels):
                if label in setting[part].get(key, {}):
                    draw_interval(axes, setting[part][key][label], height, style[label]["color"])
            name_rows(axes, labels, column == 0)
            axes.set_xlabel(spoken(key), fontsize=8)
            axes.locator_params(axis="x", nbins=4)
    figure.suptitle(title, fontsize=10)
    return figure


def draw_interval(axes: Axes, entry: Mapping[str, float], height: float, colour: str) -> None:
    if "low" in entry:
        axes.plot([entry["low"], entry["high"]], [height, height], color=colour, linewidth=1.5)
    axes.plot(entry["mean"], height, marker="o", markersize=5, color=colour)


def name_rows(axes: Axes, labels: Sequence[str], named: bool) -> None:
    """One row for each variant, from the top."""
    axes.set_yticks(range(len(labels)), labels if named else [""] * len(labels))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)


def means_figure(comparison: Mapping[str, Any]) -> Figure:
    keys = shown_keys(comparison, MAIN[:4])
    return intervals_figure(comparison, "metrics", keys, "mean over training seeds and its 95 % interval")


def differences_figure(comparison: Mapping[str, Any]) -> Figure | None:
    """A forest plot; None if there is nothing to compare."""
    if not any(each["differences"] for each in comparison["settings"]):
        return None
    tested = dict.fromkeys(metric for each in comparison["settings"] for metric in tested_metrics(each))
    keys = shown_keys(comparison, list(tested))
    title = f"difference from {comparison['baseline']} with the same seed: mean and its 95 % interval"
    return intervals_figure(comparison, "differences", keys, title)


def steps_figure(comparison: Mapping[str, Any]) -> Figure | None:
    """Steps to the end of the baseline, a dot for each seed, a hollow one if not reached; None without a baseline."""
    keys = list(dict.fromkeys(key for each in comparison["settings"] for key, found in each["steps_to_target"].items() if found))
    if not keys:
        return None
    style, labels = styles(comparison), comparison["variants"]
    figure, panels = grid(comparison, len(keys), STEPS_ROW * len(labels) + 0.9, 4)
    for setting, row in zip(comparison["settings"], panels, strict=True):
        for column, (axes, key) in enumerate(zip(row, keys, strict=True)):
            for height, label in enumerate(labels):
                entry = setting["steps_to_target"].get(key, {}).get(label)
                if entry is not None:
                    draw_steps(axes, entry, height, style[label]["color"])
            name_rows(axes, labels, column == 0)
            axes.set_xlim(0, 1.08 * axes.get_xlim()[1])  # room for what lies at the last step
            axes.set_xlabel(f"steps to the final {spoken(key)} of {comparison['baseline']}", fontsize=8)
    title = "first step as good as the baseline's end: a dot a seed, the bar their median; hollow: not reached"
    figure.suptitle(title, fontsize=10)
    return figure


def draw_steps(axes: Axes, entry: Mapping[str, Any], height: float, colour: str) -> None:
    """The seeds of one variant, under each other so that equal steps do not hide each other."""
    seeds = list(entry["by_seed"].values())
    for number, each in enumerate(seeds):
        y = height + 0.7 * ((number + 0.5) / len(seeds) - 0.5)
        marker, face = (">", "none") if each["censored"] else ("o", colour)
        axes.plot(each["step"], y, marker=marker, markersize=4.5, color=colour, markerfacecolor=face)
    if not entry["step"]["above"]:
        axes.plot([entry["step"]["median"]] * 2, [height - 0.4, height + 0.4], color=colour, linewidth=1)
