"""A study as a user runs it, through DVC's queue: killed half way, with a point that fails, and the same without DVC."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_experiments import ENVIRONMENT, ROOT, call, commit

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
- variants: [normal, linear]
  conditions: [short]
  seeds: [1]
- variants: [diverging]
  conditions: [short]
  seeds: [1]
workers: 2
"""
POINTS = ("size-normal-short-1", "size-linear-short-1")
COMMAND = (sys.executable, "-u", "src/run_study.py", "size.yaml")

pytestmark = pytest.mark.slow


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
    commit(folder, "code")
    return folder


def kill_all_in(folder: Path) -> int:
    """SIGKILL, as at a power cut, for every process that works in `folder`; how many there were."""
    killed = 0
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").resolve().is_relative_to(folder) and int(process.name) != os.getpid():
                os.kill(int(process.name), signal.SIGKILL)
                killed += 1
        except (FileNotFoundError, PermissionError, ProcessLookupError):
            continue
    return killed


def test_a_study_that_is_killed_goes_on_and_gives_what_it_gives_without_dvc(project: Path) -> None:
    with (project / ".git" / "told.txt").open("w+") as told:
        started = subprocess.Popen(COMMAND, cwd=project, env=ENVIRONMENT, stdout=told, stderr=told, start_new_session=True)
        deadline = time.monotonic() + 300
        while "done, 1 of 3" not in Path(told.name).read_text():
            assert started.poll() is None, Path(told.name).read_text()
            assert time.monotonic() < deadline
            time.sleep(0.5)
        deadline = time.monotonic() + 60
        while call(project, "dvc", "queue", "status").count("Running") == 0:
            assert time.monotonic() < deadline
        assert kill_all_in(project.resolve()) >= 3
        started.wait()

    again = subprocess.run(COMMAND, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert again.returncode == 1, again.stdout + again.stderr
    lines = again.stdout.splitlines()
    assert lines[0] == "size: 3 points, 1 done, 2 to run"
    assert "size-diverging-short-1: failed, dvc queue logs size-diverging-short-1 tells why" in lines
    assert lines[-1] == "size: 2 of 3 points done, 1 failed, 0 left; the same command goes on"
    assert "lower the learning rate" in call(project, "dvc", "queue", "logs", "size-diverging-short-1")
    assert call(project, "git", "status", "--porcelain") == ""
    assert call(project, "git", "symbolic-ref", "HEAD").strip() == "refs/heads/main"

    plain = (*COMMAND, "--without-dvc", ".git/plain")
    finished = subprocess.run(plain, cwd=project, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert finished.returncode == 1, finished.stdout + finished.stderr
    assert finished.stdout.splitlines()[-1] == lines[-1]
    assert re.search(
        r"^size-diverging-short-1: train_diffusion failed with status 1, see .*lower the learning", finished.stdout, re.M
    )
    for point in POINTS:
        commit_hash = call(project, "git", "for-each-ref", "--format=%(objectname)", f"refs/exps/*/*/{point}").strip()
        for name in ("evaluation", "samples", "references"):
            in_git = call(project, "git", "show", f"{commit_hash}:metrics/{name}.json")
            assert (project / ".git/plain" / point / "metrics" / f"{name}.json").read_text() == in_git
