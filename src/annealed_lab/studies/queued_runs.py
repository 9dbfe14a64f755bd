"""Runs the points of a study as experiments of DVC's queue, and sees to it that all of them finish or fail.

A point is done if there is a finished experiment of its name with its parameters: nothing else is remembered, so a run goes on
from whatever the last one, or a reboot, left.
"""

import fcntl
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from ruamel.yaml import YAML

from annealed_lab.experiments.finished import finished_experiments, git, read_text_at
from annealed_lab.experiments.lock_file import absent_results
from annealed_lab.studies.experiment_queue import FAILED, QUEUED, RUNNING, SUCCESS, ExperimentQueue, QueueStatus
from annealed_lab.studies.points import Point, differences
from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import read_mapping, value_at

PARAMS = "params.yaml"
POLL_SECONDS = 2
"""Between two looks at git, which cost nothing; a look at the queue costs a second of computing."""
POLLS_PER_STATUS = 5
SILENT_STATUSES = 3
"""So many looks at the queue without any worker, and there is none: it may be about to start."""
REVIVALS = 3
"""So often workers are started again although they ended without finishing anything."""
MOST_REFUSALS = 3
MOST_ATTEMPTS = 30
"""At what takes effect when it is asked again."""
LOCK = Path(".dvc/tmp/run_study.lock")


@contextmanager
def only_run() -> Iterator[None]:
    """Raises:
    InputError: another study runs in this checkout."""
    LOCK.parent.mkdir(parents=True, exist_ok=True)
    with LOCK.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError("another run_study.py is running in this checkout, and a queue serves one: wait for it") from error
        yield


def require_committed_params() -> None:
    """Raises:
    InputError: params.yaml was changed; what an interrupted command of DVC left there would become part of every point."""
    if git("diff", "--quiet", "HEAD", "--", PARAMS) is None:
        raise InputError(
            f"{PARAMS} is not as it was committed, and all points of a study build on it: git checkout {PARAMS}, or commit it"
        )


