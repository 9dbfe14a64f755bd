"""One point of a study as a job on a node of a cluster, where submitit calls it. `PointRun` is what runs, as on one machine.

This module and what it imports is all that a node loads beside the experiment: no torch.
"""

import os
import platform
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from submitit.helpers import DelayedSubmission

from annealed_lab.studies.point_runs import Assignment, Outcome, PointRun
from annealed_lm.common.errors import InputError


class PointJob:
    """What submitit sends to a node: runs one point in the project's folder there."""

    def __init__(self, assignment: Assignment, root: Path) -> None:
        self.assignment = assignment
        self.root = root
        self.point: PointRun | None = None

    def __call__(self) -> str:
        """Raises:
        InputError: the point has failed, or was stopped, as by scancel."""
        os.chdir(self.root)
        environment = {**node_environment(self.root, os.environ), **self.assignment.environment}
        self.point = PointRun(replace(self.assignment, environment=environment))
        signal.signal(signal.SIGTERM, lambda *_: self.stop())
        outcome = self.point.run()
        told = f"{self.assignment.name}: {outcome.value}, see {self.assignment.log}"
        if outcome in (Outcome.FAILED, Outcome.STOPPED):
            raise InputError(told)
        print(told, flush=True)
        return str(outcome.value)

    def stop(self) -> None:
        if self.point is not None:
            self.point.stopping = True

    def checkpoint(self) -> DelayedSubmission:
        """Interrupt the experiment, wait until it has saved, and return what is to go on. submitit asks in a signal handler."""
        self.stop()
        if self.point is not None:
            self.point.wait()
        return DelayedSubmission(PointJob(self.assignment, self.root))


def node_environment(root: Path, present: Mapping[str, str]) -> dict[str, str]:
    """Return what an experiment needs on a node that may lack a home, a writable cache and the virtual environment's programs.

    A folder that is `present` in the environment and on the node stays. Others are in the project, and of one node, since not
    every file system keeps the locks of several.
    """
    home = root / "runs" / "nodes" / platform.node()
    folders = {
        "HOME": home,
        "TMPDIR": home / "tmp",
        "XDG_CACHE_HOME": home / "cache",
        "XDG_CONFIG_HOME": home / "config",
        "HF_HOME": home / "huggingface",
        "MPLCONFIGDIR": home / "matplotlib",
        "DVC_SITE_CACHE_DIR": home / "dvc",
    }
    folders = {name: folder for name, folder in folders.items() if not (name in present and Path(present[name]).is_dir())}
    for folder in folders.values():
        folder.mkdir(parents=True, exist_ok=True)
    threads = {"OMP_NUM_THREADS": present["SLURM_CPUS_PER_TASK"]} if "SLURM_CPUS_PER_TASK" in present else {}
    programs = os.pathsep.join([str(Path(sys.executable).parent), present.get("PATH", os.defpath)])
    return {name: str(folder) for name, folder in folders.items()} | threads | {"PATH": programs}
