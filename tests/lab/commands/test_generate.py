"""generate: texts of any model in a file."""

import csv
from pathlib import Path

import pytest

from annealed_lab.commands import generate as command
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_jsonl
from annealed_lm.publishing.text_generator import TextGenerator
from support.checkouts import LABELS, write_checkout


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, trained_autoencoders: dict[str, Autoencoder]) -> Path:
    return write_checkout(tmp_path_factory.mktemp("checkout"), trained_autoencoders["compressed"], labelled=True) / "models"


def generate(model: Path, out: Path, *arguments: str) -> None:
    command.main("lab.py generate", ["--model", str(model), "--out", str(out), "--steps", "4", *arguments])


def test_a_plain_file_has_one_text_a_line(model: Path, tmp_path: Path) -> None:
    generate(model, tmp_path / "a.txt", "--count", "5", "--seed", "3")
    texts = TextGenerator.from_pretrained(model).sample(5, seed=3, steps=4)
    assert (tmp_path / "a.txt").read_text(encoding="utf-8").splitlines() == [text for text in texts if text]


def test_with_labels_there_are_so_many_texts_of_each_and_the_file_says_which(model: Path, tmp_path: Path) -> None:
    generate(model, tmp_path / "a.csv", "--count", "2", "--label", "all")
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [label for label in LABELS for _ in range(2)]
    generate(model, tmp_path / "a.jsonl", "--count", "2", "--label", LABELS[1])
    assert read_jsonl(tmp_path / "a.jsonl") == rows[2:4]
    generate(model, tmp_path / "b.csv", "--count", "2")
    assert (tmp_path / "b.csv").read_text().splitlines()[0] == "text"


def test_no_cell_of_a_table_is_a_formula_and_other_files_have_the_text_as_it_is(tmp_path: Path) -> None:
    texts = ["=1+1", "+1", "-1", "@a", "\t=1", "a = 1", "the bar"]
    for suffix, writer in command.WRITERS.items():
        writer(tmp_path / f"a{suffix}", [(text, "=label") for text in texts])
    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["text"] for row in rows] == [*(f"'{text}" for text in texts[:5]), *texts[5:]]
    assert {row["label"] for row in rows} == {"'=label"}
    assert [row["text"] for row in read_jsonl(tmp_path / "a.jsonl")] == texts
    assert (tmp_path / "a.txt").read_text(encoding="utf-8") == "".join(text + "\n" for text in texts)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("--count", "0"), "n = 0: it should be a whole number of at least 1"),
        (("--count", "1", "--label", "free"), "does not know the label free: its labels are "),
        (("--count", "1", "--length", "90"), "no training text has 90 words"),
    ],
)
def test_what_cannot_be_generated_is_told(arguments: tuple[str, ...], sentence: str, model: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence):
        generate(model, tmp_path / "a.txt", *arguments)
    with pytest.raises(InputError, match=r"a\.doc: its name should end with \.txt, \.csv, \.jsonl"):
        generate(model, tmp_path / "a.doc", *arguments)
    assert list(tmp_path.iterdir()) == []
