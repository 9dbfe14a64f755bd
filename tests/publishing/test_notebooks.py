"""The notebooks, run cell by cell."""

import json
from pathlib import Path

import pytest

from annealed_lm.autoencoder.model import Autoencoder
from support.checkouts import write_checkout
from support.tiny import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))


def test_there_are_notebooks() -> None:
    assert [path.name for path in NOTEBOOKS] == ["text_generator.ipynb"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_every_cell_runs_and_prints_where_it_printed(
    path: Path,
    tmp_path: Path,
    trained_autoencoders: dict[str, Autoencoder],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On a tiny model beside it, as the finished run is."""
    folder = write_checkout(tmp_path, trained_autoencoders["compressed"]) / "notebooks"
    folder.mkdir()
    monkeypatch.chdir(folder)
    names: dict[str, object] = {}
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        if cell["cell_type"] == "code":
            exec("".join(cell["source"]), names)
            printed = "".join(text for output in cell["outputs"] for text in output["text"])
            assert len(capsys.readouterr().out.splitlines()) == len(printed.splitlines())
