"""The points of a study on a cluster: an array of Slurm jobs through submitit, a job a point.

A job that meets its time limit, or is preempted, interrupts its experiment, is queued again by submitit and goes on from the
checkpoints.
"""

import shlex
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from submitit import AutoExecutor
from submitit.core.utils import FailedJobError

from annealed_lab.experiments.finished import git
from annealed_lab.studies.clusters import Cluster
from annealed_lab.studies.point_jobs import PointJob
from annealed_lab.studies.point_runs import Assignment
from annealed_lm.common.errors import InputError


def identity() -> dict[str, str]:
    """Return who commits, for a node that cannot see git's configuration."""
    name, email = (git("config", f"user.{key}") or "" for key in ("name", "email"))
    return {f"GIT_{role}_{key}": value for role in ("AUTHOR", "COMMITTER") for key, value in (("NAME", name), ("EMAIL", email))}


def require_no_jobs(study: str, root: Path) -> None:
    """Raises:
    InputError: there is no Slurm here, or it still has jobs of this study in this folder."""
    command = ["squeue", "--me", "--noheader", f"--name={study}", "--format=%i %Z"]
    try:
        listed = subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout
    except FileNotFoundError as error:
        raise InputError("--slurm: there is no squeue here; submit where Slurm's commands are") from error
    except subprocess.CalledProcessError as error:
        raise InputError(f"--slurm: squeue failed: {' '.join(error.stderr.split())}") from error
    if jobs := [line.split()[0] for line in listed.splitlines() if line.split(maxsplit=1)[1] == str(root)]:
        raise InputError(f"Slurm still has jobs of {study} ({', '.join(jobs)}): wait for them, or scancel --name={study}")


def submit(assignments: Sequence[Assignment], cluster: Cluster, study: str, first_alone: bool, kind: str = "slurm") -> list[Any]:
    """Submit a job for each point; the array of all but the first waits for the first, if that computes what they share.

    Args:
        kind: "local" runs the jobs here, without Slurm.

    Returns:
        submitit's jobs.

    Raises:
        InputError: Slurm refuses.
    """
    root = Path.cwd()
    work = [PointJob(assignment, root) for assignment in assignments]
    executor = make_executor(cluster, study, root, kind)
    try:
        if not first_alone:
            return executor.submit_array(work)
        first = executor.submit(work[0])
        executor.update_parameters(slurm_dependency=f"afterany:{first.job_id}")  # also if it failed: others may not
        return [first, *executor.submit_array(work[1:])]
    except FailedJobError as error:
        raise InputError(f"Slurm refuses: {' '.join(str(error).split())}") from error


def make_executor(cluster: Cluster, study: str, root: Path, kind: str) -> AutoExecutor:
    """Return submitit's executor for the jobs of a study."""
    executor = AutoExecutor(
        root / "runs" / study / "jobs",
        cluster=kind,
        slurm_max_num_timeout=cluster.max_requeues,
        # In the place of the shell, so that the signal, which goes to that alone (B:), reaches submitit and not DVC too.
        slurm_python=f"exec {shlex.quote(sys.executable)}",
    )
    options = {name: value or True for name, _, value in (option[2:].partition("=") for option in cluster.options)}
    executor.update_parameters(
        name=study,
        timeout_min=cluster.minutes,
        cpus_per_task=cluster.cpus,
        gpus_per_node=cluster.gpus,
        mem_gb=cluster.memory_gb,
        stderr_to_stdout=True,
        slurm_partition=cluster.partition,
        slurm_account=cluster.account,
        slurm_qos=cluster.qos,
        slurm_array_parallelism=cluster.max_parallel,
        slurm_setup=[*cluster.setup, f"export PYTHONPATH={shlex.quote(str(root / 'src'))}${{PYTHONPATH:+:$PYTHONPATH}}"],
        slurm_use_srun=False,
        slurm_additional_parameters=options | {"signal": f"B:USR2@{cluster.seconds_to_save}", "requeue": True},
    )
    return executor
