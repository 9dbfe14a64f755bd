"""Figures of a run, as matplotlib Figures without a window or global state.

All are `WIDTH` wide: the text of a page of a paper, and on a phone of 390 pixels their letters are still read.
"""

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import numpy.typing as npt
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogFormatter

from annealed_lm.common.files import atomic_path, one_line

Columns = Mapping[str, Sequence[float]]
"""Values of a table by column name, all of one length."""

WIDTH = 5.6  # inches
DOTS_AN_INCH = 200
TRUE_TYPE = 42
"""Letters as they are in the font, not as drawings, which some publishers refuse."""
NO_STAMP: dict[str, dict[str, None]] = {"png": {"Software": None}, "pdf": dict.fromkeys(("Creator", "Producer", "CreationDate"))}
SMALL = 8  # points
MOST_DENSITY = 6
"""Where the colours of a density end, in multiples of the uniform one."""
CHARACTERS_A_LINE = 72
LINES_A_TEXT = 6
"""The most that are shown of one text in a figure; plots/samples.txt has all of it."""
INCHES_A_LINE = 0.162  # of the monospace font at 9 points
SPOKEN = {
    "grammatical": "grammatical\n(share of texts)",
    "perplexity": "perplexity\n(logarithmic scale)",
    "mauve_train": "MAUVE, sentence\nfeatures (0 to 1)",
    "mauve_lm_train": "MAUVE, judge's\nfeatures (0 to 1)",
    "diversity": "diversity\n(0 to 1)",
    "memorization": "memorization\n(share of 4-grams)",
}
"""Metrics with their units, as axes call them."""


def save_figure(figure: Figure, path: Path) -> None:
    """Write `path`.png, to look at, and `path`.pdf, for a paper, whose bytes depend on the figure alone: no date, no version.

    The figure is laid out once and keeps its places, so both files show the same.
    """
    for form, metadata in NO_STAMP.items():
        with atomic_path(path.with_name(f"{path.name}.{form}")) as partial, rc_context({"pdf.fonttype": TRUE_TYPE}):
            figure.savefig(partial, format=form, dpi=DOTS_AN_INCH, metadata=metadata)
        figure.set_layout_engine("none")


def training_figure(training: Columns, validation: Columns) -> Figure:
    """Draw loss and validation loss, T_now with the mean t, and learning rate against the step.

    `training` has the columns step, loss, T_now, mean_t, learning_rate; `validation` has step, loss.
    """
    figure = Figure(figsize=(WIDTH, 6.6), layout="constrained")
    loss, diffusion_range, learning_rate = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
    as_drawn = "training, t as drawn: not to be compared between T schedules"
    loss.plot(training["step"], training["loss"], color="C0", alpha=0.5, linewidth=1, label=as_drawn)
    fixed = "validation, fixed t and noise: to be compared"
    loss.plot(validation["step"], validation["loss"], color="C1", marker="o", markersize=3, label=fixed)
    loss.set_ylabel("loss")
    loss.legend(fontsize=SMALL)
    diffusion_range.plot(training["step"], training["T_now"], color="C2", label="T_now: t is drawn below")
    diffusion_range.plot(training["step"], training["mean_t"], color="C4", label="mean of t")
    diffusion_range.set_ylim(bottom=0)
    diffusion_range.set_ylabel("timestep t")
    diffusion_range.legend(fontsize=SMALL, loc="lower right")
    learning_rate.plot(training["step"], training["learning_rate"], color="C3")
    learning_rate.set_ylabel("learning rate")
    learning_rate.set_xlabel("training step")
    figure.suptitle("Training of the denoiser", fontsize=10)
    return figure


