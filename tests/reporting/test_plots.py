import re
import struct
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

from annealed_lm.reporting.plots import (
    CHARACTERS_A_LINE,
    DOTS_AN_INCH,
    LINES_A_TEXT,
    WIDTH,
    Columns,
    log_snr_figure,
    quality_figure,
    samples_figure,
    save_figure,
    schedules_figure,
    training_figure,
)

TRAINING: Columns = {
    "step": [0, 10, 20],
    "loss": [1.0, 0.5, 0.4],
    "T_now": [200, 600, 1000],
    "mean_t": [100, 300, 500],
    "learning_rate": [0.0, 3e-3, 1e-3],
}
VALIDATION: Columns = {"step": [0, 20], "loss": [1.1, 0.45]}
CURVES: dict[str, Columns] = {
    "grammatical": {"step": [1, 2], "grammatical": [0.2, 0.4]},
    "perplexity": {"step": [2], "perplexity": [30.0]},
    "mauve_train": {"step": [], "mauve_train": []},
}
LEVELS = {"control": {"grammatical": 0.1}, "ceiling": {"grammatical": 0.9, "perplexity": 10.0}, "baseline": {"perplexity": 12.0}}


def drawn(figure: Figure) -> list[list[list[tuple[float, float]]]]:
    """The points of each line of each panel."""
    return [
        [[(float(x), float(y)) for x, y in np.asarray(line.get_xydata())] for line in axes.get_lines()] for axes in figure.axes
    ]


