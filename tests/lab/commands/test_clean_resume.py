"""clean_resume: what it lists, what it removes, and what it never touches."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import clean_resume
import pytest
from torch import nn

from annealed_lm.common.errors import InputError
from annealed_lm.training.checkpoints import CheckpointStore, TrainingDescription

STAGE = Path(clean_resume.__file__).with_name("train_walk.py")
"""A script among the code of this checkout."""


def make_training(resume: Path, name: str, days_old: float = 0.0, code: str | None = None, steps: int = 6) -> CheckpointStore:
    """An interrupted training of 12 steps, by default of this checkout's code; `code` = "" has none on record."""
    description = TrainingDescription.of(STAGE, "a walk", 12)
    if code is not None:
        description = TrainingDescription("train_walk", "a walk", 12, code)
    store = CheckpointStore(resume / name, None if code == "" else description)
    with store.held():
        store.save(steps, {"model": nn.Linear(1, 1)}, {})
    for path in store.folder.iterdir():
        os.utime(path, (time.time() - days_old * clean_resume.DAY,) * 2)
    return store


Clean = Callable[..., dict[str, list[str]]]


@pytest.fixture
def clean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Clean:
    """Run the script with these options; the columns after `folder` of what it prints, by folder."""

    def run(*options: str) -> dict[str, list[str]]:
        monkeypatch.setattr(sys, "argv", ["clean_resume.py", "--resume", str(tmp_path / "resume"), *options])
        clean_resume.main()
        lines = [line.strip("| \n").split(" | ") for line in capsys.readouterr().out.splitlines()]
        assert lines[0] == ["folder", "stage", "trains", "steps", "days old", "MB", "state"]
        return {line[0]: line[1:] for line in lines[2:]}

    return run


def test_old_trainings_and_those_of_other_code_are_removed_and_the_rest_kept(clean: Clean, tmp_path: Path) -> None:
    resume = tmp_path / "resume"
    make_training(resume, "fresh", 13)
    make_training(resume, "old", 15)
    make_training(resume, "other code", 1, code="0" * 32)
    make_training(resume, "undescribed", 13, code="")
    rows = clean()
    assert rows["fresh"] == ["train_walk", "a walk", "6 of 12", "13.0", "0.0", "kept"]
    assert rows["old"] == ["train_walk", "a walk", "6 of 12", "15.0", "0.0", "removed: older than 14 days"]
    assert rows["other code"] == ["train_walk", "a walk", "6 of 12", "1.0", "0.0", "removed: of other code"]
    assert rows["undescribed"] == ["?", "?", "6 of ?", "13.0", "0.0", "kept"]
    assert sorted(path.name for path in resume.iterdir()) == ["fresh", "undescribed"]
    assert CheckpointStore(resume / "fresh").steps_done() == 6


def test_looking_does_not_make_a_training_younger(clean: Clean, tmp_path: Path) -> None:
    make_training(tmp_path / "resume", "fresh", 13)
    assert [clean()["fresh"][3] for _ in range(2)] == ["13.0", "13.0"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_zero_days_removes_all_but_what_is_in_use_and_a_dry_run_nothing(dry_run: bool, clean: Clean, tmp_path: Path) -> None:
    resume = tmp_path / "resume"
    make_training(resume, "fresh")
    held = make_training(resume, "held", 99, code="0" * 32)
    (resume / "report-of-the-test-split").mkdir()
    with CheckpointStore(held.folder).held():
        rows = clean("--days", "0", *(["--dry-run"] if dry_run else []))
    assert rows["held"][-1] == "in use"
    assert rows["fresh"][-1] == ("would be removed" if dry_run else "removed") + ": older than 0 days"
    left = {path.name for path in resume.iterdir()}
    assert left == {"held", "report-of-the-test-split"} | ({"fresh"} if dry_run else set())
    assert held.steps_done() == 6


def test_steps_are_counted_of_a_stage_without_a_checkpoint_and_of_none_that_can_be_read(clean: Clean, tmp_path: Path) -> None:
    evaluation = make_training(tmp_path / "resume", "evaluation")
    evaluation.path.unlink()
    for step in (3, 6, 9):
        (evaluation.folder / f"{step:06d}.json").write_text("{}")
    damaged = make_training(tmp_path / "resume", "damaged")
    damaged.path.write_bytes(b"half of it")
    rows = clean()
    assert rows["evaluation"][2] == "3 of 12"
    assert rows["damaged"][2] == "unreadable of 12"


def test_a_file_that_goes_away_meanwhile_is_not_counted(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes(b"1234")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    assert [each.st_size for each in clean_resume.file_stats(tmp_path)] == [4]


@pytest.mark.parametrize("make", [False, True])
def test_nothing_to_clean_is_said(
    make: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if make:
        (tmp_path / "resume").mkdir()
    monkeypatch.setattr(sys, "argv", ["clean_resume.py", "--resume", str(tmp_path / "resume")])
    clean_resume.main()
    assert capsys.readouterr().out == f"{tmp_path / 'resume'} holds no interrupted training\n"


@pytest.mark.parametrize("days", ["-1", "nan"])
def test_a_negative_age_is_refused(days: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["clean_resume.py", "--days", days])
    with pytest.raises(InputError, match=f"--days = {days} should be 0 or more"):
        clean_resume.main()
