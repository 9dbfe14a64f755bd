"""DVC's queue of experiments, asked through its command line, so that nothing here needs DVC to be imported.

A command of DVC runs in a session of its own: one that is interrupted while it puts an experiment into the queue would leave
git's HEAD detached.
"""

import os
import re
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from annealed_lab.studies.points import differences
from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import value_at

QUEUED, RUNNING, FAILED, SUCCESS = "Queued", "Running", "Failed", "Success"
STATES = (QUEUED, RUNNING, FAILED, SUCCESS)
WORKERS = "Worker status: "
WORKER_FOLDER = Path(".dvc/tmp/exps/celery")
PUT_ATTEMPTS = 10
NOT_RUNNING = "valid running experiment name"
"""What DVC says when it is asked to interrupt what has ended."""


@dataclass(frozen=True)
class QueueStatus:
    """What is in the queue.

    Attributes:
        tasks: a name and a state each; a name may be there several times.
        workers: processes that run experiments from the queue.
    """

    tasks: tuple[tuple[str, str], ...]
    workers: int

    def names(self, *states: str) -> list[str]:
        return [name for name, state in self.tasks if state in states]


class ExperimentQueue:
    """The queue of the checkout that is the current folder; `threads` is how many each experiment has."""

    def __init__(self, threads: int) -> None:
        self.environment = os.environ | {"OMP_NUM_THREADS": str(threads), "DVC_NO_ANALYTICS": "1"}

    def ask(self, *arguments: str) -> str:
        """What a dvc command prints.

        Raises:
            InputError: it fails, or there is no dvc.
        """
        with TemporaryFile("w+", encoding="utf-8") as printed:  # a pipe would stay open as long as a worker that it starts
            try:
                finished = subprocess.run(
                    ["dvc", *arguments],
                    env=self.environment,
                    stdin=subprocess.DEVNULL,
                    stdout=printed,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    check=False,
                )
            except FileNotFoundError as error:
                raise InputError(
                    "dvc is not installed here: pip install -r requirements.txt, or use --without-dvc FOLDER"
                ) from error
            printed.seek(0)
            text = printed.read()
        if finished.returncode:
            told = [line for line in text.splitlines() if line.startswith("ERROR")] or [
                " ".join(text.split()) or "it told nothing"
            ]
            raise InputError(f"dvc {' '.join(arguments)} failed: {'; '.join(told)}")
        return text

    def status(self) -> QueueStatus:
        """DVC counts workers that answer it at once; a busy one may not, and one that is about to end no longer does."""
        answered = parse_status(self.ask("queue", "status"))
        return replace(answered, workers=max(answered.workers, living_workers()))

    def put(self, name: str, params: Mapping[str, Any], workspace: Mapping[str, Any]) -> None:
        """Queue an experiment with `params`, which the workspace has as `workspace`.

        Raises:
            InputError: DVC refuses, also when asked again: it does while an experiment begins or is queued by someone else.
        """
        settings = [part for each in overrides(params, workspace) for part in ("--set-param", each)]
        for attempt in range(1, PUT_ATTEMPTS + 1):
            try:
                self.ask("exp", "run", "--queue", "--name", name, *settings)
                return
            except InputError as error:
                if attempt == PUT_ATTEMPTS or not re.search("lock|busy", str(error)):
                    raise
                time.sleep(1)

    def cache_folder(self) -> Path:
        """Where DVC keeps results."""
        return Path(self.ask("cache", "dir").strip())

    def start(self, workers: int) -> None:
        """See to it that so many workers take experiments from the queue."""
        self.ask("queue", "start", "--jobs", str(workers))

    def stop(self) -> None:
        """Let the workers end after what they run now."""
        self.ask("queue", "stop")

    def interrupt(self, names: Iterable[str]) -> None:
        """Interrupt running experiments; trainings save a checkpoint. One whose worker is dead becomes a failed one."""
        try:
            self.ask("queue", "kill", *names)
        except InputError as error:
            if NOT_RUNNING not in str(error):  # else one has ended since it was looked at
                raise

    def has_log(self, name: str) -> bool:
        """Whether an experiment that failed had begun."""
        try:
            self.ask("queue", "logs", name)
        except InputError:
            return False
        return True

    def remove(self, names: Iterable[str]) -> None:
        """Take experiments that are not running from the queue; the finished ones stay experiments."""
        self.ask("queue", "remove", *names)


def living_workers() -> int:
    """How many of the workers whose process ids DVC noted are alive."""
    return sum(is_worker(path) for path in WORKER_FOLDER.glob("*.pid"))


def is_worker(noted: Path) -> bool:
    """Whether the process whose id a file holds runs, and is a worker where this can be told. Both may vanish meanwhile."""
    try:
        process = int(noted.read_text())
        if Path("/proc/self").exists():
            return b"queue-worker" in Path(f"/proc/{process}/cmdline").read_bytes()
        os.kill(process, 0)
    except (OSError, ValueError):
        return False
    return True


def parse_status(printed: str) -> QueueStatus:
    """What `dvc queue status` prints: a table of task, name (where it has one), time and state, and a line on the workers."""
    tasks, workers = [], 0
    for line in printed.splitlines():
        words = line.split()
        if line.startswith(WORKERS):
            workers = sum(int(word) for word in words if word.isdecimal())
        elif len(words) > 2 and words[-1] in STATES:
            tasks.append((words[1], words[-1]))
    return QueueStatus(tuple(tasks), workers)


def overrides(params: Mapping[str, Any], workspace: Mapping[str, Any]) -> list[str]:
    """What `dvc exp run --set-param` needs to make `workspace` into `params`, which has the same keys."""
    return [f"{key}={rendered(value_at(params, key))}" for key in differences(params, workspace)]


def rendered(value: Any) -> str:
    """A value in the grammar of DVC's --set-param, which is Hydra's."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{escaped(value)}'"
    if isinstance(value, Sequence):
        return f"[{','.join(rendered(each) for each in value)}]"
    return repr(value)


def escaped(text: str) -> str:
    """Backslashes are literal, but not before a quote: neither one in the text nor the one that closes it."""
    return re.sub(r"(\\+)(?='|\Z)", r"\1\1", text).replace("'", r"\'")
