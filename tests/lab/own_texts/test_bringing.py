"""A user's file on its way to data/raw."""

import json
from pathlib import Path

import pytest

from annealed_lab.own_texts.bringing import put, read_own_texts
from annealed_lm.common.errors import InputError
from annealed_lm.corpora.readers import READERS, unlabelled


def test_a_plain_file_is_copied_as_it_is(tmp_path: Path) -> None:
    data = "\ufeffOne.\r\n\nTwo \x85 three.\n".encode()
    (tmp_path / "a.txt").write_bytes(data)
    texts = read_own_texts(tmp_path / "a.txt", None, None)
    target = put(tmp_path / "a.txt", texts, tmp_path / "raw", replace=False)
    assert (target.name, target.read_bytes()) == ("texts.txt", data)
    assert READERS["text"](tmp_path / "raw", "random")["train"] == texts


@pytest.mark.parametrize("label", ["stars", None])
def test_columns_arrive_as_texts_and_labels(label: str | None, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('review,stars\n"Good,\ncheap",5\nCafé \u2028,1\n', encoding="utf-8")
    texts = read_own_texts(tmp_path / "a.csv", "review", label)
    assert [row.text for row in texts] == ["Good,\ncheap", "Café \u2028"]
    target = put(tmp_path / "a.csv", texts, tmp_path / "raw", replace=False)
    assert target.name == "texts.jsonl"
    assert READERS["text"](tmp_path / "raw", "random")["train"] == texts


def test_half_a_surrogate_pair_arrives_too(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a \ud83d b"}) + "\n")
    texts = read_own_texts(tmp_path / "a.jsonl", None, None)
    put(tmp_path / "a.jsonl", texts, tmp_path / "raw", replace=False)
    assert READERS["text"](tmp_path / "raw", "random")["train"] == texts


@pytest.mark.parametrize("first", ["a.txt", "a.jsonl"])
@pytest.mark.parametrize("second", ["b.txt", "b.jsonl"])
def test_other_texts_are_replaced_only_where_it_is_allowed(first: str, second: str, tmp_path: Path) -> None:
    for name in (first, second):
        (tmp_path / name).write_text(json.dumps({"text": name}) + "\n")
    one, other = (read_own_texts(tmp_path / name, None, None) for name in (first, second))
    folder = tmp_path / "raw"
    before = put(tmp_path / first, one, folder, replace=False)
    assert put(tmp_path / first, one, folder, replace=False) == before  # the same texts again
    with pytest.raises(InputError, match=r"raw/texts\.\w+ holds other texts: REPLACE=1"):
        put(tmp_path / second, other, folder, replace=False)
    assert READERS["text"](folder, "random")["train"] == one
    before.with_name(f"{before.name}.dvc").touch()
    target = put(tmp_path / second, other, folder, replace=True)
    assert {file.name for file in folder.iterdir()} == {target.name} | ({f"{target.name}.dvc"} if target == before else set())
    assert READERS["text"](folder, "random")["train"] == other


@pytest.mark.parametrize(
    ("name", "text", "label", "sentence"),
    [
        ("none.txt", None, None, "there is no file"),
        ("a.doc", None, None, r"a\.doc is neither \.txt, one text a line, nor \.csv with a header"),
        ("a.txt", "review", None, r"a\.txt is \.txt, one text a line, and has no columns"),
        ("a.csv", None, None, r"a\.csv line 2 has no column text: there are review, id"),
        ("a.csv", "review", "id", "column id of .* has 101 different values .*, and a label has at most 100"),
    ],
)
def test_what_cannot_be_read_is_told(name: str, text: str | None, label: str | None, sentence: str, tmp_path: Path) -> None:
    (tmp_path / "a.doc").touch()
    (tmp_path / "a.txt").write_text("a\n")
    (tmp_path / "a.csv").write_text("review,id\n" + "".join(f"a,{i}\n" for i in range(101)))
    with pytest.raises(InputError, match=sentence):
        read_own_texts(tmp_path / name, text, label)


def test_a_file_may_lie_where_it_belongs_already(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_text("a\n")
    assert put(path, unlabelled(["a"]), tmp_path, replace=False) == path
    assert path.read_text() == "a\n"
