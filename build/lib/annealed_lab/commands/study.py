"""Run all experiments of a study, here or on a cluster.

What was interrupted, however hard, goes on with the same command. A point that fails does not stop the others.

Reads: the study's file (docs/studies.md has its keys) or --schedules and --seeds, params.yaml, and the last commit.
Writes: an experiment for each point, and logs in runs/STUDY/.
Example: python src/lab.py study --schedules normal linear cosine --seeds 1 2 3
"""

import argparse
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import Event

from annealed_lab.experiments.checkout import (
    check_branch,
    check_identity,
    check_path,
    check_python,
    check_repository,
    check_untracked_code,
)
from annealed_lab.experiments.finished import finished_experiments, git
from annealed_lab.experiments.lock_file import absent_results
from annealed_lab.studies.clusters import Cluster
from annealed_lab.studies.point_runs import Assignment, PointRun, gate, require_commit
from annealed_lab.studies.points import Point, Study, parse, read_study, study_of_schedules
from annealed_lab.studies.pool import run_pool
from annealed_lab.studies.progress import done_points, summary
from annealed_lab.studies.settings import overrides
from annealed_lm.common.errors import InputError
from annealed_lm.config.types import nearest
from annealed_lm.config.yaml_files import read_mapping

CHECKS = (check_repository, check_path, check_identity, check_branch, check_untracked_code, check_python)
"""What would make an experiment fail, or not be what it seems."""
PARAMS = Path("params.yaml")
COMPARE = "compare what is done: make compare PREFIX={study}-"


def check_checkout() -> None:
    """Raises:
    InputError: experiments of this checkout would fail, or not be what they seem."""
    for finding in (check() for check in CHECKS):
        if finding is not None:
            raise InputError(finding)
    require_commit(git("rev-parse", "HEAD") or "")


def chosen_study(args: argparse.Namespace) -> Study:
    """Return the study of the file, or of the T schedules, that the options name.

    Raises:
        InputError: it is not what it should be.
    """
    if args.study is not None:
        return read_study(args.study, PARAMS)
    return study_of_schedules(args.name or "schedules", args.schedules, args.seeds, PARAMS)


def chosen_points(study: Study, names: Sequence[str] | None) -> list[Point]:
    """Return the points named, all if none is.

    Raises:
        InputError: the study has no point of a name.
    """
    known = [point.name for point in study.points]
    for name in names or ():
        if name not in known:
            raise InputError(f"--points {name}: {study.name} has no such point{nearest(name, known)}")
    return [point for point in study.points if names is None or point.name in names]


def assignments(study: str, points: Sequence[Point], environment: Mapping[str, str]) -> list[Assignment]:
    """Return what is to run for `points`, with params.yaml and the commit that the checkout has now."""
    workspace, commit = read_mapping(PARAMS), git("rev-parse", "HEAD") or ""
    folder = Path("runs") / study
    return [Assignment(point.name, tuple(overrides(point.params, workspace)), folder, commit, environment) for point in points]


def tell_absent_results(point: Point) -> None:
    """Say so if every point would compute what all share with `point`.

    Raises:
        InputError: DVC does not work here.
    """
    lock = read_mapping(Path("dvc.lock")) if Path("dvc.lock").exists() else {}
    try:
        printed = subprocess.run(["dvc", "cache", "dir"], capture_output=True, encoding="utf-8", check=True).stdout
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        raise InputError("dvc does not work here: pip install -r requirements.txt, in a clone of the project") from error
    if absent := absent_results(lock, point.params, Path(printed.strip()), Path()):
        print(
            f"dvc.lock names results that this clone's cache lacks ({', '.join(absent)}): what comes out in other bytes on this "
            "machine may be computed by every point; dvc exp run and a commit of dvc.lock first, or dvc pull, avoid it",
            flush=True,
        )


