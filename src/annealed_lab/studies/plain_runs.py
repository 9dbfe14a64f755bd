"""Runs the stages of dvc.yaml for the points of a study, without DVC and git.

Each point has a folder with the layout of a checkout. A result that several points have is computed once, in .shared/<key>, and
linked into each of them. .code is a copy of the code that the folder was begun with: editing the checkout meanwhile is safe.
"""

import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Event, Lock
from typing import IO

from annealed_lab.studies.plain_plans import PARAMS, Task, content_digest, needed_for, plan, read_stages
from annealed_lab.studies.point_folders import FINISHED, code_files, finished_key, link, set_aside, withdraw, write_params
from annealed_lab.studies.points import Point
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path, write_json

SHARED, CODE, LOCK, LOGS = ".shared", ".code", ".lock", "logs"
STARTED = ".started"
"""Ending of the marker of a stage that has not finished."""
GRACE_SECONDS = 120
"""For a stage to save its checkpoint and end, once it was asked to."""
AGAIN_SECONDS = 10
TICK_SECONDS = 0.2


class PlainRun:
    """The folder of a study, and what is to run in it."""

    def __init__(self, root: Path, folder: Path, points: Sequence[Point], threads: int, until: str | None = None) -> None:
        # Links are relative, and lead astray from a folder that is itself reached through a link.
        self.root, self.folder = root.resolve(), folder.resolve()
        self.points = points
        stages = read_stages(self.root / "dvc.yaml")
        self.tasks = plan(stages, points, lambda path: content_digest(self.root / path))
        needed = needed_for(stages, until)
        self.wanted = {key: task for key, task in self.tasks.items() if task.stage.name in needed}
        self.environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self.environment.pop("DVC_ROOT", None)  # stages would keep their checkpoints there
        self.files = Lock()  # two stages of one point may run at once
        self.running: dict[str, subprocess.Popen[bytes]] = {}
        self.asked: dict[str, list[float]] = {}
        self.done = self.find_done()
        self.failed: set[str] = set()
        self.trouble: BaseException | None = None

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other runs out, for as long as a stage that this one started goes on.

        Raises:
            InputError: another run, or a stage that one left behind, has the folder.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / LOCK).open("a") as self.lock:
            try:
                fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"{self.folder} is in use by another run, or by a stage that a killed run left behind: "
                    f"wait for it or end it (fuser {self.folder / LOCK} tells the process)"
                ) from error
            self.done = self.find_done()  # another run may have ended since
            yield

    def bring_code(self, new: bool) -> None:
        """Copy the checkout's code into the folder, unless it is there.

        Raises:
            InputError: the folder was begun with other code, and `new` does not say to take the checkout's.
        """
        kept = self.folder / CODE
        if kept.exists() and not new:
            ours, theirs = ({path: content_digest(base / path) for path in code_files(base)} for base in (self.root, kept))
            if changed := sorted(path for path in ours.keys() | theirs.keys() if ours.get(path) != theirs.get(path)):
                raise InputError(
                    f"{self.folder} was begun with other code ({', '.join(changed[:5])}{', ...' if changed[5:] else ''}): go on "
                    "from a checkout of that code, or add --new-code to run again what the change concerns"
                )
            return
        with atomic_path(kept) as partial:
            for path in code_files(self.root):
                (partial / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(self.root / path, partial / path)

    def withdraw_stale(self) -> None:
        """Take from the points what is not the result of their parameters, inputs and code. Nothing that is whole gets lost.

        While they may hold results of several parameters, they state none.
        """
        for point in self.points:
            (self.folder / point.name / PARAMS).unlink(missing_ok=True)
        for key, task in self.tasks.items():
            if key not in self.done:
                for name in task.points:
                    set_aside(self.folder / name, task.stage, self.folder / SHARED)
                    withdraw(self.folder / name, task.stage)
        for point in self.points:
            (self.folder / point.name).mkdir(exist_ok=True)
            write_params(self.folder / point.name / PARAMS, point.params)

    def homes(self, task: Task) -> list[Path]:
        """Where the result of a task may be."""
        return [self.folder / SHARED / task.key, *(self.folder / name for name in task.points)]

    def home(self, task: Task) -> Path:
        """Where the result of a task is or, if it is not finished, will be."""
        shared, *points = self.homes(task)
        for folder in (shared, *points):
            if finished_key(folder, task.stage) == task.key:
                return folder
        return shared if len(points) > 1 else points[0]

    def is_finished(self, task: Task) -> bool:
        home = self.home(task)
        there = all((home / out).exists() for out in task.stage.outs)
        return finished_key(home, task.stage) == task.key and there

    def find_done(self) -> set[str]:
        return {key for key, task in self.tasks.items() if self.is_finished(task)}

    def tasks_of(self, point: Point) -> list[str]:
        return [key for key, task in self.wanted.items() if point.name in task.points]

    def is_done(self, point: Point) -> bool:
        return all(key in self.done for key in self.tasks_of(point))

    def has_failed(self, point: Point) -> bool:
        return any(key in self.failed for key in self.tasks_of(point))

    def run(self, workers: int, stop: Event, seconds: float | None = None) -> None:
        """Run what is not finished, until all is, `stop` is set or `seconds` are over; what runs then is asked to end.

        A failure stops what builds on it and nothing else.

        Raises:
            OSError: a disk refuses; what ran was asked to end.
        """
        started = time.monotonic()
        told = {point.name for point in self.points if self.is_done(point)}
        for key in self.done:
            self.link_into_points(self.tasks[key])
        futures: dict[Future[None], Task] = {}
        with ThreadPoolExecutor(workers) as pool:
            while True:
                if seconds is not None and time.monotonic() - started >= seconds:
                    stop.set()
                while (
                    not stop.is_set()
                    and len(futures) < workers
                    and (task := self.next_task({running.key for running in futures.values()}))
                ):
                    futures[pool.submit(self.run_task, task)] = task
                if not futures:
                    break
                finished, _ = wait(futures, timeout=TICK_SECONDS, return_when=FIRST_COMPLETED)
                for future in finished:
                    self.conclude(futures.pop(future), future.exception(), stop)
                for point in self.points:
                    if point.name not in told and self.is_done(point):
                        told.add(point.name)
                        print(f"{point.name}: done, {len(told)} of {len(self.points)}", flush=True)
                if stop.is_set():
                    self.interrupt()
        if self.trouble is not None:
            raise self.trouble

    def next_task(self, running: set[str]) -> Task | None:
        """The first task that can start."""
        for key, task in self.wanted.items():
            if key not in self.done | self.failed | running and all(need in self.done for need in task.needs.values()):
                return task
        return None

    def conclude(self, task: Task, error: BaseException | None, stop: Event) -> None:
        """Note how a task ended. One that was asked to end has not failed."""
        if error is None:
            self.done.add(task.key)
        elif not isinstance(error, InputError):
            self.trouble = error
            stop.set()
        elif not stop.is_set():
            self.failed.add(task.key)
            concerned = task.points[0] if len(task.points) == 1 else f"{len(task.points)} points"
            print(f"{concerned}: {error}", flush=True)

    def run_task(self, task: Task) -> None:
        """Raises:
        InputError: the command failed."""
        home = self.home(task)
        with self.files:
            self.furnish(home, task)
            withdraw(home, task.stage)  # what an attempt left that did not come to its end
        log = home / LOGS / f"{task.stage.name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        marker = home / FINISHED / f"{task.stage.name}.json"
        write_json(marker.with_suffix(STARTED), {"stage": task.stage.name, "key": task.key})
        started = time.monotonic()
        with log.open("wb") as output:
            status = self.call(task, home, output)
        if status:
            raise InputError(f"{task.stage.name} failed with status {status}, see {shown(log)}: {last_line(log)}")
        if missing := [out for out in task.stage.outs if not (home / out).exists()]:
            raise InputError(f"{task.stage.name} ended well, but did not write {', '.join(missing)}, see {shown(log)}")
        record = {"stage": task.stage.name, "key": task.key, "seconds": round(time.monotonic() - started, 2)}
        with self.files:
            write_json(marker, record)
            self.link_into_points(task)

    def call(self, task: Task, home: Path, output: IO[bytes]) -> int:
        program, *arguments = shlex.split(task.stage.command)
        command = shlex.join([sys.executable if program == "python" else program, *arguments])
        marker = Path(FINISHED) / f"{task.stage.name}.json"
        # The command itself says that its result is whole: if this program is killed, what it started may well finish.
        concluded = shlex.join(["/bin/mv", str(marker.with_suffix(STARTED)), str(marker)])
        process = subprocess.Popen(
            ["/bin/sh", "-c", f"{command} && {concluded}"],
            cwd=home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # Ctrl-C comes to this program, which passes it on
            pass_fds=[self.lock.fileno()],  # the folder is locked as long as it is written to
        )
        self.running[task.key] = process
        try:
            return process.wait()
        finally:
            del self.running[task.key]

    def interrupt(self) -> None:
        """Ask what runs to save and end; insist if it has not after a while."""
        for key, process in list(self.running.items()):
            asked = self.asked.setdefault(key, [])
            now = time.monotonic()
            if asked and now - asked[0] > GRACE_SECONDS:
                send(process, signal.SIGKILL)
            elif not asked or now - asked[-1] > AGAIN_SECONDS:  # a program that is just starting may miss the first
                asked.append(now)
                send(process, signal.SIGINT)

    def furnish(self, home: Path, task: Task) -> None:
        """Put into the folder what the command reads."""
        home.mkdir(parents=True, exist_ok=True)
        link(home / "src", self.folder / CODE / "src")
        write_params(home / PARAMS, task.params)
        for path in task.stage.files:
            if not path.startswith("src/"):
                link(home / path, self.root / path)
        for path, key in task.needs.items():
            source = self.home(self.tasks[key])
            if source != home:
                link(home / path, source / path)

    def link_into_points(self, task: Task) -> None:
        home = self.home(task)
        for name in task.points:
            if self.folder / name != home:
                set_aside(self.folder / name, task.stage, self.folder / SHARED)
                withdraw(self.folder / name, task.stage, keep_links=True)
                for out in task.stage.outs:
                    link(self.folder / name / out, home / out)


def send(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """To the process and all that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def shown(path: Path) -> Path:
    """A path as short as it can be from here."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return lines[-1].strip() if lines else "it printed nothing"
