"""Rows whose columns have names."""

from pathlib import Path

import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.corpora.named_columns import read_csv_objects, read_json_objects, read_labelled_texts, texts_and_labels
from annealed_lm.corpora.readers import READERS, LabelledText

CSV = 'id,review,stars\n1,"Good, and\ncheap.",5\n2,Bad.,1\n\n'
JSON = '{"review": "Good, and\\ncheap.", "stars": 5}\n{"stars": "1", "review": "Bad.", "id": 2}\n\n'


def test_csv_and_json_say_the_same(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text(CSV)
    (tmp_path / "a.jsonl").write_text(JSON)
    for rows in (read_csv_objects(tmp_path / "a.csv"), read_json_objects(tmp_path / "a.jsonl")):
        assert list(texts_and_labels(rows, "review", "stars")) == [("Good, and\ncheap.", "5"), ("Bad.", "1")]
    assert [text for text, _ in texts_and_labels(read_csv_objects(tmp_path / "a.csv"), "stars", None)] == ["5", "1"]


def test_columns_that_a_spreadsheet_adds_at_the_end_are_none(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label,,\nAnn went home.,1,,\n,2\n")
    rows = list(texts_and_labels(read_csv_objects(tmp_path / "a.csv"), "text", "label"))
    assert rows == [("Ann went home.", "1"), ("", "2")]
    (tmp_path / "a.csv").write_text("text,label,\nAnn went home.,1,lost\n")
    with pytest.raises(InputError, match="line 2 has 3 columns, not the 2 columns text, label"):
        list(read_csv_objects(tmp_path / "a.csv"))


@pytest.mark.parametrize(
    ("content", "text", "label", "sentence"),
    [
        (CSV, "text", None, "a.csv line 2 has no column text: there are id, review, stars"),
        (CSV, "review", "star", "a.csv line 2 has no column star: there are"),
        (CSV.strip() + "\n3,Fine.\n", "review", None, "a.csv line 5 has 2 columns, not the 3 columns id, review, stars"),
        (CSV.strip() + "\n3,Fine.,\n", "review", "stars", 'a.csv line 5 has "" as its stars: a label is a word or a number'),
        ("a,b,a\n1,2,3\n", "a", None, "a.csv line 1 names a column twice: a, b, a"),
        ('a,b\n1,"2\n', "a", None, "a.csv line 2 begins a row that is not CSV"),
    ],
)
def test_a_row_of_csv_that_is_not_as_it_should_be_is_named(
    content: str, text: str, label: str | None, sentence: str, tmp_path: Path
) -> None:
    (tmp_path / "a.csv").write_text(content)
    with pytest.raises(InputError, match=sentence):
        list(texts_and_labels(read_csv_objects(tmp_path / "a.csv"), text, label))


@pytest.mark.parametrize("value", ["null", "true", "[1]", '{"a": 1}', '" "'])
def test_a_label_is_a_word_or_a_number(value: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(f'{{"text": "a", "label": 1}}\n{{"text": "b", "label": {value}}}\n')
    with pytest.raises(InputError, match=r"a\.jsonl line 2 has .* as its label: a label is a word or a number"):
        read_labelled_texts(tmp_path / "a.jsonl")


@pytest.mark.parametrize("line", ["a", "[1]", "1", '{"text": 1}', '{"texts": "a"}', "{" * 9999])
def test_a_line_without_a_text_is_named(line: str, tmp_path: Path) -> None:
    (tmp_path / "texts.jsonl").write_text(f'{{"text": "a"}}\n{line}\n')
    with pytest.raises(InputError, match=r"texts\.jsonl line 2 (is not a JSON object|has)"):
        READERS["text"](tmp_path, "random")


def test_every_text_of_the_corpus_has_a_label_or_none_has(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n')
    assert READERS["text"](tmp_path, "random") == {"train": [LabelledText("a", None), LabelledText("b", None)]}
    path.write_text('{"text": "a", "label": "x  y"}\n{"text": "b", "label": 2}\n')
    assert READERS["text"](tmp_path, "random") == {"train": [LabelledText("a", "x y"), LabelledText("b", "2")]}
    path.write_text('{"text": "a"}\n{"text": "b", "label": 2}\n')
    with pytest.raises(InputError, match=r"line 1 has no column label"):
        READERS["text"](tmp_path, "random")
