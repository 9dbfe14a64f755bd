"""Figures of a comparison: panels for each setting under its name, one colour for each variant in all of them.

Means, paired differences and steps to the baseline's end; loss and quality along the training; the loss by log-SNR beside the
baseline's. A panel that would be empty is not there, nor is the row of a variant that a setting lacks.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annealed_lab.comparison.curves import DIRECTIONS
from annealed_lab.comparison.seed_statistics import LOSS, metric_key
from annealed_lab.comparison.tables import MAIN, metric_of, spoken, tested_metrics
from annealed_lm.reporting.plots import SMALL, WIDTH, remove_panels

COLOURS = ("#000000", "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c564b", "#7f7f7f", "#6a3d9a")
"""Okabe & Ito's, which people of any colour vision tell apart, and four more; black is the baseline."""
DASHES = ("-", "--", ":")
"""Past the last colour they begin again, dashed."""
INCHES_A_ROW, STEPS_ROW, AROUND_ROWS = 0.19, 0.3, 0.75
CURVE_INCHES = 2.6
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


@dataclass(frozen=True)
class Block:
    """What is drawn of one setting.

    Attributes:
        label: of the setting.
        panels: by key of a metric, what a panel shows: by variant.
        inches: height of a panel, beside that of its rows.
        row: height of a variant's row.
    """

    label: str
    panels: Mapping[str, Mapping[str, Any]]
    inches: float
    row: float = 0.0

    @property
    def variants(self) -> list[str]:
        """The variants that any panel shows, in the order in which they first appear."""
        return list(dict.fromkeys(label for panel in self.panels.values() for label in panel))


def grid(blocks: Sequence[Block], title: str, columns: int = 2) -> tuple[Figure, list[list[Axes]]]:
    """Make a figure with the panels of each block, so many side by side, under its name if there are several."""
    heights = [
        math.ceil(len(each.panels) / columns) * (each.inches + each.row * len(each.variants)) + 0.25 * (len(blocks) > 1)
        for each in blocks
    ]
    figure = Figure(figsize=(WIDTH, sum(heights) + 0.8), layout="constrained")
    figure.suptitle(textwrap.fill(title, 80), fontsize=9)
    rows = figure.subfigures(len(blocks), 1, height_ratios=heights, squeeze=False)[:, 0]
    for row, block in zip(rows, blocks, strict=True):
        if len(blocks) > 1:
            name = textwrap.fill(block.label, 80)
            row.suptitle(name, x=0.01, horizontalalignment="left", fontsize=SMALL, fontweight="bold")
        row.subplots(math.ceil(len(block.panels) / columns), min(columns, len(block.panels)))
        remove_panels(row, len(block.panels))
    return figure, [list(row.axes) for row in rows]


def intervals_figure(comparison: Mapping[str, Any], part: str, keys: Sequence[str], title: str) -> Figure:
    """Draw a dot and its interval for each variant, a panel for each setting and metric.

    Args:
        part: of a setting, `metrics` or `differences`; of the second the zero is drawn, and on which side better is.
    """
    style, blocks = styles(comparison), []
    for setting in comparison["settings"]:
        found = {key: setting[part][key] for key in keys if setting[part].get(key)}
        blocks += [Block(setting["label"], found, AROUND_ROWS, INCHES_A_ROW)] if found else []
    figure, panels = grid(blocks, title)
    for block, row in zip(blocks, panels, strict=True):
        for column, (axes, (key, entries)) in enumerate(zip(row, block.panels.items(), strict=True)):
            if part == "differences":
                axes.axvline(0, color="0.6", linewidth=1)
            for label, entry in entries.items():
                draw_interval(axes, entry, block.variants.index(label), style[label]["color"])
            name_rows(axes, block.variants, column % 2 == 0)
            axes.set_xlabel(toward_better(key) if part == "differences" else spoken(key), fontsize=SMALL)
            axes.locator_params(axis="x", nbins=4)
    return figure


def toward_better(key: str) -> str:
    """Return a metric as a header calls it, with the side on which values are better."""
    direction = DIRECTIONS.get(metric_of(key), 0)
    return ("← better    " if direction < 0 else "") + spoken(key) + ("    better →" if direction > 0 else "")


def draw_interval(axes: Axes, entry: Mapping[str, float], height: float, colour: str) -> None:
    if "low" in entry:
        axes.plot([entry["low"], entry["high"]], [height, height], color=colour, linewidth=1.5)
    axes.plot(entry["mean"], height, marker="o", markersize=5, color=colour)


