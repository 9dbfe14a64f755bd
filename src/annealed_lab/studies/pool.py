"""The points of a study on one machine: some at a time, until all have ended, time is over or a signal asks to stop."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from threading import Event

from annealed_lab.studies.point_runs import TICK_SECONDS, Outcome, PointRun
from annealed_lm.common.errors import InputError


def run_pool(runs: Sequence[PointRun], workers: int, first_alone: bool, seconds: float | None, stop: Event) -> None:
    """Run the points, the first alone if it computes what the others share, and tell how each ends.

    When `stop` is set, or after so many seconds, what runs is interrupted and nothing more is started.

    Raises:
        InputError: the checkout was changed meanwhile; what ran has ended, nothing more was started.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    trouble = None
    with ThreadPoolExecutor(workers) as pool:
        try:
            for together in (runs[:1], runs[1:]) if first_alone else (runs,):
                left = {pool.submit(run.run): run for run in together}
                while left:
                    for future in wait(left, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED).done:
                        run = left.pop(future)
                        try:
                            tell(run, future.result())
                        except InputError as error:
                            trouble = error
                    if stop.is_set() or (deadline is not None and time.monotonic() > deadline):
                        stop_all(runs)
        finally:
            stop_all(runs)
    if trouble is not None:
        raise trouble


def stop_all(runs: Sequence[PointRun]) -> None:
    for run in runs:
        run.stopping = True


def tell(run: PointRun, outcome: Outcome) -> None:
    """Print how a point ended, if it had begun."""
    if outcome is not Outcome.STOPPED or run.process is not None:
        where = f", see {run.assignment.log}" if outcome is Outcome.FAILED else ""
        print(f"{run.assignment.name}: {outcome.value}{where}", flush=True)
