"""Figures of the curves of a comparison: loss and quality along the training, and the loss by log-SNR beside the baseline's."""

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from annealed_lab.comparison.figures import grid, styles
from annealed_lab.comparison.seed_statistics import LOSS
from annealed_lab.comparison.tables import spoken

NOT_COMPARED = "Training losses of different T schedules cannot be compared; this is the loss over the whole range of t."
INCHES = 3.0
"""Height of a panel."""
EARLY = 0.25
"""What comes before this share of the training does not set the scale: losses start far above where they end."""


def curves_figure(comparison: Mapping[str, Any]) -> Figure:
    """Validation loss and quality by step, mean over seeds with the 95 % band, a row for each setting."""
    style = styles(comparison)
    figure, panels = grid(comparison, 2, INCHES, 4.6)
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
    """The loss of each bin of log-SNR at the end, in percent above the baseline's; None without a baseline."""
    settings = comparison["settings"]
    if not any("relative" in entry for each in settings for bins in each["log_snr"].values() for entry in bins.values()):
        return None
    style = styles(comparison)
    figure, panels = grid(comparison, 1, INCHES, 9.2)
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
    """One variant: a dot and an interval in each bin, beside those of the other variants."""
    for place, name in enumerate(names):
        entry = bins.get(name, {}).get("relative")
        if entry is None:
            continue
        if "low" in entry:
            ends = [100 * (entry["low"] - 1), 100 * (entry["high"] - 1)]
            axes.plot([place + shift] * 2, ends, color=colour, linewidth=1.5)
        axes.plot(place + shift, 100 * (entry["mean"] - 1), marker="o", markersize=4, color=colour)


def name_variants(figure: Figure, style: Mapping[str, Mapping[str, Any]]) -> None:
    """One legend of all variants, below the panels."""
    handles = [Line2D([], [], linewidth=2, label=label, **each) for label, each in style.items()]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, fontsize=8)
