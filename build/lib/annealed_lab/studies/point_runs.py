"""One point of a study, run as `dvc exp run --temp` in a process group of its own: what the pool and a cluster's job both do.

The log of a point is locked as long as anything writes to it, so no point runs twice at a time, on whichever machine.
"""

import fcntl
import glob
import math
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import IO

from annealed_lab.experiments.finished import finished_experiments, git
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, write_text

STUDIED = ("params.yaml", "dvc.yaml", "src")
"""What all points of a study have in common, as it is in one commit."""
GATE = Path(".dvc/tmp/study.lock")
WORKSPACES = Path(".dvc/tmp/exps/standalone")
"""Here DVC makes a copy of the checkout for each --temp experiment, and notes in run/ which of them runs what."""
NOTES = (WORKSPACES / "run", Path(".dvc/tmp/exps/run"))
TICK_SECONDS = 0.2
BEGIN_SECONDS = 60
"""DVC may take so long until it has begun an experiment; then it is interrupted all the same."""
AGAIN_SECONDS = 10
LINGER_SECONDS = 120
"""A stage whose DVC was killed may go on for so long before its point counts as ended."""


class Outcome(Enum):
    DONE = "done"
    FAILED = "failed"
    STOPPED = "stopped"
    ELSEWHERE = "is run by another process"


@dataclass(frozen=True)
class Assignment:
    """What is to run; it can be sent to another machine that has the same checkout as its current folder.

    Attributes:
        name: of the point, and of its experiment.
        settings: what makes params.yaml of `commit` into the point's.
        folder: for the point's log and, if it failed, a file that says so.
        commit: of the checkout.
        environment: what the experiment has beside the environment of this process.
    """

    name: str
    settings: tuple[str, ...]
    folder: Path
    commit: str
    environment: Mapping[str, str]

    @property
    def log(self) -> Path:
        return self.folder / f"{self.name}.log"

    @property
    def failure(self) -> Path:
        return self.folder / f"{self.name}.failed"

    def is_running(self) -> bool:
        """Return whether anything writes to the log, as far as this machine can see."""
        if not self.log.exists():
            return False
        with self.log.open("ab") as log:
            return not locks(log)