class QueuedRun:
    """The points of a study, and what became of them."""

    def __init__(self, points: Sequence[Point], queue: ExperimentQueue) -> None:
        """Raises:
        InputError: there is a finished experiment of a point's name with other parameters."""
        self.points = {point.name: point for point in points}
        self.queue = queue
        self.done: set[str] = set()
        self.failed: set[str] = set()
        self.revivals = 0
        self.refusals: Counter[str] = Counter()
        self.answers: deque[int] = deque(maxlen=SILENT_STATUSES)
        self.workspace = read_mapping(Path(PARAMS))
        self.code = stage_code()
        self.find_done()

    def find_done(self) -> list[str]:
        """The names of the points that are newly done."""
        new = []
        finished = finished_experiments()
        for name, point in self.points.items():
            if name in finished and name not in self.done:
                require_same(point, finished[name], self.code)
                self.done.add(name)
                new.append(name)
        return new

    @property
    def left(self) -> list[str]:
        """The names of the points that are neither done nor failed, in their order."""
        return [name for name in self.points if name not in self.done | self.failed]

    def of_study(self, names: Sequence[str]) -> list[str]:
        """Each once."""
        return [name for name in dict.fromkeys(names) if name in self.points]

    def run(self, workers: int, stop: Event) -> None:
        """Run what is left, until nothing is or `stop` is set; then what runs is interrupted.

        While none is done, the first has the machine to itself: it computes what all points share, and leaves that in the cache.
        """
        self.settle()
        self.tell_absent_results()
        self.put(self.left, stop)
        if not self.done and not stop.is_set():
            self.queue.start(1)
            self.wait(1, 1, stop)
        if not stop.is_set() and self.left:
            self.queue.start(workers)
            self.wait(len(self.points), workers, stop)
        if stop.is_set():
            self.interrupt()

    def settle(self) -> None:
        """Deal with what an earlier run left in the queue. Its workers, if they live, go on with what they run.

        What still waits is queued anew: parameters or code may have changed since.
        """
        status = self.queue.status()
        if self.of_study(status.names(RUNNING)) and not self.has_workers():
            self.clear_phantoms()
        self.remove(list(self.points))
        if others := [name for name in status.names(QUEUED) if name not in self.points]:
            print(f"the queue also holds {', '.join(others)}: started workers run them too", flush=True)

    def tell_absent_results(self) -> None:
        """What would make every point compute what all share."""
        lock = read_mapping(Path("dvc.lock")) if Path("dvc.lock").exists() else {}
        if absent := absent_results(lock, self.queue.cache_folder(), Path()):
            print(
                f"dvc.lock names results that this clone's cache lacks ({', '.join(absent)}): what comes out in other bytes "
                "on this machine is computed by every point; make run and a commit of dvc.lock first, or dvc pull, avoid it",
                flush=True,
            )

    def has_workers(self) -> bool:
        """Whether any worker answers, asked several times."""
        return any(self.queue.status().workers for _ in range(SILENT_STATUSES))

    def clear_phantoms(self) -> None:
        """End what runs, or seems to, without a worker: a kill that found a process takes effect when asked again.

        Raises:
            InputError: it does not end.
        """
        for _ in range(MOST_ATTEMPTS):
            running = self.of_study(self.queue.status().names(RUNNING))
            if not running:
                return
            self.queue.interrupt(running)
            time.sleep(POLL_SECONDS)
        raise InputError(f"{', '.join(running)} does not end; see dvc queue status and dvc queue kill --force")

    def remove(self, names: Sequence[str]) -> None:
        """Take points that do not run from the queue, however often they are there; experiments that are finished stay."""
        for _ in range(MOST_ATTEMPTS):
            there = [name for name in self.of_study(self.queue.status().names(QUEUED, FAILED, SUCCESS)) if name in names]
            if not there:
                return
            self.queue.remove(there)

    def put(self, names: Sequence[str], stop: Event | None = None) -> None:
        """Queue the points that are not there yet."""
        if not names:
            return
        there = self.queue.status().names(QUEUED, RUNNING)
        for name in names:
            if stop is not None and stop.is_set():
                return
            if name not in there:
                self.queue.put(name, self.points[name].params, self.workspace)

    def wait(self, count: int, workers: int, stop: Event) -> None:
        """Until so many points are done or have failed; tell each that is."""
        polls = 0
        while self.left and len(self.done | self.failed) < count and not stop.wait(POLL_SECONDS):
            polls, before = polls + 1, len(self.done)
            status = self.queue.status() if polls % POLLS_PER_STATUS == 0 else None
            for number, name in enumerate(self.find_done(), start=before + 1):
                self.revivals = 0
                print(f"{name}: done, {number} of {len(self.points)}", flush=True)
            if status is not None:
                self.note_failures(status)
                self.look_after_workers(status, workers)

    def look_after_workers(self, status: QueueStatus, workers: int) -> None:
        """Start workers where some have ended early: killed, or by a request to stop that was meant for earlier ones."""
        self.answers.append(status.workers)
        if len(self.answers) < SILENT_STATUSES or not self.left:
            return
        waiting = status.names(QUEUED, RUNNING)
        if max(self.answers) == 0 or not self.of_study(waiting):
            self.revive(workers)
        elif max(self.answers) < min(workers, len(waiting)):
            self.queue.start(workers)
        else:
            return
        self.answers.clear()

    def note_failures(self, status: QueueStatus) -> None:
        """A point that failed without a log was not begun: DVC refuses to where another one begins at the same moment."""
        for name in self.of_study(status.names(FAILED)):
            if name not in self.left:
                continue
            if self.refusals[name] < MOST_REFUSALS and not self.queue.has_log(name):
                self.refusals[name] += 1
                self.remove([name])
                self.put([name])
                continue
            self.revivals = 0
            self.failed.add(name)
            print(f"{name}: failed, dvc queue logs {name} tells why", flush=True)

    def revive(self, workers: int) -> None:
        """Start again what is lost: all workers have died, or they ended without a result.

        Raises:
            InputError: it did not help before.
        """
        self.revivals += 1
        if self.revivals > REVIVALS:
            raise InputError("workers end without finishing anything: see .dvc/tmp/exps/celery/*.out, and run again")
        print("no worker answers: starting anew what has not finished", flush=True)
        self.clear_phantoms()
        self.remove(self.left)
        self.put(self.left)
        self.queue.start(workers)

    def interrupt(self) -> None:
        """Stop the workers, and interrupt what they run of this study; what waits in the queue stays there."""
        print("stopping: trainings save a checkpoint", flush=True)
        if self.has_workers():  # else those of the next run would get the request
            self.queue.stop()
        for _ in range(MOST_ATTEMPTS):
            running = self.of_study(self.queue.status().names(RUNNING))
            if not running:
                return
            self.queue.interrupt(running)
            time.sleep(POLL_SECONDS)


def stage_code() -> list[str]:
    """The code that results depend on, as dvc.yaml lists it."""
    stages = read_mapping(Path("dvc.yaml"))["stages"].values()
    return sorted({dep for stage in stages for dep in stage.get("deps", ()) if dep.startswith("src/")})


def require_same(point: Point, commit: str, code: Sequence[str]) -> None:
    """Raises:
    InputError: the experiment in `commit` has other parameters than the point of its name, or is of other code."""
    found = YAML(typ="safe", pure=True).load(read_text_at(commit, PARAMS))
    if different := differences(point.params, found):
        key = different[0]
        ours, theirs = (described(values, key) for values in (point.params, found))
        raise InputError(
            f"there is a finished experiment {point.name} of other parameters ({key}: {theirs}, not {ours}): "
            f"rename the study, or dvc exp remove {point.name}"
        )
    if changed := (git("diff", "--name-only", commit, "HEAD", "--", *code) or "").split():
        raise InputError(
            f"{point.name} was computed with other code ({', '.join(changed[:3])}{', ...' if changed[3:] else ''}), and a study "
            f"should be of one: go on from that code, rename the study, or dvc exp remove {point.name}"
        )


def described(values: dict[str, object], key: str) -> str:
    try:
        return str(value_at(values, key))
    except KeyError:
        return "absent"
