"""Figures of a comparison: one row of panels for each setting, one colour for each variant in all of them.

Means, paired differences and steps to the baseline's end; loss and quality along the training; the loss by log-SNR beside the
baseline's.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annealed_lab.comparison.seed_statistics import LOSS, metric_key
from annealed_lab.comparison.tables import MAIN, spoken, tested_metrics

COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#6a3d9a")
"""Okabe & Ito's, which people of any colour vision tell apart, and four more; black is the baseline."""
DASHES = ("-", "--", ":")
"""Past the last colour they begin again, dashed."""
INCHES_A_ROW, STEPS_ROW, INCHES_A_PANEL = 0.22, 0.32, 2.5
CURVE_INCHES = 3.0
"""Height of a panel of curves."""
NOT_COMPARED = "Training losses of different T schedules cannot be compared; this is the loss over the whole range of t."
EARLY = 0.25
"""What comes before this share of the training does not set the scale: losses start far above where they end."""


def styles(comparison: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the colour and dashes of every variant."""
    return {
        label: {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number // len(COLOURS) % len(DASHES)]}
        for number, label in enumerate(comparison["variants"])
    }


def shown_keys(comparison: Mapping[str, Any], metrics: Sequence[str]) -> list[str]:
    """Return the keys of the validation loss, and of those metrics of the first strategy that any setting has."""
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
    """Make a figure with a row of panels for each setting, under its name, `height` inches each."""
    settings = comparison["settings"]
    size = (max(columns * width + 1.6, 8), len(settings) * height + 1.2)
    figure = Figure(figsize=size, layout="constrained")
    rows = figure.subfigures(len(settings), 1, squeeze=False)[:, 0]
    for row, setting in zip(rows, settings, strict=True):
        if len(settings) > 1:
            row.suptitle(textwrap.fill(setting["label"], 110), x=0.01, horizontalalignment="left", fontsize=9, fontweight="bold")
    return figure, [list(row.subplots(1, columns, squeeze=False)[0]) for row in rows]


def intervals_figure(comparison: Mapping[str, Any], part: str, keys: Sequence[str], title: str) -> Figure:
    """Draw a dot and its interval for each variant, a panel for each setting and metric.

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
    """Give each variant a row, from the top."""
    axes.set_yticks(range(len(labels)), labels if named else [""] * len(labels))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(labelsize=8)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)


def means_figure(comparison: Mapping[str, Any]) -> Figure:
    keys = shown_keys(comparison, MAIN[:4])
    return intervals_figure(comparison, "metrics", keys, "mean over training seeds and its 95 % interval")


def differences_figure(comparison: Mapping[str, Any]) -> Figure | None:
    """Draw a forest plot; None if there is nothing to compare."""
    if not any(each["differences"] for each in comparison["settings"]):
        return None
    tested = dict.fromkeys(metric for each in comparison["settings"] for metric in tested_metrics(each))
    keys = shown_keys(comparison, list(tested))
    title = f"difference from {comparison['baseline']} with the same seed: mean and its 95 % interval"
    return intervals_figure(comparison, "differences", keys, title)


def steps_figure(comparison: Mapping[str, Any]) -> Figure | None:
    """Draw the steps to the end of the baseline, a dot for each seed, a hollow one if not reached; None without a baseline."""
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
    """Draw the seeds of one variant under each other, so that equal steps do not hide each other."""
    seeds = list(entry["by_seed"].values())
    for number, each in enumerate(seeds):
        y = height + 0.7 * ((number + 0.5) / len(seeds) - 0.5)
        marker, face = (">", "none") if each["censored"] else ("o", colour)
        axes.plot(each["step"], y, marker=marker, markersize=4.5, color=colour, markerfacecolor=face)
    if not entry["step"]["above"]:
        axes.plot([entry["step"]["median"]] * 2, [height - 0.4, height + 0.4], color=colour, linewidth=1)


