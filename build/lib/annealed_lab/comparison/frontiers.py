"""Figures of one model sampled in several ways: quality against diversity, a line for each way, a mark for each setting along it.

One of the two is cheap to have without the other (a text said a thousand times is grammatical, words at random are diverse), so
a way of sampling is better than another only where it lies further on in both.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from annealed_lab.comparison.figures import COLOURS
from annealed_lm.reporting.plots import SMALL, SPOKEN, WIDTH, make_logarithmic, name_lines, remove_panels

QUALITY = ("grammatical", "perplexity", "mauve_train", "mauve_lm_train")
DIVERSITY = "diversity"
SETS = {"diffusion": "scores", "control": "control", "ceiling": "ceiling"}
"""What latents are decoded, and the key of its scores in a row of a sweep."""
INTERVAL = "bars: 95 % intervals over texts, where there are any"
MARKERS = ("o", "s", "^", "D", "v")
MARK_POINTS = 6.5
"""Size of the letters beside a mark."""


@dataclass(frozen=True)
class Mark:
    """One way of sampling at one setting: the name of its line, where it stands along the line, and its scores."""

    line: str
    place: float
    scores: Mapping[str, Mapping[str, float]]


def steps_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the rows of a sweep, a line for each strategy, solver and eta, a mark for each number of network evaluations."""
    marks = [
        Mark("{strategy}, {solver}, eta {eta:g}".format(**row["setting"]), row["setting"]["network_evaluations"], row["scores"])
        for row in rows
    ]
    return frontier(marks, f"Quality against diversity; at the marks: network evaluations a text;\n{INTERVAL}")


def decode_at_figure(rows: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the rows of a sweep, a line for each strategy and what it decodes, a mark for each noise level of decoding."""
    marks = [
        Mark(f"{row['setting']['strategy']}, {name}", row["setting"]["decode_at"], row[key])
        for row in rows
        for name, key in SETS.items()
    ]
    return frontier(marks, f"Quality against diversity; at the marks: noise level at which decoding begins;\n{INTERVAL}")


def frontier(marks: Sequence[Mark], title: str) -> Figure:
    """Draw a panel for each metric of quality that any mark has."""
    metrics = [metric for metric in QUALITY if any(metric in mark.scores for mark in marks)]
    rows = max(math.ceil(len(metrics) / 2), 1)
    figure = Figure(figsize=(WIDTH, 2.5 * rows + 1.1), layout="constrained")
    panels = figure.subplots(rows, 2, squeeze=False).flat
    for axes, metric in zip(panels, metrics, strict=False):
        for number, name in enumerate(dict.fromkeys(mark.line for mark in marks)):
            both = (mark for mark in marks if mark.line == name and {metric, DIVERSITY} <= set(mark.scores))
            draw_line(axes, sorted(both, key=lambda mark: mark.place), metric, number)
        axes.set_xlabel(SPOKEN[DIVERSITY].replace("\n", " "), fontsize=SMALL)
        axes.set_ylabel(SPOKEN[metric], fontsize=SMALL)
        axes.tick_params(labelsize=SMALL)
        axes.margins(0.12)  # room for the numbers beside the marks
        axes.locator_params(axis="x", nbins=5)
        if metric == "perplexity":
            make_logarithmic(axes)
    remove_panels(figure, len(metrics))
    figure.suptitle(title, fontsize=9)
    name_lines(figure, 2)
    return figure


def draw_line(axes: Axes, marks: Sequence[Mark], metric: str, number: int) -> None:
    """Draw marks in their order, in the style of line `number`, each with its place beside it and its intervals across it."""
    if not marks:
        return
    colour = COLOURS[number % len(COLOURS)]
    x, y = ([mark.scores[name]["value"] for mark in marks] for name in (DIVERSITY, metric))
    axes.plot(x, y, color=colour, marker=MARKERS[number % len(MARKERS)], markersize=4, linewidth=1.2, label=marks[0].line)
    for mark, point in zip(marks, zip(x, y, strict=True), strict=True):
        axes.annotate(f"{mark.place:g}", point, (3, 3), textcoords="offset points", fontsize=MARK_POINTS, color=colour)
        across, up = mark.scores[DIVERSITY], mark.scores[metric]
        if "low" in across:
            axes.hlines(point[1], across["low"], across["high"], color=colour, linewidth=0.7, alpha=0.5)
        if "low" in up:
            axes.vlines(point[0], up["low"], up["high"], color=colour, linewidth=0.7, alpha=0.5)
