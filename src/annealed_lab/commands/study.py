"""Every experiment of a study, through DVC's queue or without DVC: python src/run_study.py studies/tiny.yaml

A run that was interrupted, however hard, goes on with the same command. A point that fails does not stop the others.
"""

import argparse
import signal
from collections.abc import Sequence
from pathlib import Path
from threading import Event

from annealed_lab.experiments.checkout import check_branch, check_identity, check_python, check_repository, check_untracked_code
from annealed_lab.studies.experiment_queue import ExperimentQueue
from annealed_lab.studies.plain_runs import PlainRun
from annealed_lab.studies.points import Study, read_study
from annealed_lab.studies.queued_runs import QueuedRun, only_run, require_committed_params
from annealed_lm.common.errors import InputError

PLAIN_OPTIONS = ("until", "seconds", "new_code")
QUEUE_CHECKS = (check_repository, check_identity, check_branch, check_untracked_code, check_python)
"""What would make an experiment from the queue fail, or not be what it seems."""


def run_through_queue(study: Study, args: argparse.Namespace, workers: int, stop: Event) -> bool:
    """Whether nothing failed."""
    for option in PLAIN_OPTIONS:
        if getattr(args, option):
            raise InputError(f"--{option.replace('_', '-')} needs --without-dvc FOLDER")
    for finding in (check() for check in QUEUE_CHECKS):
        if finding is not None:
            raise InputError(finding)
    require_committed_params()
    with only_run():
        run = QueuedRun(study.points, ExperimentQueue(study.threads))
        print(f"{study.name}: {len(run.points)} points, {len(run.done)} done, {len(run.left)} to run", flush=True)
        if run.left and not args.dry_run:
            run.run(workers, stop)
    if not args.dry_run:
        print(summary(study, len(run.done), len(run.failed)), flush=True)
    return not run.failed


def run_plainly(study: Study, args: argparse.Namespace, workers: int, stop: Event) -> bool:
    """Whether nothing failed."""
    run = PlainRun(Path(), args.without_dvc, study.points, study.threads, args.until)
    done = sum(run.is_done(point) for point in study.points)
    left = len(run.wanted.keys() - run.done)
    print(f"{study.name}: {len(study.points)} points, {done} done, {len(study.points) - done} to run ({left} stages)", flush=True)
    if args.dry_run:
        return True
    with run.locked():
        run.bring_code(args.new_code)
        run.withdraw_stale()
        run.run(workers, stop, args.seconds)
    done = sum(run.is_done(point) for point in study.points)
    failed = sum(run.has_failed(point) for point in study.points)
    print(summary(study, done, failed), flush=True)
    return failed == 0


def summary(study: Study, done: int, failed: int) -> str:
    left = len(study.points) - done - failed
    rest = "; the same command goes on" if left or failed else ""
    return f"{study.name}: {done} of {len(study.points)} points done, {failed} failed, {left} left{rest}"


def stop_at_signals() -> Event:
    """An event that Ctrl-C or SIGTERM sets."""
    stop = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    return stop


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__.splitlines()[0])
    parser.add_argument("study", type=Path)
    parser.add_argument("--workers", type=int, help="points at a time; as the study says")
    parser.add_argument("--dry-run", action="store_true", help="only tell what would run")
    plain = parser.add_argument_group("without DVC")
    plain.add_argument("--without-dvc", type=Path, metavar="FOLDER", help="run the stages in this folder, without DVC and git")
    plain.add_argument("--until", metavar="STAGE", help="run no stage but this and those that it builds on")
    plain.add_argument("--seconds", type=float, help="then ask what runs to save and end")
    plain.add_argument("--new-code", action="store_true", help="run again what a change of the code concerns")
    args = parser.parse_args(arguments)

    study = read_study(args.study, Path("params.yaml"))
    workers = study.workers if args.workers is None else args.workers
    if workers < 1:
        raise InputError(f"--workers {workers}: it should be 1 or more")
    if args.seconds is not None and args.seconds <= 0:
        raise InputError(f"--seconds {args.seconds:g}: it should be more than 0")
    stop = stop_at_signals()
    run = run_through_queue if args.without_dvc is None else run_plainly
    if not run(study, args, workers, stop):
        raise SystemExit(1)