def quality_figure(curves: Mapping[str, Columns], levels: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """Draw metrics of the sampled texts along the training, one panel each, the level of other sets of texts as lines across.

    Args:
        curves: by metric, columns step and the metric.
        levels: by set of texts, then by metric.
    """
    rows = -(-len(curves) // 2)
    figure = Figure(figsize=(WIDTH, 1.7 * rows + 0.9), layout="constrained")
    panels = figure.subplots(rows, 2, sharex=True, squeeze=False).flat
    for axes, (metric, columns) in zip(panels, curves.items(), strict=False):
        axes.plot(columns["step"], columns[metric], marker="o", markersize=4, color="C0", label="generated")
        for number, (name, row) in enumerate(levels.items(), start=1):
            if metric in row:
                axes.axhline(row[metric], color=f"C{number}", linestyle="--", linewidth=1.2, label=name)
        axes.set_ylabel(SPOKEN.get(metric, metric), fontsize=SMALL)
        axes.tick_params(labelsize=SMALL)
        if metric.startswith("perplexity"):
            make_logarithmic(axes)
    remove_panels(figure, len(curves))
    for axes in figure.axes[-2:]:
        axes.tick_params(labelbottom=True)
        axes.set_xlabel("training step", fontsize=9)
    figure.suptitle(title, fontsize=10)
    name_lines(figure, 4)
    return figure


def remove_panels(figure: Figure | SubFigure, count: int) -> None:
    """Remove the panels after the first `count`, in which nothing is drawn."""
    for axes in figure.axes[count:]:
        axes.remove()


class PlainNumbers(LogFormatter):
    """Write the ticks that a logarithmic scale has room for as 0.01, not as 1e-02."""

    def __call__(self, x: float, pos: int | None = None) -> str:
        """Return the label of a tick at `x`, nothing where there is no room for one."""
        return f"{x:g}" if super().__call__(x, pos) else ""


def make_logarithmic(axes: Axes) -> None:
    """Give the upright axis a logarithmic scale, with ticks in plain numbers."""
    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(PlainNumbers())
    axes.yaxis.set_minor_formatter(PlainNumbers())
    axes.tick_params(axis="y", which="both", labelsize=SMALL)


def name_lines(figure: Figure, columns: int) -> None:
    """Put one legend of the lines of all panels below them, each once: not every line is in every panel."""
    named = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(
        list(named.values()), [str(label) for label in named], loc="outside lower center", ncols=columns, fontsize=SMALL
    )


def log_snr_figure(bins: Mapping[str, Columns]) -> Figure:
    """Draw the loss of each bin of log-SNR, from noise to signal, against the step, on a logarithmic scale: where signal is
    left, losses are a hundredth of what they are in noise."""
    figure = Figure(figsize=(WIDTH, 4), layout="constrained")
    axes = figure.subplots()
    colours = matplotlib.colormaps["viridis"](np.linspace(0, 0.92, len(bins)))
    for colour, (name, columns) in zip(colours, bins.items(), strict=True):
        axes.plot(columns["step"], columns["loss"], color=colour, marker="o", markersize=3, label=name)
    make_logarithmic(axes)
    axes.set_xlabel("training step")
    axes.set_ylabel("validation loss, logarithmic scale")
    figure.suptitle("Validation loss by noise level", fontsize=10)
    figure.legend(title="log-SNR", loc="outside right upper", fontsize=SMALL)  # beside the lines, never over them
    return figure


def schedules_figure(densities: Mapping[str, npt.NDArray[np.float64]], timesteps: int) -> Figure:
    """Draw, for each T schedule, how often training draws each timestep, as colours over the training.

    Args:
        densities: by T schedule [bins of t, times of training], in multiples of the uniform density.
    """
    columns = 4
    rows = math.ceil(len(densities) / columns)
    figure = Figure(figsize=(WIDTH, 1.25 * rows + 1.2), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    style: dict[str, Any] = {"cmap": "YlGnBu", "norm": PowerNorm(0.5, 0, MOST_DENSITY), "interpolation": "nearest"}
    for axes, (name, density) in zip(panels.flat, densities.items(), strict=False):
        drawn = np.ma.masked_equal(density, 0)
        image = axes.imshow(drawn, origin="lower", extent=(0, 1, 0, timesteps), aspect="auto", **style)
        axes.set_title(name, fontsize=9)
        axes.tick_params(labelsize=SMALL)
        axes.set_xticks([0, 0.5, 1], ["0", "½", "1"])
    remove_panels(figure, len(densities))
    for axes in figure.axes[columns * (rows - 1) :]:
        axes.set_xlabel("share of training", fontsize=SMALL)
    bar = figure.colorbar(image, ax=figure.axes, location="bottom", extend="max", aspect=40, shrink=0.9, ticks=range(7))
    bar.set_label("how often t is drawn (1: as often as if all were drawn alike; white: never)", fontsize=SMALL)
    bar.ax.tick_params(labelsize=SMALL)
    figure.suptitle("What training draws under each T schedule", fontsize=10)
    figure.supylabel("timestep t, from little noise to much", fontsize=9)
    return figure


def samples_figure(samples: Mapping[str, Sequence[str]]) -> Figure:
    """Show texts to read, under the decoding strategy that wrote them."""
    blocks = {strategy: "\n".join(numbered(texts)) for strategy, texts in samples.items()}
    heights = [block.count("\n") + 3 for block in blocks.values()]
    figure = Figure(figsize=(WIDTH, INCHES_A_LINE * sum(heights)), layout="constrained")
    panels = figure.subplots(len(blocks), 1, height_ratios=heights, squeeze=False)[:, 0]
    for axes, (strategy, block) in zip(panels, blocks.items(), strict=True):
        write_block(axes, strategy, block)
    return figure


def numbered(texts: Sequence[str]) -> list[str]:
    """Put the texts under their numbers, folded and cut; an empty one is shown as such."""
    longest = CHARACTERS_A_LINE * LINES_A_TEXT
    shown = [text if len(text) <= longest else text[:longest] + " ..." for text in map(one_line, texts)]
    return [
        textwrap.fill(
            text or "(empty)",
            CHARACTERS_A_LINE,
            initial_indent=f"{number:2} ",
            subsequent_indent="   ",
            max_lines=LINES_A_TEXT,
            placeholder=" ...",
        )
        for number, text in enumerate(shown, start=1)
    ]


def write_block(axes: Axes, title: str, block: str) -> None:
    axes.set_axis_off()
    axes.set_title(title, loc="left", fontsize=10)
    # parse_math: a text with two dollar signs is no formula
    axes.text(0, 1, block, family="monospace", fontsize=9, verticalalignment="top", transform=axes.transAxes, parse_math=False)
