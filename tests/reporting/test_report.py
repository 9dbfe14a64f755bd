import re
import resource
from pathlib import Path

import numpy as np
import pytest

import report
from annealed_lab.experiments.records import parse_samples
from annealed_lm.annealing.t_schedules import T_SCHEDULES, diffusion_range
from annealed_lm.annealing.timesteps import DISTRIBUTIONS
from annealed_lm.common.errors import one_sentence_errors
from annealed_lm.common.files import read_tsv, write_tsv
from annealed_lm.reporting.report import (
    CLOSING_METRICS,
    SHOWN_STEPS,
    SHOWN_TIMESTEPS,
    T_schedule_densities,
    bare_values,
    cell,
    closing_lines,
    evaluation_record,
    scores_table,
    set_rows,
)
from annealed_lm.reporting.tables import aligned_rows, by_log_snr, columns, curve, markdown_table
from support.tiny import schedule_settings


def test_columns_are_numbers_in_the_order_of_the_rows() -> None:
    assert columns([{"step": "0", "loss": "1e-3", "x": "no"}, {"step": "5", "loss": "2"}], ("step", "loss")) == {
        "step": [0, 5],
        "loss": [0.001, 2],
    }


def test_aligned_rows_have_every_column_and_nothing_where_there_is_no_value() -> None:
    rows: list[dict[str, float]] = [{"step": 1, "empty": 0.0}, {"step": 2, "perplexity": 5.0, "empty": 0.5}, {"step": 3}]
    aligned = aligned_rows(rows)
    assert aligned == [
        {"step": 1, "empty": 0.0, "perplexity": ""},
        {"step": 2, "empty": 0.5, "perplexity": 5.0},
        {"step": 3, "empty": "", "perplexity": ""},
    ]
    assert {tuple(row) for row in aligned} == {("step", "empty", "perplexity")}
    assert aligned_rows([]) == []


def test_a_curve_has_the_steps_at_which_there_is_a_value_after_the_file_too(tmp_path: Path) -> None:
    rows: list[dict[str, float]] = [{"step": 1, "empty": 0.0}, {"step": 2, "perplexity": 5.0, "empty": 0.5}, {"step": 3}]
    write_tsv(tmp_path / "quality.tsv", aligned_rows(rows))
    read = read_tsv(tmp_path / "quality.tsv")
    assert curve(read, "empty") == {"step": [1, 2], "empty": [0, 0.5]}
    assert curve(read, "perplexity") == {"step": [2], "perplexity": [5]}
    assert curve([{"step": "1", "perplexity": ""}], "perplexity") == {"step": [], "perplexity": []}


def test_each_bin_of_log_snr_has_its_curve() -> None:
    rows = [
        {"step": step, "log_snr": log_snr, "loss": loss}
        for step, log_snr, loss in [("1", "-2 to 0", "3"), ("1", "0 to 2", "4"), ("2", "-2 to 0", "2")]
    ]
    assert by_log_snr(rows) == {"-2 to 0": {"step": [1, 2], "loss": [3, 2]}, "0 to 2": {"step": [1], "loss": [4]}}


def test_every_T_schedule_is_compared_at_the_settings_of_the_run() -> None:
    settings = schedule_settings(total_steps=1000, timesteps=500, power=3, start_fraction=0.1, anneal_fraction=0.8)
    densities = T_schedule_densities(settings)
    assert set(densities) == {name for name, kind in DISTRIBUTIONS.items() if not kind.depends_on_losses}
    steps = range(0, 1000, 3)
    for name, density in densities.items():
        bins, times = density.shape
        assert bins == SHOWN_TIMESTEPS
        assert SHOWN_STEPS <= times <= 2 * SHOWN_STEPS
        assert density.mean(axis=0) == pytest.approx(1, abs=0.3)  # of bins of 2 or 3 timesteps
        if name in T_SCHEDULES:
            ranges = np.array([diffusion_range(name, step, 1000, 500, 3, 0.1, 0.8) for step in steps])
            assert density[0] == pytest.approx(500 / ranges)
            assert (density > 0).sum(axis=0) * 500 / bins == pytest.approx(ranges, abs=3)
    assert not np.allclose(densities["normal"], densities["logit_normal"], atol=0.3)
    assert not np.allclose(densities["normal"], densities["laplace"], atol=0.3)


