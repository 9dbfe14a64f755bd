"""Tables of a comparison in three formats, and signs that would break them."""

import re
from html.parser import HTMLParser
from typing import Any

import pytest

from annealed_lab.comparison.comparison import compare
from annealed_lab.comparison.seed_statistics import COMPARED
from annealed_lab.comparison.table_formats import Table, escape_latex, html_table, latex_table, markdown
from annealed_lab.comparison.tables import (
    differences_table,
    finding,
    latex_page,
    main_tables,
    markdown_page,
    mean_cell,
    median_cell,
    metrics_table,
    number,
    overview_table,
    p_cell,
    steps_table,
    varied,
)
from support.comparison_records import LABELS, study

NASTY = 'a & b <i> $5 100% #1 x_y {z} ~ ^ \\ | "q"'


class Cells(HTMLParser):
    """The texts of the cells of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.tags: set[str] = set()
        self.inside = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        if tag in ("td", "th"):
            self.inside = True
            self.found.append("")

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.found[-1] += data


@pytest.fixture(scope="module")
def comparison() -> dict[str, Any]:
    return compare(study(), "normal", None, [f"{NASTY} diverged"])


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
        assert re.fullmatch(r"[+-]\S+ \[[+-]\S+, [+-]\S+\]", row["difference from normal [95 % interval]"])
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
    assert finding({"mean": -1.0, "p_holm": 0.01}, -1) == "-1 better"
    assert finding({"mean": -1.0, "p_holm": 0.01}, 1) == "-1 worse"
    assert finding({"mean": -1.0, "p_holm": 0.05, "detectable": 2.0}, 1) == "-1 not told apart (detectable 2)"
    assert finding({"mean": -1.0}, 1) == "-1, one pair"


def test_without_a_baseline_there_is_nothing_beside_it() -> None:
    alone = compare([each for each in study() if not each.record.name.startswith("normal")], "normal", None, [])
    assert overview_table(alone) is None
    assert len(main_tables(alone["settings"][0], "normal")) == 1
    assert "## Overview" not in markdown_page(alone)
    assert latex_page(alone).count(r"\begin{table}") == 2


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


def test_markdown_has_all_settings_notes_and_what_was_left_out(comparison: dict[str, Any]) -> None:
    text = markdown_page(comparison)
    for setting in comparison["settings"]:
        assert f"## Setting: {setting['label']}\n" in text
    assert all(f"- {note}\n" in text for note in comparison["notes"])
    assert "Training losses of different T schedules cannot be compared" in text
    assert f"## Left out\n\n- {NASTY} diverged\n" in text


def test_a_bar_ends_no_cell_of_markdown() -> None:
    lines = markdown(Table("t", [{"a|b": NASTY, "c": "d"}])).splitlines()
    assert {len(re.split(r"(?<!\\)\|", line)) for line in lines[2:]} == {4}


def test_latex_escapes_every_special_sign() -> None:
    assert escape_latex("a & b <i> $5 100%") == r"a \& b \textless{}i\textgreater{} \$5 100\%"
    assert escape_latex(r"x_y {z} #1 ~ ^ \ ±") == (r"x\_y \{z\} \#1 \textasciitilde{} \textasciicircum{} \textbackslash{} $\pm$")


def test_a_latex_table_has_booktabs_rules_and_as_many_cells_in_each_line() -> None:
    text = latex_table(Table("t", [{"a": NASTY, "b": "1"}, {"a": "2", "b": "3 & 4"}]), "100 % of x_y")
    assert [text.count(rule) for rule in (r"\toprule", r"\midrule", r"\bottomrule")] == [1, 1, 1]
    assert r"\caption{100 \% of x\_y}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\")]
    assert [len(re.findall(r"(?<!\\)&", row)) for row in rows] == [1, 1, 1]
    bare = re.sub(r"\\[{}]", "", text)
    assert bare.count("{") == bare.count("}")


def test_latex_has_every_table_of_every_setting(comparison: dict[str, Any]) -> None:
    text = latex_page(comparison)
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 1 + 2 * 3
    assert not re.search(r"(?<!\\)%(?! )", re.sub(r"\{%\n", "", text))  # comments alone
    assert all(f"Setting: {escape_latex(each['label'])}." in text for each in comparison["settings"])


def test_html_shows_cells_letter_for_letter() -> None:
    found = Cells(html_table(Table(NASTY, [{NASTY: NASTY, "b": "<script>"}])))
    assert found.found == [NASTY, "b", NASTY, "<script>"]
    assert found.tags == {"p", "div", "table", "tr", "th", "td"}
