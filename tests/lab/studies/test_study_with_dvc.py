"""A study as a user runs it, with DVC: interrupted, then killed half way, with a point that fails."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from support.tiny import ROOT

STUDY = """\
preset: presets/tiny.yaml
settings:
  train_diffusion.validate_every: 1000
  train_diffusion.evaluate_every: 1000
variants:
  normal:
    T_schedule: normal
  linear:
    T_schedule: linear
  diverging:
    optimizer: adamw
    train_diffusion.learning_rate: 1e+30
conditions:
  short:
    train_diffusion.num_train_steps: 10
grids:
- variants: [normal, linear, diverging]
  conditions: [short]
  seeds: [1]
workers: 2
threads: 1
"""
NORMAL, LINEAR, DIVERGING = (f"size-{variant}-short-1" for variant in ("normal", "linear", "diverging"))
COMMAND = (sys.executable, "-u", "src/lab.py", "study", "size.yaml")
ENVIRONMENT = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}

pytestmark = pytest.mark.slow


def call(folder: Path, *command: str) -> str:
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the working tree in which nothing has run."""
    folder = tmp_path_factory.mktemp("clone")
    for name in call(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).exists() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    (folder / "size.yaml").write_text(STUDY)
    call(folder, "git", "init", "--quiet", "--initial-branch", "main")
    call(folder, "git", "config", "user.name", "test")
    call(folder, "git", "config", "user.email", "test@localhost")
    call(folder, "git", "add", "--all")
    call(folder, "git", "commit", "--quiet", "--message", "code")
    return folder


def run_until(project: Path, reached: Callable[[], bool], end: Callable[[subprocess.Popen[str]], object]) -> tuple[int, str]:
    """Run the study until something is reached, then end it in some way; return its exit status and what it printed."""
    with subprocess.Popen(COMMAND, cwd=project, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True) as study:
        deadline = time.monotonic() + 600
        while not reached():
            assert study.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.1)
        end(study)
        told, _ = study.communicate(timeout=120)
    return study.returncode, told


def kill_all_in(folder: Path) -> None:
    """Send SIGKILL, as at a power cut, to every process that works in `folder`."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve().is_relative_to(folder) and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGKILL)
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue


def copies(project: Path) -> list[Path]:
    """Return the copies of the checkout in which experiments run, or were killed."""
    return [*(project / ".dvc/tmp/exps/standalone").glob("tmp*")]


def has_run(project: Path, point: str, stage: str) -> bool:
    log = project / f"runs/size/{point}.log"
    return log.exists() and f"Running stage '{stage}'" in log.read_text()


def experiments(project: Path) -> list[str]:
    return call(project, "git", "for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps/*/*/size-*").split()


def is_untouched(project: Path) -> bool:
    """Return whether the checkout is as it was committed, on its branch."""
    branch = call(project, "git", "symbolic-ref", "HEAD").strip()
    return call(project, "git", "status", "--porcelain") == "" and branch == "refs/heads/main"


def test_a_study_that_is_interrupted_and_killed_goes_on_to_its_end(project: Path) -> None:
    status, told = run_until(
        project, lambda: has_run(project, NORMAL, "train_autoencoder"), lambda study: study.send_signal(signal.SIGINT)
    )
    assert status == 1
    assert told.splitlines() == [
        "size: 3 points: 0 done, 0 running, 0 failed, 3 left",
        f"{NORMAL}: stopped",
        "size: 3 points: 0 done, 0 running, 0 failed, 3 left",
    ]
    assert copies(project) == []
    assert is_untouched(project)

    def is_half_way() -> bool:
        return experiments(project) == [NORMAL] and has_run(project, LINEAR, "train_diffusion")

    run_until(project, is_half_way, lambda _: kill_all_in(project.resolve()))
    assert copies(project) != []

    last = subprocess.run(COMMAND, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert last.returncode == 1, last.stdout + last.stderr
    *lines, compare = last.stdout.splitlines()
    assert compare.endswith("make compare PREFIX=size-")
    assert lines[0].startswith("size: 3 points: 1 done")
    assert lines[-1] == "size: 3 points: 2 done, 0 running, 1 failed, 0 left"
    assert lines[-2].startswith(f"{DIVERGING}: failed, see runs/size/{DIVERGING}.log: error: ")
    assert "lower the learning rate" in lines[-2]
    assert experiments(project) == [LINEAR, NORMAL]
    assert not has_run(project, LINEAR, "train_autoencoder")
    assert copies(project) == []
    assert is_untouched(project)
