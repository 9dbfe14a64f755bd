"""The points of a study on one machine: some at a time, until all have ended, time is over or a signal asks to stop."""

import time
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from threading import Event

from annealed_lab.studies.point_runs import TICK_SECONDS, Outcome, PointRun
from annealed_lm.common.errors import InputError


def run_pool(
    runs: Sequence[PointRun], workers: int, first_alone: bool, seconds: float | None, stop: Event, done: int = 0
) -> None:
    """Run the points, the first alone if it computes what the others share, and tell how each ends.

    When `stop` is set, or after so many seconds, what runs is interrupted and nothing more is started.

    Args:
        done: how many points of the study were done before.

    Raises:
        InputError: the checkout was changed meanwhile; what ran has ended, nothing more was started.
    """
    deadline = None if seconds is None else time.monotonic() + seconds
    trouble, tally = None, Tally(done + len(runs), done)
    with ThreadPoolExecutor(workers) as pool:
        try:
            for together in (runs[:1], runs[1:]) if first_alone else (runs,):
                left = {pool.submit(run.run): run for run in together}
                while left:
                    for future in wait(left, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED).done:
                        run = left.pop(future)
                        try:
                            tally.tell(run, future.result())
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


class Tally:
    """Count how points end, and tell.

    Attributes:
        total: points of the study.
        done: of them, those that are.
    """

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done
        self.failed = self.ended = 0
        self.started_at = time.monotonic()

    def tell(self, run: PointRun, outcome: Outcome) -> None:
        """Print how a point ended, if it had begun, and how far the study is."""
        self.done += outcome is Outcome.DONE
        self.failed += outcome is Outcome.FAILED
        self.ended += run.process is not None
        if outcome is not Outcome.STOPPED or run.process is not None:
            where = f", see {run.assignment.log}" if outcome is Outcome.FAILED else ""
            how_far = f" ({self.summary()})" if outcome in (Outcome.DONE, Outcome.FAILED) else ""
            print(f"{run.assignment.name}: {outcome.value}{where}{how_far}", flush=True)

    def summary(self) -> str:
        """Return how many points are done, failed and left, and about how long those will take."""
        left = self.total - self.done - self.failed
        numbers = f"{self.done} of {self.total} done, {self.failed} failed, {left} left"
        if not (left and self.ended):
            return numbers
        return f"{numbers}, about {duration(left * (time.monotonic() - self.started_at) / self.ended)}"


def duration(seconds: float) -> str:
    """Return a time in words, to the minute."""
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