class PointRun:
    """A point while it runs.

    Attributes:
        stopping: set it to let the experiment save what it has, and end.
    """

    def __init__(self, assignment: Assignment) -> None:
        self.assignment = assignment
        self.process: subprocess.Popen[bytes] | None = None
        self.stopping = False
        self.begun = False
        self.started_at = self.interrupted_at = -math.inf

    def run(self) -> Outcome:
        """Run the point until it is done, has failed, or was asked to stop.

        Raises:
            InputError: the checkout is not as it was when the study began.
        """
        name, log_path, failure = self.assignment.name, self.assignment.log, self.assignment.failure
        if self.stopping:
            return Outcome.STOPPED
        log_path.parent.mkdir(parents=True, exist_ok=True)
        with log_path.open("ab") as log:
            before = log.tell()
            if not locks(log):
                return Outcome.ELSEWHERE
            remove_leftovers(name)
            failure.unlink(missing_ok=True)
            if name in finished_experiments():
                return Outcome.DONE
            self.begin(log)
            self.wait()
        self.linger()
        if name in finished_experiments():
            return Outcome.DONE
        if self.stopping:
            return Outcome.STOPPED
        write_text(failure, f"{reason(log_path, before)}\n")
        return Outcome.FAILED

    def begin(self, log: IO[bytes]) -> None:
        """Start DVC, and keep other points from starting until it has begun the experiment: `gate` says why.

        Raises:
            InputError: the checkout is not as it was when the study began.
        """
        named = ("--name", self.assignment.name)
        settings = (part for setting in self.assignment.settings for part in ("--set-param", setting))
        with gate():
            require_commit(self.assignment.commit)
            if self.stopping:
                return
            self.started_at = time.monotonic()
            self.process = subprocess.Popen(
                ["dvc", "--wait-for-lock", "exp", "run", "--temp", *named, *settings],
                env=os.environ | self.assignment.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            self.wait(only_until_begun=True)

    def wait(self, only_until_begun: bool = False) -> None:
        """Return when the experiment has ended, or has begun; interrupt it if it is to stop.

        A signal handler may call this while this very method waits, so it takes no lock, and leaves the process to be reaped.
        """
        while self.process is not None and not has_ended(self.process.pid):
            self.begun = self.begun or bool(notes(NOTES[0], self.assignment.name))
            if only_until_begun and self.begun:
                return
            now = time.monotonic()
            # Until it has begun, DVC may have git's HEAD detached; and a program that just starts may miss a signal.
            interruptible = self.begun or now - self.started_at > BEGIN_SECONDS
            if self.stopping and interruptible and now - self.interrupted_at > AGAIN_SECONDS:
                self.interrupted_at = now
                with suppress(ProcessLookupError):
                    os.killpg(self.process.pid, signal.SIGINT)
            time.sleep(TICK_SECONDS)

    def linger(self) -> None:
        """Give a stage time to save what it has, if DVC was killed and it was not."""
        if self.process is not None:
            self.process.wait()
        ended_at = time.monotonic()
        while self.assignment.is_running() and time.monotonic() - ended_at < LINGER_SECONDS:
            time.sleep(TICK_SECONDS)


def has_ended(process: int) -> bool:
    """Return whether a child has ended, without reaping it."""
    try:
        return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def locks(file: IO[bytes]) -> bool:
    """Lock a file for this process and those that it hands the file to; return whether nobody else has it locked."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextmanager
def gate() -> Iterator[None]:
    """Wait for other points that are starting, and keep them waiting.

    DVC puts an experiment into a stash, with params.yaml of the checkout changed for a moment, and then runs whatever is in the
    stash: of eight that start at once, one now and then runs another's as well, under a second name.

    Raises:
        InputError: the current folder is not the project's root.
    """
    if not GATE.parents[1].is_dir():
        raise InputError(f"{GATE.parents[1]} is not there; this runs from the project's root")
    GATE.parent.mkdir(parents=True, exist_ok=True)
    with GATE.open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def require_commit(commit: str) -> None:
    """Raises:
    InputError: what the points of a study have in common is not in the checkout as it is in `commit`."""
    if changed := (git("diff", "--name-only", commit, "--", *STUDIED) or "").split():
        raise InputError(
            f"{', '.join(changed[:3])}{', ...' if changed[3:] else ''} is not as in commit {commit[:12]}, of which all points of "
            "this study are: commit it and begin again, or git checkout it; while a study runs, work in another clone"
        )


def notes(folder: Path, name: str) -> dict[Path, Path]:
    """Return DVC's notes of the experiments of a name: the file, and the copy of the checkout that it tells of."""
    found = {}
    # The module, and not the method of paths: that one raises where another point removes a folder meanwhile.
    for path in map(Path, glob.glob(f"{folder}/*/*.run")):  # noqa: PTH207
        with suppress(ValueError, OSError):  # it is being written, or was removed
            note = read_json(path)
            if note["name"] == name:
                found[path] = Path(note["root_dir"])
    return found


def remove_leftovers(name: str) -> None:
    """Remove what DVC left of experiments of this name that were killed, none of which may be running."""
    for folder in NOTES:
        for note, workspace in notes(folder, name).items():
            if workspace.parent == WORKSPACES.absolute():
                shutil.rmtree(workspace, ignore_errors=True)
            shutil.rmtree(note.parent, ignore_errors=True)


def reason(log: Path, start: int) -> str:
    """Return the last line after byte `start` of a log in which a stage says what is wrong, or else the last line."""
    text = log.read_bytes()[start:].decode(errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if line.startswith("error: ")), lines[-1] if lines else "it printed nothing")
