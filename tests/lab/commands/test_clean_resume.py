"""clean-resume: what it lists, what it removes, and what it never touches."""

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from annealed_lab.commands import clean_resume
from annealed_lm.common.errors import InputError
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.descriptions import DESCRIPTION, Code, Ingredients, TrainingDescription, code_digests

STAGE = clean_resume.SOURCE / "train_language_model.py"
"""A script of this checkout, whatever it is here said to train."""
OTHER_CODE = {"train_language_model.py": "0" * 64}


def make_training(resume: Path, name: str, days_old: float = 0.0, code: Code | None = None, steps: int = 6) -> CheckpointStore:
    """An interrupted training of 12 steps, by default of this checkout's code; empty `code`: of which none is on record."""
    ingredients = Ingredients({}, {}, code_digests(STAGE) if code is None else code)
    described = TrainingDescription(STAGE.stem, "a walk", 12, ingredients)
    store = CheckpointStore(resume / name, None if code == {} else described)
    with store.held():
        store.save(steps, {"model": nn.Linear(1, 1)}, {})
    for path in store.folder.iterdir():
        os.utime(path, (time.time() - days_old * clean_resume.DAY,) * 2)
    return store


Clean = Callable[..., dict[str, list[str]]]


@pytest.fixture
def clean(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Clean:
    """Run the command with these options; the columns after `folder` of what it prints, by folder."""

    def run(*options: str) -> dict[str, list[str]]:
        capsys.readouterr()  # what the trainings said
        clean_resume.main("lab.py clean-resume", ["--resume", str(tmp_path / "resume"), *options])
        lines = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in capsys.readouterr().out.splitlines()]
        assert lines[0] == ["folder", "stage", "trains", "steps", "days old", "MB", "state"]
        return {line[0]: line[1:] for line in lines[2:]}

    return run


def test_old_trainings_and_those_of_other_code_are_removed_and_the_rest_kept(clean: Clean, tmp_path: Path) -> None:
    resume = tmp_path / "resume"
    make_training(resume, "fresh", 13)
    make_training(resume, "old", 15)
    make_training(resume, "other code", 1, code=OTHER_CODE)
    make_training(resume, "undescribed", 13, code={})
    rows = clean()
    assert rows["fresh"] == [STAGE.stem, "a walk", "6 of 12", "13.0", "0.0", "kept"]
    assert rows["old"] == [STAGE.stem, "a walk", "6 of 12", "15.0", "0.0", "removed: older than 14 days"]
    assert rows["other code"] == [STAGE.stem, "a walk", "6 of 12", "1.0", "0.0", "removed: of other code"]
    assert rows["undescribed"] == ["?", "?", "6 of ?", "13.0", "0.0", "kept, of unknown code"]
    assert sorted(path.name for path in resume.iterdir()) == ["fresh", "undescribed"]
    assert CheckpointStore(resume / "fresh").steps_done() == 6


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the code, which may be edited, in place of this checkout's."""
    copy = Path(shutil.copytree(clean_resume.SOURCE, tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__")))
    monkeypatch.setattr(clean_resume, "SOURCE", copy)
    return copy


@pytest.mark.parametrize(
    ("edited", "state"),
    [
        ("annealed_lab/comparison/page.py", "kept"),
        ("annealed_lm/evaluation/scores.py", "kept"),
        ("annealed_lm/config/sections.py", "kept"),
        ("train_diffusion.py", "kept"),
        ("annealed_lm/trainers/language_model.py", "removed: of other code"),
        ("train_language_model.py", "removed: of other code"),
    ],
)
def test_other_code_is_what_the_stage_imports(edited: str, state: str, checkout: Path, clean: Clean, tmp_path: Path) -> None:
    store = make_training(tmp_path / "resume", "walk")
    with (checkout / edited).open("a") as file:
        file.write("# a comment\n")
    assert clean()["walk"][-1] == state
    assert store.path.exists() == (state == "kept")


def test_a_training_of_a_stage_that_is_gone_is_of_other_code(checkout: Path, clean: Clean, tmp_path: Path) -> None:
    make_training(tmp_path / "resume", "walk")
    (checkout / STAGE.name).unlink()
    assert clean()["walk"][-1] == "removed: of other code"


def test_a_training_that_old_code_left_is_kept_until_it_is_old(clean: Clean, tmp_path: Path) -> None:
    old = make_training(tmp_path / "resume", "walk", 13)
    (old.folder / DESCRIPTION).write_text('{"stage": "train_language_model", "trains": "a walk", "steps": 12, "code": "0123"}')
    assert clean()["walk"][-1] == "kept, of unknown code"
    assert clean("--days", "0")["walk"][-1] == "removed: older than 0 days"


def test_looking_does_not_make_a_training_younger(clean: Clean, tmp_path: Path) -> None:
    make_training(tmp_path / "resume", "fresh", 13)
    assert [clean()["fresh"][3] for _ in range(2)] == ["13.0", "13.0"]


@pytest.mark.parametrize("dry_run", [False, True])
def test_zero_days_removes_all_but_what_is_in_use_and_a_dry_run_nothing(dry_run: bool, clean: Clean, tmp_path: Path) -> None:
    resume = tmp_path / "resume"
    make_training(resume, "fresh")
    held = make_training(resume, "held", 99, code=OTHER_CODE)
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
def test_nothing_to_clean_is_said(make: bool, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if make:
        (tmp_path / "resume").mkdir()
    clean_resume.main("lab.py clean-resume", ["--resume", str(tmp_path / "resume")])
    assert capsys.readouterr().out == f"{tmp_path / 'resume'} holds no interrupted training\n"


@pytest.mark.parametrize("days", ["-1", "nan"])
def test_a_negative_age_is_refused(days: str) -> None:
    with pytest.raises(InputError, match=f"--days = {days} should be 0 or more"):
        clean_resume.main("lab.py clean-resume", ["--days", days])