def stop_at_signals() -> Event:
    """Return an event that Ctrl-C or SIGTERM sets."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def run_here(work: Sequence[Assignment], workers: int, first_alone: bool, minutes: float | None, done: int) -> None:
    """Run what is missing on this machine; so many points were done before."""
    seconds = None if minutes is None else 60 * minutes
    run_pool([PointRun(assignment) for assignment in work], workers, first_alone, seconds, stop_at_signals(), done)


def run_on_cluster(study: str, points: Sequence[Point], first_alone: bool, file: Path) -> None:
    """Submit what is missing to Slurm.

    Raises:
        InputError: the file of the cluster is not what it should be, or Slurm refuses.
    """
    from annealed_lab.studies.slurm import identity, require_no_jobs, submit  # submitit: nothing else needs it

    cluster = parse(Cluster, read_mapping(file), str(file))
    require_no_jobs(study, Path.cwd())
    for point, job in zip(points, submit(assignments(study, points, identity()), cluster, study, first_alone), strict=True):
        print(f"{point.name}: job {job.job_id}", flush=True)


def check_options(args: argparse.Namespace) -> None:
    """Raises:
    InputError: an option has a bad value, or no effect beside another."""
    here = [f"--{option}" for option in ("workers", "minutes") if getattr(args, option) is not None]
    where = ["--slurm"] if args.slurm else []
    if (args.study is None) != bool(args.schedules and args.seeds) or (args.study and (args.schedules or args.seeds)):
        raise InputError("a study is a file (studies/*.yaml), or else --schedules and --seeds")
    if args.study is not None and args.name is not None:
        raise InputError(f"--name {args.name} is for --schedules: a file has its own name")
    if args.status and here + where:
        raise InputError(f"{(here + where)[0]} says how to run a study: it has no effect with --status")
    if here and where:
        raise InputError(f"{here[0]} says how to run on this machine: it has no effect with --slurm")
    if args.workers is not None and args.workers < 1:
        raise InputError(f"--workers {args.workers}: it should be 1 or more")
    if args.minutes is not None and args.minutes <= 0:
        raise InputError(f"--minutes {args.minutes:g}: it should be more than 0")


def parse_arguments(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, nargs="?", help="its file")
    parser.add_argument("--schedules", nargs="+", metavar="T_SCHEDULE", help="instead of a file: values of T_schedule")
    parser.add_argument("--seeds", nargs="+", type=int, help="and of random_seed")
    parser.add_argument("--name", help="of the study of --schedules (schedules)")
    parser.add_argument("--points", nargs="+", metavar="NAME", help="only these")
    parser.add_argument("--workers", type=int, help="points at a time; as the study says")
    parser.add_argument("--minutes", type=float, help="then let what runs save, and end")
    parser.add_argument("--slurm", type=Path, metavar="CLUSTER", help="submit to Slurm, as this file (clusters/*.yaml) says")
    parser.add_argument("--status", action="store_true", help="only tell how many points are done")
    return parser.parse_args(arguments)


def main(program: str, arguments: Sequence[str]) -> None:
    args = parse_arguments(program, arguments)
    check_options(args)
    with gate():  # a point that starts has params.yaml changed and HEAD detached for a moment
        check_checkout()
        study = chosen_study(args)
        points = chosen_points(study, args.points)
        done = done_points(study.points)
        missing = [point for point in points if point.name not in done]
        workers = args.workers or study.workers
        threads = study.threads or max(1, (os.cpu_count() or 1) // workers)
        work = assignments(study.name, missing, {"OMP_NUM_THREADS": str(threads)})
    print(summary(study.name, len(points), work), flush=True)
    if not missing:
        print(COMPARE.format(study=study.name))
    if args.status or not missing:
        return
    tell_absent_results(missing[0])
    first_alone = not done and len(missing) > 1  # it computes what all share
    if args.slurm:
        run_on_cluster(study.name, missing, first_alone, args.slurm)
        return
    run_here(work, workers, first_alone, args.minutes, len(points) - len(missing))
    left = [assignment for assignment in work if assignment.name not in finished_experiments()]
    print(summary(study.name, len(points), left), flush=True)
    if len(left) < len(points):
        print(COMPARE.format(study=study.name))
    if left:
        raise SystemExit(1)
