"""The page of a comparison: one file that shows all and loads nothing."""

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from annealed_lab.comparison.comparison import compare
from annealed_lab.comparison.page import page, samples
from support.comparison_records import LABELS, study

NASTY = "a & b <i> $5 100% <script>alert(1)</script>"
VOID = {"meta", "img", "br"}


class Tags(HTMLParser):
    """Attributes of all tags, with a check that each is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.attributes: list[tuple[str, str, str | None]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value) for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

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
    return page(comparison, {tmp_path / "one.png": f"figure {NASTY}"})


def test_nothing_is_loaded_from_anywhere(written: str) -> None:
    tags = Tags(written)
    assert tags.open == []
    assert not re.search(r"https?:|//[a-z]|@import|url\(", written)
    assert {tag for tag, _, _ in tags.attributes} & {"script", "link", "iframe", "object"} == set()
    assert tags.values("src") == ["data:image/png;base64,cGljdHVyZQ=="]
    assert all(str(target).startswith("#") for target in tags.values("href"))


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


def test_samples_of_all_variants_and_of_the_references_stand_in_one_row(comparison: dict[str, Any]) -> None:
    text = samples(comparison["settings"][1])
    for label in (*LABELS, "(control)", "(ceiling)"):
        assert f"<th scope='col'>{label}</th>" in text
    first = text[text.index("<th scope='row'>1</th>") :]
    assert re.match(r"<th scope='row'>1</th><td>Text 0 of normal[^/]*</td><td>Text 0 of linear[^/]*</td>", first)


def test_a_setting_without_samples_or_baseline_says_so() -> None:
    alone = compare([each for each in study() if each.record.name.startswith("linear")], "normal", None, [])
    for setting in alone["settings"]:
        setting["samples"]["texts"] = {}
    text = page(alone, {})
    assert text.count("It has no normal to compare with.") == 2
    assert "Samples side by side" not in text
    assert "Nothing." in text


def test_every_experiment_is_named(written: str, comparison: dict[str, Any]) -> None:
    names = [name for each in comparison["settings"] for entry in each["variants"].values() for name in entry["records"]]
    assert len(names) == 18
    assert all(f"<td>{name}</td>" in written for name in names)
