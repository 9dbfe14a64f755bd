"""What differs from the last commit, in a line."""

from pathlib import Path

import pytest

from annealed_lm.config.last_commit import LONGEST, committed, differing_line
from support.repositories import commit_all, start_repository


def test_new_values_stand_behind_their_dotted_keys() -> None:
    before = {"T_schedule": "normal", "optimizer": "muon", "section": {"a": 1, "flag": False}, "trackers": []}
    assert differing_line(before, before) is None
    after = {"T_schedule": "linear", "optimizer": "muon", "section": {"a": None, "flag": True}, "trackers": ["wandb"]}
    told = "differs from HEAD: T_schedule linear, section.a null, section.flag true, trackers [wandb]"
    assert differing_line(after, before) == told
    assert differing_line({"T_schedule": "normal"}, {"T_schedule": "normal", "gone": 1}) == "differs from HEAD: gone absent"


def test_a_long_line_is_cut_and_says_how_much_is_left() -> None:
    line = differing_line({f"parameter_{i}": i for i in range(50)}, {})
    assert line is not None
    assert len(line) < LONGEST + len("differs from HEAD: , and 50 more")
    assert line.endswith(f", and {50 - line.count('parameter_')} more")


def test_the_last_commit_is_read_and_its_absence_is_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = Path("params.yaml")
    path.write_text("a: 1e-5\n")
    assert committed(path) is None
    start_repository()
    assert committed(path) is None
    commit_all("first")
    path.write_text("a: 2\n")
    assert committed(path) == {"a": 1e-5}
    path.write_text("a: [\n")
    commit_all("no YAML")
    assert committed(path) is None
    monkeypatch.setenv("PATH", "")
    assert committed(path) is None
    assert capfd.readouterr() == ("", "")
