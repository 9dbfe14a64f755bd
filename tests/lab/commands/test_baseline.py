"""Committing the results of a run, and nothing else."""

import subprocess
from pathlib import Path

import pytest

from annealed_lab.commands import baseline
from annealed_lm.common.errors import InputError
from support.repositories import commit_all, git, start_repository

UP_TO_DATE = "Data and pipelines are up to date."


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with results and code, and a dvc that says what the file `status` says."""
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    for name in ("USER.NAME", "USER.EMAIL"):
        monkeypatch.setenv(f"GIT_{name}", "a")
    start_repository()
    git("config", "user.name", "Ann")
    git("config", "user.email", "ann@example.org")
    for folder in ("metrics", "plots", "src"):
        Path(folder).mkdir()
    for name in ("dvc.lock", "params.yaml", "dvc.yaml", "metrics/a.json", "plots/a.tsv", "src/a.py", "notes.txt"):
        Path(name).write_text("1\n")
    commit_all("code")
    programs = tmp_path / "programs"
    programs.mkdir()
    (tmp_path / "status").write_text(UP_TO_DATE)
    (programs / "dvc").write_text(f"#!/bin/sh\ncat {tmp_path}/status\n")
    (programs / "dvc").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return root


def commit_baseline() -> None:
    baseline.main("lab.py baseline", [])


def test_results_are_committed_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("metrics/a.json", "params.yaml", "notes.txt"):
        Path(name).write_text("2\n")
    Path("plots/new.png").touch()
    git("add", "notes.txt")
    commit_baseline()
    assert git("show", "--name-only", "--format=%s").split() == ["Baseline", "metrics/a.json", "params.yaml", "plots/new.png"]
    assert git("status", "--porcelain") == "M  notes.txt"
    told = capsys.readouterr().out
    assert told.startswith(f"committed as {git('rev-parse', '--short', 'HEAD')}: ")
    commit_baseline()
    assert "committed already" in capsys.readouterr().out
    assert git("rev-list", "--count", "HEAD") == "2"


def test_results_of_other_parameters_are_refused(tmp_path: Path) -> None:
    Path("metrics/a.json").write_text("2\n")
    (tmp_path / "status").write_text("train_diffusion:\n\tchanged deps\n")
    with pytest.raises(InputError, match=r"not those of params.yaml and the code \(train_diffusion\): dvc exp run first"):
        commit_baseline()


def test_code_that_is_not_committed_is_refused() -> None:
    Path("src/a.py").write_text("2\n")
    with pytest.raises(InputError, match=r"code is not committed \(src/a.py\)"):
        commit_baseline()


def test_a_refusal_of_git_is_told_in_its_words(project: Path) -> None:
    Path("metrics/a.json").write_text("2\n")
    hook = project / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho no results on Fridays >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(InputError, match="git commit refuses: no results on Fridays"):
        commit_baseline()


def test_a_branch_is_needed() -> None:
    subprocess.run(["git", "checkout", "-q", "--detach"], check=True)
    with pytest.raises(InputError, match="HEAD is detached"):
        commit_baseline()
