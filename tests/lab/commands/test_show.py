"""The list of experiments: a line each, below the commit that they were made on, within 120 columns."""

import json
from pathlib import Path

import pytest

from annealed_lab.commands import show
from support.repositories import commit_all, git, keep_as_experiment, start_repository


def put(T_schedule: str, perplexity: float, power: int = 2) -> None:
    """Write what a run leaves in the current folder."""
    Path("metrics").mkdir(exist_ok=True)
    Path("params.yaml").write_text(
        f"T_schedule: {T_schedule}\ntraining:\n  power: {power}\nsample_texts:\n  strategies:\n  - greedy\n"
    )
    Path("metrics/samples.json").write_text(json.dumps({"greedy": {"perplexity": perplexity, "mauve_train": 0.5}}))
    Path("metrics/training.json").write_text(json.dumps({"validation_loss": 0.25}))


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    start_repository()
    put("normal", 9.0)
    commit_all("published", 1)


def listed(capsys: pytest.CaptureFixture[str]) -> list[str]:
    show.main("lab.py show", [])
    return capsys.readouterr().out.splitlines()


def experiment(name: str, T_schedule: str, minute: int, power: int = 2) -> None:
    branch = git("rev-parse", "HEAD")
    put(T_schedule, 8.0 + minute, power)
    commit_all(name, minute)
    keep_as_experiment(name, branch)


def test_without_experiments_it_says_how_to_make_one(capsys: pytest.CaptureFixture[str]) -> None:
    header, head, hint = listed(capsys)
    assert header.split() == ["grammatical", "perplexity", "mauve_train", "validation_loss", "what", "varied"]
    assert head.split() == ["HEAD", "(main)", "-", "9", "0.5", "0.25"]
    assert "dvc exp run -n linear" in hint


def test_experiments_of_earlier_baselines_stay_below_their_own(capsys: pytest.CaptureFixture[str]) -> None:
    experiment("linear", "linear", 2)
    put("normal", 7.0)
    commit_all("baseline", 3)
    assert [line.split()[0] for line in listed(capsys)[1:]] == ["HEAD", git("rev-parse", "--short", "HEAD~1"), "linear"]
    experiment("cosine", "cosine", 4)
    lines = listed(capsys)
    assert [line.split()[0] for line in lines[1:]] == ["HEAD", "cosine", git("rev-parse", "--short", "HEAD~1"), "linear"]
    assert lines[2].split() == ["cosine", "-", "12", "0.5", "0.25", "T_schedule", "cosine"]
    assert lines[2].startswith("  cosine")


def test_a_long_line_is_cut_at_120_columns(capsys: pytest.CaptureFixture[str]) -> None:
    experiment("n" * 60, "a-schedule-whose-name-is-long" * 3, 2, power=3)
    line = listed(capsys)[2]
    assert len(line) == 120
    assert line.endswith("…")
    assert "…  " in line


def test_results_of_another_machine_are_told_first(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show, "check_machine", lambda: "of another machine")
    assert listed(capsys)[0] == "note: of another machine"


def test_a_commit_of_something_else_has_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    git("rm", "-q", "-r", "metrics", "params.yaml")
    Path("notes.txt").touch()
    commit_all("notes", 5)
    assert listed(capsys)[1].split() == ["HEAD", "(main)", "-", "-", "-", "-"]
