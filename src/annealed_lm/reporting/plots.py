"""Figures of a run, as matplotlib Figures without a window or global state."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from annealed_lm.common.files import atomic_path, one_line

Columns = Mapping[str, Sequence[float]]
"""Values of a table by column name, all of one length."""

CHARACTERS_A_LINE = 120
LINES_A_TEXT = 6
"""The most that are shown of one text in a figure; plots/samples.txt has all of it."""
INCHES_A_CHARACTER, INCHES_A_LINE = 0.072, 0.145  # of the monospace font at 8 points


def training_figure(training: Columns, validation: Columns) -> Figure:
    """Draw loss and validation loss, T_now with the mean t, and learning rate against the step.

    `training` has the columns step, loss, T_now, mean_t, learning_rate; `validation` has step, loss.
    """
    figure = Figure(figsize=(8, 9), layout="constrained")
    loss, diffusion_range, learning_rate = figure.subplots(3, 1, sharex=True, height_ratios=[2, 1, 1])
    as_drawn = "training, t as it is drawn: not to be compared between T schedules"
    loss.plot(training["step"], training["loss"], color="C0", alpha=0.5, linewidth=1, label=as_drawn)
    fixed = "validation, fixed t and noise: to be compared"
    loss.plot(validation["step"], validation["loss"], color="C1", marker="o", markersize=3, label=fixed)
    loss.set_ylabel("loss")
    loss.legend()
    diffusion_range.plot(training["step"], training["T_now"], color="C2", label="T_now")
    diffusion_range.plot(training["step"], training["mean_t"], color="C4", label="mean")
    diffusion_range.set_ylim(bottom=0)
    diffusion_range.set_ylabel("t drawn")
    diffusion_range.legend()
    learning_rate.plot(training["step"], training["learning_rate"], color="C3")
    learning_rate.set_ylabel("learning rate")
    learning_rate.set_xlabel("step")
    return figure


def quality_figure(curves: Mapping[str, Columns], levels: Mapping[str, Mapping[str, float]], title: str) -> Figure:
    """Draw metrics of the sampled texts along the training, one panel each, the level of other sets of texts as lines across.

    Args:
        curves: by metric, columns step and the metric.
        levels: by set of texts, then by metric.
    """
    figure = Figure(figsize=(9, 2.2 * len(curves)), layout="constrained")
    panels = figure.subplots(len(curves), 1, sharex=True, squeeze=False)[:, 0]
    for axes, (metric, columns) in zip(panels, curves.items(), strict=True):
        axes.plot(columns["step"], columns[metric], marker="o", color="C0", label="generated")
        for number, (name, row) in enumerate(levels.items(), start=1):
            if metric in row:
                axes.axhline(row[metric], color=f"C{number}", linestyle="--", linewidth=1, label=name)
        axes.set_ylabel(metric)
        if metric.startswith("perplexity"):
            axes.set_yscale("log")
            axes.yaxis.set_major_formatter(LogFormatter())
            axes.yaxis.set_minor_formatter(LogFormatter())
    panels[0].set_title(title, fontsize=10)
    panels[-1].set_xlabel("step")
    name_lines(figure)
    return figure


def frontier_figure(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> Figure:
    """Draw each metric against the number of network evaluations a text, one line for each setting beside it."""
    sampled = [row for row in rows if row["latents"] == "diffusion"]
    names = [f"{row['strategy']}, {row['solver']}, eta {row['eta']:g}, decode_at {row['decode_at']:g}" for row in sampled]
    return metric_panels(sampled, names, "network_evaluations", metrics, log=True)


def decode_at_figure(rows: Sequence[Mapping[str, Any]], metrics: Sequence[str]) -> Figure:
    """Draw each metric against the noise level at which the decoder takes over: the diffusion's, control's and ceiling's."""
    names = [
        f"{row['strategy']}, {row['latents']}"
        + (f", {row['solver']}, {row['network_evaluations']} evaluations" if row["latents"] == "diffusion" else "")
        for row in rows
    ]
    return metric_panels(rows, names, "decode_at", metrics, log=False)


def metric_panels(
    rows: Sequence[Mapping[str, Any]], names: Sequence[str], x: str, metrics: Sequence[str], *, log: bool
) -> Figure:
    """Draw a panel for each metric, in which the rows of one name are a line against their column `x`."""
    figure = Figure(figsize=(10, 2.2 * len(metrics)), layout="constrained")
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    for axes, metric in zip(panels, metrics, strict=True):
        for number, line in enumerate(dict.fromkeys(names)):
            points = {(row[x], row[metric]) for row, name in zip(rows, names, strict=True) if name == line and row[metric] != ""}
            style = {"color": f"C{number}", "marker": "o", "markersize": 3}  # the same in every panel, whatever another lacks
            if points:
                axes.plot(*zip(*sorted(points), strict=True), label=line, **style)
        axes.set_ylabel(metric)
        if log:
            axes.set_xscale("log")
    panels[-1].set_xlabel(x.replace("_", " "))
    name_lines(figure)
    return figure


def name_lines(figure: Figure) -> None:
    """Put one legend of the lines of all panels beside them, each once: not every line is in every panel."""
    named = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    figure.legend(list(named.values()), [str(label) for label in named], loc="outside right upper")


def lines_figure(lines: Mapping[str, Columns], y: str, title: str) -> Figure:
    """Draw one line for each name in `lines`: its column `y` against its column step."""
    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.subplots()
    for name, columns in lines.items():
        axes.plot(columns["step"], columns[y], label=name)
    axes.set_xlabel("step")
    axes.set_ylabel(y)
    figure.legend(title=title, loc="outside right upper")  # beside the lines, never over them
    return figure


def schedules_figure(schedules: Mapping[str, Columns]) -> Figure:
    """Draw, by T schedule and step, the timesteps that may be drawn, and the mean of their density as a line."""
    columns = 4
    rows = -(-len(schedules) // columns)
    figure = Figure(figsize=(11, 2.1 * rows + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes, (name, line) in zip(panels.flat, schedules.items(), strict=False):
        axes.fill_between(line["step"], line["T_low"], line["T_now"], step="post", alpha=0.25, linewidth=0)
        axes.plot(line["step"], line["mean_t"], color="C0")
        axes.set_title(name, fontsize=10)
    for axes in panels.flat[len(schedules) :]:
        axes.set_axis_off()
    figure.supxlabel("step", fontsize=10)
    figure.supylabel("t: what may be drawn (area), mean (line)", fontsize=10)
    return figure


def samples_figure(samples: Mapping[str, Sequence[str]]) -> Figure:
    """Show texts to read, under the decoding strategy that wrote them."""
    blocks = {strategy: "\n".join(numbered(texts)) for strategy, texts in samples.items()}
    heights = [block.count("\n") + 4 for block in blocks.values()]
    figure = Figure(figsize=(CHARACTERS_A_LINE * INCHES_A_CHARACTER, INCHES_A_LINE * sum(heights)), layout="constrained")
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
    axes.text(0, 1, block, family="monospace", fontsize=8, verticalalignment="top", transform=axes.transAxes, parse_math=False)


def save_png(figure: Figure, path: Path) -> None:
    """Write a PNG whose bytes depend on the figure alone (no version stamp), so that equal runs have equal files."""
    with atomic_path(path) as partial:
        figure.savefig(partial, format="png", dpi=100, metadata={"Software": None})