def curves_figure(comparison: Mapping[str, Any]) -> Figure:
    """Draw validation loss and quality by step, mean over seeds with the 95 % band, a row for each setting."""
    style = styles(comparison)
    figure, panels = grid(comparison, 2, CURVE_INCHES, 4.6)
    for setting, row in zip(comparison["settings"], panels, strict=True):
        keys = (LOSS, setting["quality_metric"])
        for axes, key in zip(row, keys, strict=True):
            if key is None:
                axes.set_axis_off()
                continue
            for label, rows in setting["curves"][key].items():
                draw_band(axes, rows, style[label])
            scale_to_late(axes, list(setting["curves"][key].values()))
            axes.set_ylabel(spoken(key), fontsize=9)
            axes.tick_params(labelsize=8)
    for axes in panels[-1]:
        axes.set_xlabel("step", fontsize=9)
    figure.suptitle(f"mean over training seeds and its 95 % band\n{NOT_COMPARED}", fontsize=10)
    name_variants(figure, style)
    return figure


def draw_band(axes: Axes, rows: Sequence[Mapping[str, float]], style: Mapping[str, Any]) -> None:
    axes.plot([row["step"] for row in rows], [row["mean"] for row in rows], linewidth=1.5, **style)
    banded = [row for row in rows if "low" in row]
    low, high = [row["low"] for row in banded], [row["high"] for row in banded]
    axes.fill_between([row["step"] for row in banded], low, high, color=style["color"], alpha=0.12, linewidth=0)


def scale_to_late(axes: Axes, curves: Sequence[Sequence[Mapping[str, float]]]) -> None:
    """Let the scale hold the means of all but the first steps, with a margin for the bands."""
    last = max((rows[-1]["step"] for rows in curves if rows), default=0)
    means = [row["mean"] for rows in curves for row in rows if row["step"] >= EARLY * last]
    if not means:
        return
    room = 0.15 * (max(means) - min(means)) or 0.05 * abs(means[0]) or 1
    axes.set_ylim(min(means) - room, max(means) + room)


def log_snr_figure(comparison: Mapping[str, Any]) -> Figure | None:
    """Draw the loss of each bin of log-SNR at the end, in percent above the baseline's; None without a baseline."""
    settings = comparison["settings"]
    if not any("relative" in entry for each in settings for bins in each["log_snr"].values() for entry in bins.values()):
        return None
    style = styles(comparison)
    figure, panels = grid(comparison, 1, CURVE_INCHES, 9.2)
    for setting, (axes,) in zip(settings, panels, strict=True):
        labels = [label for label in setting["log_snr"] if label != comparison["baseline"]]
        axes.axhline(0, color=style[comparison["baseline"]]["color"], linewidth=1)
        names = list(dict.fromkeys(name for bins in setting["log_snr"].values() for name in bins))
        for number, label in enumerate(labels):
            shift = 0.7 * ((number + 0.5) / len(labels) - 0.5)
            draw_bins(axes, setting["log_snr"][label], names, shift, style[label]["color"])
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.tick_params(labelsize=8)
        for edge in range(1, len(names)):
            axes.axvline(edge - 0.5, color="0.9", linewidth=1)
        axes.set_ylabel(f"% above {comparison['baseline']}", fontsize=9)
    panels[-1][0].set_xlabel("log-SNR of the noise level: from noise to signal", fontsize=9)
    title = f"validation loss at the end by noise level, relative to {comparison['baseline']} with the same seed"
    figure.suptitle(f"{title}: mean and its 95 % interval", fontsize=10)
    name_variants(figure, style)
    return figure


def draw_bins(axes: Axes, bins: Mapping[str, Any], names: Sequence[str], shift: float, colour: str) -> None:
    """Draw one variant: a dot and an interval in each bin, beside those of the other variants."""
    for place, name in enumerate(names):
        entry = bins.get(name, {}).get("relative")
        if entry is None:
            continue
        if "low" in entry:
            ends = [100 * (entry["low"] - 1), 100 * (entry["high"] - 1)]
            axes.plot([place + shift] * 2, ends, color=colour, linewidth=1.5)
        axes.plot(place + shift, 100 * (entry["mean"] - 1), marker="o", markersize=4, color=colour)


def name_variants(figure: Figure, style: Mapping[str, Mapping[str, Any]]) -> None:
    """Put one legend of all variants below the panels."""
    handles = [Line2D([], [], linewidth=2, label=label, **each) for label, each in style.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