def test_a_short_training_is_shown_at_every_step_and_timestep() -> None:
    densities = T_schedule_densities(schedule_settings(total_steps=3, timesteps=10))
    assert densities["normal"] == pytest.approx(np.ones((10, 3)))


def test_a_markdown_table_has_a_line_for_each_row() -> None:
    rows = [
        {"strategy": "greedy", "eta": 0.0, "steps": 50, "mauve": 0.123456},
        {"strategy": "nucleus", "eta": 1.0, "steps": 5, "mauve": ""},
    ]
    assert markdown_table(rows).splitlines() == [
        "| strategy   | eta   | steps   | mauve   |",
        "|------------|-------|---------|---------|",
        "| greedy     | 0     | 50      | 0.1235  |",
        "| nucleus    | 1     | 5       |         |",
    ]
    assert markdown_table(rows).endswith("|\n")


def test_what_a_markdown_table_is_given_stands_in_it_as_it_is() -> None:
    """No text is taken for a number, and no bar ends a cell."""
    lines = markdown_table([{"a|b": "1e3", "commit": "0012345"}, {"a|b": "x|y", "commit": "1.0"}]).splitlines()
    assert [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines if "--" not in line] == [
        [r"a\|b", "commit"],
        ["1e3", "0012345"],
        [r"x\|y", "1.0"],
    ]


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"value": 0.123456}, "0.1235"),
        ({"value": 0.123456, "low": 0.1, "high": 0.234567}, "0.1235 [0.1, 0.2346]"),
        ({"value": 12.3456, "std": 0.0123}, "12.35 ± 0.012"),
        ({"value": 12.3456, "std": 0.0123, "low": 12.0, "high": 13.0}, "12.35 ± 0.012"),
        ({"value": 0.9, "clustering_std": 0.01, "real": 0.96}, "0.9"),  # tells nothing of other texts, or of another seed
        ({"value": 0.9, "std": 0.02, "clustering_std": 0.01}, "0.9 ± 0.02"),
    ],
)
def test_a_cell_shows_the_deviation_over_seeds_or_else_the_interval(entry: dict[str, float], expected: str) -> None:
    assert cell(entry) == expected


def test_a_text_is_a_line_of_the_samples_whatever_it_holds(tmp_path: Path) -> None:
    samples = {"greedy, generated": ["one\ntwo\r\n\nthree", "", "\n\nbaseline\n", "last"], "baseline": ["a\u2028b\x0bc", "\n"]}
    report.write_samples(samples, tmp_path)
    text = (tmp_path / "samples.txt").read_text(encoding="utf-8")
    assert text.splitlines() == text.split("\n")[:-1]
    assert {title: len(texts) for title, texts in parse_samples(text.strip()).items()} == {"greedy, generated": 4, "baseline": 2}
    assert parse_samples(text.strip())["greedy, generated"][0] == r"one\ntwo\r\n\nthree"


def test_tables_of_the_curves_are_copied_whole_or_not_at_all(tmp_path: Path) -> None:
    """A disk that is full names the target, and leaves the one before."""
    curves, plots = tmp_path / "curves", tmp_path / "plots"
    for folder, content in ((curves, "step\tloss\n" * 1000), (plots, "before")):
        folder.mkdir()
        for name in report.CURVES:
            (folder / f"{name}.tsv").write_text(content)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limit[1]))
    try:
        with pytest.raises(SystemExit, match=f"is reached while writing {plots}/training.tsv; "), one_sentence_errors():
            report.write_curves(curves, plots)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert {path.read_text() for path in plots.iterdir()} == {"before"}


ENTRY = {"value": 0.5, "low": 0.4, "high": 0.6}
STRATEGIES = {"greedy": {"distinct": ENTRY}, "beam": {"distinct": ENTRY | {"value": 0.75}}}
REFERENCES = {
    "train_train": {"distinct": {"value": 1.0}},
    "control": {"greedy": {"distinct": {"value": 0.1}}, "beam": {"distinct": {"value": 0.2}}},
    "ceiling": {"greedy": {"distinct": {"value": 0.8}}, "beam": {"distinct": {"value": 0.9}}},
    "baseline": {"distinct": {"value": 0.7}},
    "by_label": {"train_train": {"cheap": {"texts": {"value": 20}, "distinct": {"value": 0.95, "std": 0.01}}}},
}


