import struct
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from annealed_lm.plots import lines_figure, samples_figure, save_png, training_figure

TRAINING = {"step": [0, 10, 20], "loss": [1.0, 0.5, 0.4], "T_now": [200, 600, 1000], "learning_rate": [0.0, 3e-3, 1e-3]}
VALIDATION = {"step": [0, 20], "loss": [1.1, 0.45]}


def drawn(figure: Figure) -> list[list[list[tuple[float, float]]]]:
    """The points of each line of each panel."""
    return [[[(float(x), float(y)) for x, y in line.get_xydata()] for line in axes.get_lines()] for axes in figure.axes]


def test_training_figure_draws_every_column() -> None:
    assert drawn(training_figure(TRAINING, VALIDATION)) == [
        [[(0, 1.0), (10, 0.5), (20, 0.4)], [(0, 1.1), (20, 0.45)]],
        [[(0, 200), (10, 600), (20, 1000)]],
        [[(0, 0.0), (10, 3e-3), (20, 1e-3)]],
    ]


def test_lines_figure_names_each_line() -> None:
    figure = lines_figure({"0-9": {"step": [0, 1], "loss": [3, 2]}, "10-19": {"step": [0, 1], "loss": [5, 4]}}, "loss", "t")
    assert drawn(figure) == [[[(0, 3), (1, 2)], [(0, 5), (1, 4)]]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["0-9", "10-19"]


def test_samples_are_shown_letter_for_letter() -> None:
    texts = ["It costs $5 or $10.", "", "a_b^c \\frac", "word " * 60]
    figure = samples_figure({"greedy": texts, "beam": ["one"]})
    blocks = [axes.texts[0].get_text() for axes in figure.axes]
    assert "1 It costs $5 or $10." in blocks[0]
    assert "2 (empty)" in blocks[0]
    assert "a_b^c \\frac" in blocks[0]
    assert " ".join(blocks[0].split()).count("word") == 60
    assert max(map(len, blocks[0].splitlines())) <= 120
    assert [axes.get_title(loc="left") for axes in figure.axes] == ["greedy", "beam"]


FIGURES: dict[str, Callable[[], Figure]] = {
    "curves": lambda: training_figure(TRAINING, VALIDATION),
    "samples": lambda: samples_figure({"greedy": ["$1 and $2"] * 10}),
}


@pytest.mark.parametrize("name", FIGURES)
def test_png_is_the_same_bytes_each_time(name: str, tmp_path: Path) -> None:
    for path in (tmp_path / "a.png", tmp_path / "b.png"):
        save_png(FIGURES[name](), path)
    first = (tmp_path / "a.png").read_bytes()
    assert first == (tmp_path / "b.png").read_bytes()
    width, height = struct.unpack(">II", first[16:24])
    assert width >= 600
    assert height >= 150