def name_rows(axes: Axes, labels: Sequence[str], named: bool) -> None:
    """Give each variant a row, from the top."""
    axes.set_yticks(range(len(labels)), labels if named else [""] * len(labels))
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.tick_params(labelsize=SMALL)
    axes.grid(axis="y", color="0.92")
    axes.set_axisbelow(True)


def means_figure(comparison: Mapping[str, Any]) -> Figure:
    keys = shown_keys(comparison, MAIN)[:4]
    return intervals_figure(comparison, "metrics", keys, "Mean over training seeds and its 95 % interval")


def differences_figure(comparison: Mapping[str, Any]) -> Figure | None:
    """Draw a forest plot; None if there is nothing to compare."""
    if not any(each["differences"] for each in comparison["settings"]):
        return None
    tested = dict.fromkeys(metric for each in comparison["settings"] for metric in tested_metrics(each))
    keys = shown_keys(comparison, list(tested))
    title = f"Difference from {comparison['baseline']} with the same seed: mean and its 95 % interval"
    return intervals_figure(comparison, "differences", keys, title)


def steps_figure(comparison: Mapping[str, Any]) -> Figure | None:
    """Draw the steps to the end of the baseline, a dot for each seed, a hollow one if not reached; None without a baseline."""
    style, blocks = styles(comparison), []
    for setting in comparison["settings"]:
        found = {key: entries for key, entries in setting["steps_to_target"].items() if entries}
        blocks += [Block(setting["label"], found, AROUND_ROWS, STEPS_ROW)] if found else []
    if not blocks:
        return None
    title = (
        f"First step as good as the end of {comparison['baseline']}: a dot a seed, the bar their median; "
        "hollow: not reached until then"
    )
    figure, panels = grid(blocks, title)
    for block, row in zip(blocks, panels, strict=True):
        for column, (axes, (key, entries)) in enumerate(zip(row, block.panels.items(), strict=True)):
            for label, entry in entries.items():
                draw_steps(axes, entry, block.variants.index(label), style[label]["color"])
            name_rows(axes, block.variants, column % 2 == 0)
            axes.set_xlim(0, 1.08 * axes.get_xlim()[1])  # room for what lies at the last step
            axes.set_xlabel(f"steps to the {spoken(key)} of {comparison['baseline']}", fontsize=SMALL)
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
    """Draw validation loss and quality by step, mean over seeds with the 95 % band."""
    style = styles(comparison)
    blocks = [
        Block(
            each["label"], {key: each["curves"][key] for key in (LOSS, each["quality_metric"]) if key is not None}, CURVE_INCHES
        )
        for each in comparison["settings"]
    ]
    figure, panels = grid(blocks, f"Mean over training seeds and its 95 % band. {NOT_COMPARED}")
    for block, row in zip(blocks, panels, strict=True):
        for axes, (key, curves) in zip(row, block.panels.items(), strict=True):
            for label, rows in curves.items():
                draw_band(axes, rows, style[label])
            scale_to_late(axes, list(curves.values()))
            axes.set_ylabel(spoken(key), fontsize=SMALL)
            axes.set_xlabel("training step", fontsize=SMALL)
            axes.tick_params(labelsize=SMALL)
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
    baseline, style, blocks = comparison["baseline"], styles(comparison), []
    for setting in comparison["settings"]:
        if any("relative" in entry for bins in setting["log_snr"].values() for entry in bins.values()):
            blocks.append(Block(setting["label"], {"log_snr": setting["log_snr"]}, CURVE_INCHES))
    if not blocks:
        return None
    title = f"Validation loss at the end by noise level, relative to {baseline} with the same seed: mean and its 95 % interval"
    figure, panels = grid(blocks, title, 1)
    for block, (axes,) in zip(blocks, panels, strict=True):
        axes.axhline(0, color=style[baseline]["color"], linewidth=1)
        names = list(dict.fromkeys(name for bins in block.panels["log_snr"].values() for name in bins))
        others = [label for label in block.variants if label != baseline]
        for number, label in enumerate(others):
            shift = 0.7 * ((number + 0.5) / len(others) - 0.5)
            draw_bins(axes, block.panels["log_snr"][label], names, shift, style[label]["color"])
        axes.set_xticks(range(len(names)), names)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.tick_params(labelsize=SMALL)
        for edge in range(1, len(names)):
            axes.axvline(edge - 0.5, color="0.9", linewidth=1)
        axes.set_ylabel(f"% above {baseline}", fontsize=SMALL)
        axes.set_xlabel("log-SNR of the noise level, from noise to signal", fontsize=SMALL)
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
    figure.legend(handles=handles, loc="outside lower center", ncols=3, fontsize=SMALL)
