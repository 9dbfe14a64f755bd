"""Quality against diversity: a line for each way of sampling, a mark for each setting, and its intervals."""

from typing import Any

import pytest
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from annealed_lab.comparison.frontiers import decode_at_figure, steps_figure


def row(strategy: str, evaluations: int, perplexity: float | None, eta: float = 1.0, decode_at: float = 0.0) -> dict[str, Any]:
    scores = {"diversity": {"value": evaluations / 100, "low": 0.0, "high": 1.0}, "mauve_train": {"value": 0.9}}
    if perplexity is not None:
        scores["perplexity"] = {"value": perplexity, "low": perplexity - 1, "high": perplexity + 1}
    setting = {"strategy": strategy, "solver": "ddim", "eta": eta, "decode_at": decode_at, "network_evaluations": evaluations}
    control = {"diversity": {"value": 0.01}, "perplexity": {"value": 99.0}}
    return {"setting": setting, "scores": scores, "control": control, "ceiling": control}


ROWS = [
    *(row("greedy", 50, 20.0), row("greedy", 5, 40.0), row("greedy", 5, None, eta=0.0)),
    *(row("nucleus", 5, 60.0), row("nucleus", 50, None)),
]


def points(figure: Figure) -> list[dict[str, list[tuple[float, float]]]]:
    """The marks of each line of each panel."""
    return [
        {str(line.get_label()): [(float(x), float(y)) for x, y in line.get_xydata()] for line in axes.get_lines()}  # type: ignore[union-attr]
        for axes in figure.axes
    ]


def test_a_line_joins_the_steps_of_a_strategy_in_their_order() -> None:
    perplexity, mauve = points(steps_figure(ROWS))
    assert perplexity == {"greedy, ddim, eta 1": [(0.05, 40), (0.5, 20)], "nucleus, ddim, eta 1": [(0.05, 60)]}
    assert set(mauve) == {*perplexity, "greedy, ddim, eta 0"}


def test_axes_are_diversity_and_quality_and_perplexity_is_logarithmic() -> None:
    axes = steps_figure(ROWS).axes
    assert [each.get_ylabel().split()[0] for each in axes] == ["perplexity", "MAUVE,"]
    assert {each.get_xlabel() for each in axes} == {"diversity (0 to 1)"}
    assert [each.get_yscale() for each in axes] == ["log", "linear"]


def test_marks_are_numbered_and_have_the_intervals_that_there_are() -> None:
    perplexity, mauve = steps_figure(ROWS).axes
    assert [text.get_text() for text in perplexity.texts] == ["5", "50", "5"]
    assert len([each for each in perplexity.collections if isinstance(each, LineCollection)]) == 2 * 3
    assert len([each for each in mauve.collections if isinstance(each, LineCollection)]) == 5  # MAUVE itself has none


def test_a_line_has_one_colour_and_one_name_in_all_panels() -> None:
    figure = steps_figure(ROWS)
    found: dict[object, set[object]] = {}
    for axes in figure.axes:
        for line in axes.get_lines():
            found.setdefault(line.get_label(), set()).add(line.get_color())
    assert {len(colours) for colours in found.values()} == {1}
    assert len(set.union(*found.values())) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [str(name) for name in found]


def test_levels_of_decoding_stand_beside_control_and_ceiling() -> None:
    figure = decode_at_figure([row("greedy", 50, 20.0, decode_at=0.5), row("greedy", 50, 30.0, decode_at=0.3)])
    assert points(figure)[0] == {
        "greedy, diffusion": [(0.5, 30), (0.5, 20)],
        "greedy, control": [(0.01, 99)] * 2,
        "greedy, ceiling": [(0.01, 99)] * 2,
    }
    assert [text.get_text() for text in figure.axes[0].texts][:2] == ["0.3", "0.5"]


@pytest.mark.parametrize("draw", [steps_figure, decode_at_figure])
def test_nothing_that_was_tried_is_an_empty_figure(draw: Any) -> None:
    assert draw([]).axes == []
