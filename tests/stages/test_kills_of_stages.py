"""Every stage, killed at some moment and run again, leaves the bytes of a run that nothing disturbed."""

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from annealed_lm.common.files import digests
from support.projects import STAGES, commands, copy_project, environment, outs

pytestmark = pytest.mark.slow

TIMES = ("timing.tsv",)
"""Of seconds, which no two runs share."""
LEAST = 0.6
"""Of the time that a whole run takes, which begins with imports, the share after which it may be killed."""


def run(project: Path, stage: str, kill_after: float | None = None) -> int:
    """Exit status of a stage, run anew as DVC runs it, and killed after so many seconds."""
    (command,) = commands(stage)
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=project, env=environment(forking=False), start_new_session=True, **pipes) as process:
        try:
            return process.wait(kill_after)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return process.wait()


def outputs(project: Path, stage: str) -> dict[str, str]:
    found = {}
    for out in outs(stage):
        path = project / out
        inside = digests(path) if path.is_dir() else {path.name: digests(path.parent)[path.name]}
        found |= {f"{out}/{name}": digest for name, digest in inside.items() if name not in TIMES}
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_killed_and_run_again_equals_undisturbed(stage: str, finished_project: Path, tmp_path: Path) -> None:
    project = copy_project(finished_project, tmp_path / "project")
    expected = outputs(project, stage)
    started = time.monotonic()
    assert run(project, stage) == 0
    seconds = time.monotonic() - started
    assert outputs(project, stage) == expected
    assert run(project, stage, seconds * random.Random(stage).uniform(LEAST, 1)) in (0, -signal.SIGKILL)
    assert run(project, stage) == 0
    assert outputs(project, stage) == expected
    assert [*(project / ".resume").glob("*/checkpoint.pt")] == []
