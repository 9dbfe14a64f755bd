"""make text: from a file to a params.yaml with which the first stages run."""

import random
import sys
from pathlib import Path

import pytest

import prepare_data
from annealed_lab.commands import text as command
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json
from annealed_lm.config.config import load_config
from annealed_lm.fetching.corpora import fetch_corpus
from support.tiny import ROOT

WORDS = [f"word{i}" for i in range(40)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with params.yaml, the preset, and a file of 600 rows, of which 560 are kept."""
    (tmp_path / "presets").mkdir()
    for name in ("params.yaml", "presets/text.yaml"):
        (tmp_path / name).write_text((ROOT / name).read_text())
    draw = random.Random(0)
    texts = [" ".join(draw.choices(WORDS, k=6)) for _ in range(560)] + [""] * 20
    rows = [f"{i % 3 + 1},{text}\n" for i, text in enumerate([*texts, *texts[:20]])]
    (tmp_path / "reviews.csv").write_text("stars,review\n" + "".join(rows))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the stages do with the file before any training."""
    fetch_corpus("text", [Path("data/raw")], Path("data/corpus"))
    arguments = ["--params=params.yaml", "--corpus=data/corpus", "--out=data/prepared"]
    monkeypatch.setattr(sys, "argv", ["prepare_data.py", *arguments])
    prepare_data.main()


def test_the_stages_before_any_training_take_what_it_brings(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "params.yaml").read_text()
    command.main("lab.py text", ["reviews.csv", "--text", "review", "--label", "stars"])
    printed = capsys.readouterr().out
    assert "600 rows (20 blank, 0 longer than 8 words, 20 repeated), of which 560 texts are kept" in printed
    config = load_config(Path("params.yaml"))
    assert config.dataset_name == "text"
    assert config.train_diffusion.class_conditional
    for line in printed.splitlines():
        if line.startswith("  "):
            section, key = line.split()[0].split(".")
            assert line.split()[1] == str(getattr(getattr(config, section), key)).lower()
    comments = [line.split("#", 1)[1] for line in before.splitlines() if "#" in line]
    assert [line.split("#", 1)[1] for line in Path("params.yaml").read_text().splitlines() if "#" in line] == comments
    prepare(monkeypatch)
    statistics = read_json(Path("data/prepared/statistics.json"))
    assert {name: split["texts"] for name, split in statistics["splits"].items()} == {"train": 448, "valid": 56, "test": 56}
    assert set(statistics["labels"]["train"]) == {"1", "2", "3"}


def test_a_file_that_does_not_do_changes_nothing(folder: Path) -> None:
    before = (folder / "params.yaml").read_text()
    (folder / "few.txt").write_text("one text\n" * 600)
    with pytest.raises(InputError, match="1 different texts are left after cleaning"):
        command.main("lab.py text", ["few.txt"])
    assert (folder / "params.yaml").read_text() == before
    assert not (folder / "data").exists()
