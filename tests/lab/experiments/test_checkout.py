import os
import subprocess
import sys
from pathlib import Path

import pytest

from annealed_lab.experiments import checkout

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit and an identity, as the current folder, whatever git is told elsewhere."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, str(tmp_path / "no-such-file"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    for name in ("params.yaml", "requirements.txt"):
        (root / name).write_text((ROOT / name).read_text())
    git("init", "-q", "-b", "main")
    git("config", "user.name", "Ann")
    git("config", "user.email", "ann@example.org")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    return root


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def test_a_sound_checkout_passes_every_check(project: Path) -> None:
    checks = [check for name, check in vars(checkout).items() if name.startswith("check_")]
    assert len(checks) == 9
    assert [check() for check in checks] == [None] * 9


def test_bad_params_are_told(project: Path) -> None:
    (project / "params.yaml").write_text(
        (project / "params.yaml").read_text().replace("T_schedule: normal", "T_schedule: linaer")
    )
    assert "T_schedule = linaer" in str(checkout.check_params())


def test_a_copy_without_git_is_told(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no git repository" in str(checkout.check_repository())


def test_a_missing_identity_is_told(project: Path) -> None:
    git("config", "--unset", "user.email")
    assert "user.email" in str(checkout.check_identity())


def test_a_placeholder_is_told_once_git_has_a_name(project: Path, tmp_path: Path) -> None:
    git("config", "user.email", checkout.PLACEHOLDER)
    assert checkout.check_identity() is None
    git("config", "--global", "user.email", "ann@example.org")
    assert "placeholder" in str(checkout.check_identity())


def test_a_detached_head_is_told(project: Path) -> None:
    git("checkout", "-q", "--detach")
    assert "HEAD is detached" in str(checkout.check_branch())


def test_code_that_git_does_not_know_is_told(project: Path) -> None:
    (project / "helper.py").touch()
    assert "helper.py" in str(checkout.check_untracked_code())
    git("add", "helper.py")
    assert checkout.check_untracked_code() is None


def test_another_python_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "stages would run with no python" in str(checkout.check_python())


def test_a_package_of_another_version_is_told(project: Path) -> None:
    (project / "requirements.txt").write_text("# comment\npytest==0.0.1  # why\nno-such-package==1.0\n")
    assert "pytest is " in str(checkout.check_packages())
    assert "not 0.0.1; no-such-package is missing, not 1.0" in str(checkout.check_packages())


def test_elsewhere_than_in_the_root_of_a_project_is_told(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "requirements.txt is not there: this runs from the project's root" in str(checkout.check_packages())


def test_a_full_disk_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "NEEDED_DISK_GB", 10**9)
    assert "GB are free" in str(checkout.check_disk())


def test_what_killed_experiments_left_is_told(project: Path) -> None:
    (project / ".dvc/tmp/exps/standalone/tmpabc").mkdir(parents=True)
    assert "rm -rf .dvc/tmp/exps/standalone/tmpabc" in str(checkout.check_leftovers())
