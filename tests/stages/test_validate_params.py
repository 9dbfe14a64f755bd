"""The first stage: it says what differs from the last commit, and refuses what would fail later."""

from pathlib import Path

import pytest

import validate_params
from annealed_lm.common import machine
from annealed_lm.common.errors import InputError
from support.projects import ROOT
from support.repositories import commit_all, start_repository


def validate(monkeypatch: pytest.MonkeyPatch, changes: dict[str, str]) -> None:
    """Run the stage in the current folder with lines of the default parameters changed."""
    text = (ROOT / "params.yaml").read_text()
    for line, changed in changes.items():
        assert line in text
        text = text.replace(line, changed)
    Path("params.yaml").write_text(text)
    monkeypatch.setattr("sys.argv", ["validate_params.py", "--params", "params.yaml", "--out", "ok"])
    validate_params.main()


def test_what_an_override_left_is_told_before_anything_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    validate(monkeypatch, {})
    start_repository()
    commit_all("baseline")
    validate(monkeypatch, {})
    assert capsys.readouterr().out == ""
    validate(monkeypatch, {"T_schedule: normal": "T_schedule: linear", "optimizer: muon": "optimizer: lion"})
    assert capsys.readouterr().out == "differs from HEAD: T_schedule linear, optimizer lion\n"
    with pytest.raises(InputError, match="T_schedule = linaer is not one of"):
        validate(monkeypatch, {"T_schedule: normal": "T_schedule: linaer"})
    assert capsys.readouterr().out == "differs from HEAD: T_schedule linaer\n"


def test_a_tracker_that_is_not_installed_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="trackers names wandb, which is not installed"):
        validate(monkeypatch, {"trackers: []": "trackers:\n- wandb"})
    assert not Path("ok").exists()