def legend(figure: Figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def colours(figure: Figure) -> dict[object, set[object]]:
    """Those in which the lines of each name are drawn."""
    found: dict[object, set[object]] = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            found.setdefault(line.get_label(), set()).add(line.get_color())
    return found


def test_training_figure_draws_every_column() -> None:
    assert drawn(training_figure(TRAINING, VALIDATION)) == [
        [[(0, 1.0), (10, 0.5), (20, 0.4)], [(0, 1.1), (20, 0.45)]],
        [[(0, 200), (10, 600), (20, 1000)], [(0, 100), (10, 300), (20, 500)]],
        [[(0, 0.0), (10, 3e-3), (20, 1e-3)]],
    ]


BINS: dict[str, Columns] = {"below 0": {"step": [1, 2], "loss": [0.9, 0.8]}, "above 0": {"step": [1, 2], "loss": [0.02, 0.01]}}


def test_small_losses_by_log_snr_are_seen_beside_large_ones() -> None:
    figure = log_snr_figure(BINS)
    assert drawn(figure) == [[[(1, 0.9), (2, 0.8)], [(1, 0.02), (2, 0.01)]]]
    assert legend(figure) == list(BINS)
    assert figure.axes[0].get_yscale() == "log"
    assert "0.01" in {text for _, _, text in boxes_of_labels(figure)}


DENSITIES = {f"schedule {number}": np.full((2, 3), float(number)) for number in range(5)}


def test_a_density_is_a_heat_map_on_one_scale_of_colours() -> None:
    figure = schedules_figure(DENSITIES, 1000)
    *panels, bar = figure.axes
    assert [axes.get_title() for axes in panels] == list(DENSITIES)
    images = [axes.get_images()[0] for axes in panels]
    assert {image.norm for image in images} == {images[0].norm}
    assert [image.to_rgba(image.get_array())[0, 0, 3] for image in images] == [0, 1, 1, 1, 1]  # nothing where none is drawn
    assert {tuple(image.get_extent()) for image in images} == {(0, 1, 0, 1000)}
    assert "how often t is drawn" in bar.get_xlabel()


def test_quality_figure_has_a_panel_for_each_metric_and_the_levels_that_have_it() -> None:
    figure = quality_figure(CURVES, LEVELS, "greedy decoding")
    assert [axes.get_ylabel().split()[0] for axes in figure.axes] == ["grammatical", "perplexity", "MAUVE,"]
    assert drawn(figure) == [
        [[(1, 0.2), (2, 0.4)], [(0, 0.1), (1, 0.1)], [(0, 0.9), (1, 0.9)]],
        [[(2, 30)], [(0, 10), (1, 10)], [(0, 12), (1, 12)]],
        [[]],
    ]


def test_quality_figure_names_every_line_once_and_draws_it_alike_everywhere() -> None:
    figure = quality_figure(CURVES, LEVELS, "greedy decoding")
    assert legend(figure) == ["generated", "control", "ceiling", "baseline"]
    assert {name: len(found) for name, found in colours(figure).items()} == dict.fromkeys(legend(figure), 1)
    assert len({colour for found in colours(figure).values() for colour in found}) == 4


def test_only_perplexity_has_a_logarithmic_scale() -> None:
    assert [axes.get_yscale() for axes in quality_figure(CURVES, LEVELS, "greedy decoding").axes] == ["linear", "log", "linear"]


def test_the_title_says_of_which_texts() -> None:
    assert quality_figure(CURVES, LEVELS, "greedy decoding").get_suptitle() == "greedy decoding"


def boxes_of_labels(figure: Figure) -> list[tuple[float, float, str]]:
    """Bottom, top and text of the labels of the ticks that are seen in the first panel, from below."""
    figure.draw_without_rendering()
    axes = figure.axes[0]
    bottom, top = axes.get_ylim()
    ticks = [*axes.yaxis.get_major_ticks(), *axes.yaxis.get_minor_ticks()]
    labels = [tick.label1 for tick in ticks if bottom <= tick.get_loc() <= top and tick.label1.get_text()]
    boxes = [(label.get_window_extent(), label.get_text()) for label in labels]
    return sorted((box.y0, box.y1, text) for box, text in boxes)


@pytest.mark.parametrize("perplexities", [[12.2, 14.0], [20.0, 90.0], [120.0, 950.0], [12.0, 2000.0], [5.0, 40000.0]])
def test_ticks_of_perplexity_are_plain_numbers_that_do_not_overlap(perplexities: list[float]) -> None:
    figure = quality_figure({"perplexity": {"step": [2, 1], "perplexity": perplexities}}, {}, "greedy decoding")
    boxes = boxes_of_labels(figure)
    assert len(boxes) > 1
    assert all(re.fullmatch(r"[0-9.]+", text) for _, _, text in boxes)
    assert all(lower[1] < higher[0] for lower, higher in pairwise(boxes))


def test_a_perplexity_that_no_text_has_leaves_its_panel_empty() -> None:
    figure = quality_figure({"perplexity": {"step": [], "perplexity": []}}, {"control": {"grammatical": 0.1}}, "greedy decoding")
    assert drawn(figure) == [[[]]]
    figure.draw_without_rendering()


def test_a_single_metric_has_a_panel_too() -> None:
    assert len(quality_figure({"grammatical": CURVES["grammatical"]}, {}, "greedy decoding").axes) == 1


def test_samples_are_shown_letter_for_letter() -> None:
    texts = ["It costs $5 or $10.", "", "a_b^c \\frac", "word " * 60]
    figure = samples_figure({"greedy": texts, "beam": ["one"]})
    blocks = [axes.texts[0].get_text() for axes in figure.axes]
    assert "1 It costs $5 or $10." in blocks[0]
    assert "2 (empty)" in blocks[0]
    assert "a_b^c \\frac" in blocks[0]
    assert " ".join(blocks[0].split()).count("word") == 60
    assert max(map(len, blocks[0].splitlines())) <= CHARACTERS_A_LINE
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["greedy", "beam"]


@pytest.mark.parametrize("text", ["w" * 10**6, "word " * 10**5, "line\n" * 10**5, "\n" * 10**5, "a\u2028b" * 10**5])
def test_of_a_long_text_the_beginning_is_shown(text: str) -> None:
    figure = samples_figure({"bpe": [text] * 10})
    lines = figure.axes[0].texts[0].get_text().splitlines()
    assert len(lines) == 10 * LINES_A_TEXT
    assert max(map(len, lines)) <= CHARACTERS_A_LINE
    assert all(line.endswith("...") for line in lines[LINES_A_TEXT - 1 :: LINES_A_TEXT])
    assert figure.get_figheight() < 13


def test_a_text_that_fits_is_shown_to_its_end() -> None:
    text = ("word " * 300)[: LINES_A_TEXT * (CHARACTERS_A_LINE - 10)].strip()
    assert samples_figure({"greedy": [text]}).axes[0].texts[0].get_text().split()[1:] == text.split()


FIGURES: dict[str, Callable[[], Figure]] = {
    "curves": lambda: training_figure(TRAINING, VALIDATION),
    "quality": lambda: quality_figure(CURVES, LEVELS, "greedy decoding"),
    "by log-SNR": lambda: log_snr_figure(BINS),
    "T schedules": lambda: schedules_figure(DENSITIES, 1000),
    "samples": lambda: samples_figure({"greedy": ["$1 and $2"] * 10}),
}


@pytest.mark.parametrize("name", ["quality", "T schedules", "samples"])
def test_a_figure_is_two_files_of_the_same_bytes_each_time(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for copy, epoch in (("a", "0"), ("b", "1000000000")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", epoch)  # what a PDF is dated with, if it is
        save_figure(FIGURES[name](), tmp_path / copy)
    for form in ("png", "pdf"):
        assert (tmp_path / f"a.{form}").read_bytes() == (tmp_path / f"b.{form}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pdf", "a.png", "b.pdf", "b.png"]
    (width,) = struct.unpack(">I", (tmp_path / "a.png").read_bytes()[16:20])
    assert width == round(WIDTH * DOTS_AN_INCH)


def test_letters_of_a_pdf_are_those_of_the_font(tmp_path: Path) -> None:
    """Some publishers refuse letters that are drawings (fonts of type 3)."""
    save_figure(FIGURES["curves"](), tmp_path / "a")
    pdf = (tmp_path / "a.pdf").read_bytes()
    assert b"/CIDFontType2" in pdf
    assert b"/Type3" not in pdf


@pytest.mark.parametrize("name", sorted(set(FIGURES) - {"samples"}))
def test_every_figure_has_a_title_and_every_panel_names_its_axes(name: str) -> None:
    figure = FIGURES[name]()
    assert figure.get_suptitle()
    for axes in figure.axes:
        grid = axes.get_subplotspec()
        assert grid is None or axes.get_ylabel() or figure.get_supylabel()
        assert grid is None or axes.get_xlabel() or not grid.is_last_row()
