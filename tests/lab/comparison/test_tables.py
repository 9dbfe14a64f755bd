"""Tables of a comparison: what stands in their cells."""

import re
from typing import Any

import pytest

from annealed_lab.comparison.compare import compare
from annealed_lab.comparison.seed_statistics import COMPARED
from annealed_lab.comparison.tables import (
    difference_cell,
    differences_table,
    finding,
    main_tables,
    mean_cell,
    median_cell,
    metrics_table,
    number,
    overview_table,
    p_cell,
    records_table,
    samples_table,
    steps_table,
    varied,
)
from support.comparison_records import LABELS, study


@pytest.fixture(scope="module")
def comparison() -> dict[str, Any]:
    return compare(study(), "normal", None, [])


def test_the_metrics_of_every_variant_stand_beside_control_and_ceiling(comparison: dict[str, Any]) -> None:
    rows = metrics_table(comparison["settings"][0]).rows
    assert [row["variant"] for row in rows] == [*LABELS, "(control)", "(ceiling)"]
    assert list(rows[0]) == [
        "variant",
        "seeds",
        "validation loss",
        "grammatical",
        "perplexity_corpus",
        "mauve_train",
        "diversity",
    ]
    assert re.fullmatch(r"0\.\d+ ± 0\.\d+ \[0\.\d\d\]", rows[0]["grammatical"])
    assert "[" not in rows[0]["diversity"]
    assert (rows[-2]["perplexity_corpus"], rows[-1]["perplexity_corpus"], rows[-1]["validation loss"]) == ("34", "4", "–")


def test_differences_have_interval_p_and_what_could_be_detected(comparison: dict[str, Any]) -> None:
    table = differences_table(comparison["settings"][0], "normal", COMPARED)
    assert table is not None
    assert len(table.rows) == 2 * 5
    for row in table.rows:
        assert row["pairs"] == "3"
        assert re.fullmatch(r"([▲▼] )?[+-]\S+ \[[+-]\S+, [+-]\S+\]", row["difference from normal [95 % interval]"])
        assert all(row[name] not in ("", "–") for name in ("p", "p (Holm)", "p (flips)", "detectable"))


def test_a_single_pair_has_no_p() -> None:
    few = [each for each in study() if each.seed == 1]
    table = differences_table(compare(few, "normal", None, [])["settings"][0], "normal", COMPARED)
    assert table is not None
    assert {row["p"] for row in table.rows} == {"–"}
    assert {row["detectable"] for row in table.rows} == {"–"}


def test_steps_that_were_not_enough_are_told_as_a_bound(comparison: dict[str, Any]) -> None:
    table = steps_table(comparison["settings"][0], "normal")
    assert table is not None
    by_variant = {row["variant"]: row for row in table.rows if row["target"] == "validation loss of normal"}
    assert (by_variant["normal"]["median steps"], by_variant["normal"]["ratio to normal"]) == ("600", "1")
    assert (by_variant[LABELS[2]]["reached"], by_variant[LABELS[2]]["median steps"]) == ("0 of 3", "> 600")


def test_the_overview_says_better_worse_or_not_told_apart(comparison: dict[str, Any]) -> None:
    table = overview_table(comparison)
    assert table is not None
    assert len(table.rows) == 2 * 2
    assert finding({"mean": -1.0, "p_holm": 0.01}, "perplexity") == "▲ -1 better"
    assert finding({"mean": -1.0, "p_holm": 0.01}, "grammatical") == "▼ -1 worse"
    assert finding({"mean": -1.0, "p_holm": 0.05, "detectable": 2.0}, "grammatical") == "-1 not told apart (detectable 2)"
    assert finding({"mean": -1.0, "p_holm": 0.5, "sd": 0.0}, "grammatical") == "-1 not told apart"
    assert finding({"mean": -1.0}, "grammatical") == "-1, one pair"
    assert finding({"mean": 1e-9, "equal": True}, "grammatical") == "equal"


def test_a_difference_of_a_metric_that_has_no_better_has_no_sign() -> None:
    entry = {"mean": 0.5, "low": 0.25, "high": 0.75, "p_holm": 0.001}
    assert difference_cell(entry, "mauve_train") == "▲ +0.5 [+0.25, +0.75]"
    assert difference_cell(entry, "memorization") == "+0.5 [+0.25, +0.75]"
    assert difference_cell({"mean": 1e-9, "equal": True}, "mauve_train") == "equal"


def test_without_a_baseline_there_is_nothing_beside_it() -> None:
    alone = compare([each for each in study() if not each.record.name.startswith("normal")], "normal", None, [])
    assert overview_table(alone) is None
    assert len(main_tables(alone["settings"][0], "normal")) == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.12345678, "0.1235"),
        (12345.6, "12346"),
        (600, "600"),
        (0.9166, "0.9166"),
        (1e-7, "1e-07"),
        (2.5e9, "2.5e+09"),
        (-3.0, "-3"),
    ],
)
def test_numbers_have_four_digits(value: float, text: str) -> None:
    assert number(value) == text


def test_cells() -> None:
    assert mean_cell({"mean": 0.5}) == "0.5"
    assert mean_cell({"mean": 0.5, "low": 0.375, "high": 0.625, "share": {"mean": 0.25}}) == "0.5 ± 0.12 [0.25]"
    assert median_cell({"step": {"median": 600.0, "above": True}}, "step") == "> 600"
    assert [p_cell({"p": p}, "p") for p in (0.5, 0.012345, 1e-9)] == ["0.5", "0.012", "< 0.0001"]
    assert p_cell({}, "p") == "–"


def test_settings_are_explained_where_their_label_is_short() -> None:
    parameters = {"dataset_name": '"e2e"', "train_diffusion.tx_dim": None}
    assert varied({"label": "dataset_name e2e", "parameters": parameters}) == "dataset_name e2e, train_diffusion.tx_dim absent"
    assert varied({"label": "dataset_name e2e, tx_dim absent", "parameters": parameters}) == ""
    assert varied({"label": "all", "parameters": {}}) == ""


def test_samples_of_all_variants_and_of_the_references_stand_in_one_row(comparison: dict[str, Any]) -> None:
    table = samples_table(comparison["settings"][1])
    assert table is not None
    assert [list(row) for row in table.rows] == [["", *LABELS, "(control)", "(ceiling)"]] * 4
    assert [row[""] for row in table.rows] == ["1", "2", "3", "4"]
    assert table.rows[2][LABELS[1]].startswith("Text 2 of linear")


def test_a_missing_sample_leaves_its_cell_empty_and_an_empty_one_says_so(comparison: dict[str, Any]) -> None:
    texts = {"normal": ["a"], "linear": ["", "b"]}
    table = samples_table({"samples": {"seed": 1, "strategy": "greedy", "texts": texts}})
    assert table is not None
    assert [(row["normal"], row["linear"]) for row in table.rows] == [("a", "(empty)"), ("", "b")]
    assert samples_table({"samples": {"seed": 1, "strategy": "greedy", "texts": {}}}) is None


def test_every_experiment_is_named(comparison: dict[str, Any]) -> None:
    rows = records_table(comparison).rows
    assert len({row["experiment"] for row in rows}) == len(rows) == 18
    assert rows[0] == {
        "setting": "num_train_steps 600",
        "variant": "normal",
        "seed": "1",
        "experiment": "normal-600-1",
        "commit": "folder",
    }
