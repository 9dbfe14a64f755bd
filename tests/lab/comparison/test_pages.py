"""The pages of a comparison: signs break no format, and the HTML is one file that shows all and loads nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from annealed_lab.comparison.compare import compare
from annealed_lab.comparison.findings import verdict
from annealed_lab.comparison.pages import html_page, latex_page, latex_table, markdown, markdown_page
from annealed_lab.comparison.tables import Table
from support.comparison_records import study

NASTY = 'a & b <i> $5 100% #1 x_y {z} ~ ^ \\ | "q" <script>alert(1)</script>'
VOID = {"meta", "img", "br"}


class Tags(HTMLParser):
    """Attributes of all tags, with a check that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.cells: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.open and self.open[-1] in ("td", "th"):
            self.cells[-1] += data

    def values(self, name: str) -> list[str | None]:
        return [value for _, attribute, value in self.attributes if attribute == name]


@pytest.fixture(scope="module")
def comparison() -> dict[str, Any]:
    found = compare(study(), "normal", None, [f"{NASTY} diverged"])
    found["settings"][0]["samples"]["texts"]["normal"][0] = NASTY
    found["settings"][0]["samples"]["texts"]["normal"][1] = ""
    found["settings"][1]["label"] = f"label {NASTY}"
    return found


@pytest.fixture
def written(comparison: dict[str, Any], tmp_path: Path) -> str:
    (tmp_path / "one.png").write_bytes(b"picture")
    return html_page(comparison, {tmp_path / "one.png": f"figure {NASTY}"})


def test_nothing_is_loaded_from_anywhere(written: str) -> None:
    tags = Tags(written)
    assert tags.open == []
    assert not re.search(r"https?:|//[a-z]|@import|url\(", written)
    assert {tag for tag, _, _ in tags.attributes} & {"script", "link", "iframe", "object"} == set()
    assert tags.values("src") == ["data:image/png;base64,cGljdHVyZQ=="]
    assert all(str(target).startswith("#") for target in tags.values("href"))


def test_the_verdict_stands_on_top_and_findings_have_signs_and_colours(written: str, comparison: dict[str, Any]) -> None:
    text = Tags(written).text
    assert text.index(verdict(comparison)) < text.index("notes")
    tags = Tags(written)
    judged = {value for tag, name, value in tags.attributes if (tag, name) == ("td", "class")}
    assert judged == {"better", "worse"}
    assert all(("▲" in cell) == cell.endswith("better") for cell in tags.cells if cell.endswith(("better", "worse")))
    assert markdown_page(comparison).startswith(verdict(comparison))


def test_every_link_leads_to_a_part_of_the_page(written: str) -> None:
    tags = Tags(written)
    assert len(tags.values("href")) == 2 + 4
    assert {f"#{name}" for name in tags.values("id")} == set(tags.values("href"))


def test_texts_are_shown_letter_for_letter_and_run_nothing(written: str, comparison: dict[str, Any]) -> None:
    assert "<script" not in written
    assert "<i>" not in written
    text = Tags(written).text
    assert text.count(NASTY) >= 5  # sample, label twice, figure, left out
    assert "(empty)" in text
    for note in comparison["notes"]:
        assert note in text


def test_a_setting_without_samples_or_baseline_says_so() -> None:
    alone = compare([each for each in study() if each.record.name.startswith("linear")], "normal", None, [])
    for setting in alone["settings"]:
        setting["samples"]["texts"] = {}
    text = html_page(alone, {})
    assert text.count("It has no normal to compare with.") == 2
    assert "Samples side by side" not in text
    assert "Nothing." in text


def test_every_experiment_is_named(written: str, comparison: dict[str, Any]) -> None:
    names = [name for each in comparison["settings"] for entry in each["variants"].values() for name in entry["records"]]
    assert len(names) == 18
    assert set(names) <= set(Tags(written).cells)


def test_cells_of_html_hold_their_text_letter_for_letter(written: str, comparison: dict[str, Any]) -> None:
    cells = Tags(written).cells
    assert NASTY in cells  # a text
    assert cells.count(comparison["settings"][1]["label"]) >= 9  # in the overview and beside every record


# Markdown and LaTeX


def test_without_a_baseline_no_format_has_an_overview() -> None:
    alone = compare([each for each in study() if not each.record.name.startswith("normal")], "normal", None, [])
    assert "## Overview" not in markdown_page(alone)
    assert latex_page(alone).count(r"\begin{table}") == 2
    assert "Beside normal" not in html_page(alone, {})


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


def test_every_special_sign_of_latex_is_escaped_in_cells_and_caption() -> None:
    signs = {
        "a & b <i> $5 100%": r"a \& b \ensuremath{<}i\ensuremath{>} \$5 100\%",
        r"x_y {z} #1 ~ ^ \ ±": r"x\_y \{z\} \#1 \textasciitilde{} \^{} \textbackslash{} ±",
    }
    for text, escaped in signs.items():
        table = latex_table(Table("t", [{text: text, "b": "1"}]), text)
        assert f"\\caption{{{escaped}}}\n" in table
        assert table.count(escaped) == 3


def test_signs_of_better_and_worse_are_drawn_by_latex(comparison: dict[str, Any]) -> None:
    text = latex_page(comparison)
    assert r"$\bigtriangleup$ " in text
    assert r"$\bigtriangledown$ " in text
    assert not set("▲▼") & set(text)


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
    label = comparison["settings"][0]["label"].replace("_", r"\_")
    assert text.count(f"Setting: {label}.") == 3