def test_bare_values_reduce_each_entry_however_deep() -> None:
    assert bare_values(STRATEGIES) == {"greedy": {"distinct": 0.5}, "beam": {"distinct": 0.75}}
    assert bare_values(REFERENCES) == {
        "train_train": {"distinct": 1},
        "control": {"greedy": {"distinct": 0.1}, "beam": {"distinct": 0.2}},
        "ceiling": {"greedy": {"distinct": 0.8}, "beam": {"distinct": 0.9}},
        "baseline": {"distinct": 0.7},
        "by_label": {"train_train": {"cheap": {"texts": 20, "distinct": 0.95}}},
    }


SETTINGS = {"num_samples": 40, "held_out": "valid"}
SAMPLING = {"eval_seeds": [42, 43], "num_samples": 40, "top_p": 0.9}
BY_LABEL = {"greedy": {"cheap": {"texts": {"value": 20.0}}}}


def test_the_record_of_an_evaluation_holds_scores_settings_and_how_texts_were_sampled() -> None:
    scores = {"sampling": SAMPLING, "strategies": STRATEGIES, "by_label": BY_LABEL}
    assert evaluation_record(SETTINGS, scores, REFERENCES) == {
        "settings": {"num_samples": 40, "held_out": "valid", "eval_seeds": [42, 43]},
        "sampling": SAMPLING,
        "samples": STRATEGIES,
        "by_label": BY_LABEL,
        "references": REFERENCES,
    }
    assert "eval_seeds" not in SETTINGS


def test_the_record_says_nothing_of_labels_where_no_text_was_asked_to_have_one() -> None:
    record = evaluation_record(SETTINGS, {"sampling": SAMPLING, "strategies": STRATEGIES, "by_label": {}}, REFERENCES)
    assert set(record) == {"settings", "sampling", "samples", "references"}


def test_set_rows_stand_one_by_one_with_generated_texts_first() -> None:
    rows = set_rows(bare_values(STRATEGIES), bare_values(REFERENCES))
    assert {name: row["distinct"] for name, row in rows.items()} == {
        "greedy, generated": 0.5,
        "beam, generated": 0.75,
        "greedy, control": 0.1,
        "greedy, ceiling": 0.8,
        "beam, control": 0.2,
        "beam, ceiling": 0.9,
        "train_train": 1,
        "baseline": 0.7,
    }
    assert list(rows)[:2] == ["greedy, generated", "beam, generated"]


def test_set_rows_leave_entries_as_they_are() -> None:
    assert set_rows(STRATEGIES, REFERENCES)["greedy, generated"] == {"distinct": ENTRY}


def test_bounds_are_shown_of_the_strategies_of_the_samples_alone() -> None:
    assert not any(name.startswith("beam") for name in set_rows({"greedy": STRATEGIES["greedy"]}, REFERENCES))


@pytest.mark.parametrize("left_out", [(), ("grammatical", "has_label"), CLOSING_METRICS[1:]])
def test_a_run_ends_with_at_most_eight_lines_of_80_columns(left_out: tuple[str, ...]) -> None:
    row = {metric: 1234.5678 for metric in CLOSING_METRICS if metric not in left_out}
    bare = {"perplexity": 9.0}
    text = closing_lines(
        "nucleus", {"nucleus": row, "beam": {}}, {"control": {"nucleus": row}, "ceiling": {"nucleus": row}, "baseline": bare}
    )
    lines = text.splitlines()
    assert len(lines) <= 8
    assert max(map(len, lines)) <= 80
    assert set(lines[0].split()) <= set(row)
    assert [line.split()[0].strip(",") for line in lines[1:5]] == ["generated", "control", "ceiling", "baseline"]
    assert "9.000" in lines[4] or "perplexity" in left_out
    assert {"-"} < set(lines[4].split()) or len(row) == 1
    assert lines[5].startswith("nucleus decoding")
    assert "make baseline" in lines[-1]


def test_a_table_of_scores_has_the_metrics_that_any_row_has() -> None:
    rows = {"a": {"perplexity": {"value": 4.0, "std": 0.25}}, "b": {"distinct": {"value": 1.0}}}
    lines = scores_table(rows, ["perplexity", "mauve_train", "distinct"]).splitlines()
    assert [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines if "--" not in line] == [
        ["", "perplexity", "distinct"],
        ["a", "4 ± 0.25", ""],
        ["b", "", "1"],
    ]
