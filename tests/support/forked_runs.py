"""Runs of the stage train_diffusion, forked from one process that has imported it, each of which may die at a given moment.

As a script, it reads one run a line from its standard input and answers with a line each, the exit status.
"""

import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from support.projects import ROOT, environment

Tick = Callable[[], None]
"""Called at each of the moments of a kind; one of the calls does not come back."""


def before_the_bytes(tick: Tick) -> None:
    save = torch.save

    def dying(content: Any, file: Any) -> None:
        tick()
        save(content, file)

    torch.save = dying


def among_the_bytes(tick: Tick) -> None:
    save = torch.save

    def dying(content: Any, file: Any) -> None:
        whole = io.BytesIO()
        save(content, whole)
        half = len(whole.getvalue()) // 2
        file.write(whole.getvalue()[:half])
        file.flush()
        tick()
        file.write(whole.getvalue()[half:])

    torch.save = dying


def before_the_rename(tick: Tick) -> None:
    fsync = os.fsync

    def dying(file: int) -> None:
        fsync(file)
        tick()

    os.fsync = dying


def at_renames(concerns: Callable[[Path], bool], before: Tick, after: Tick) -> None:
    replace = Path.replace

    def dying(path: Path, target: Path) -> Path:
        concerned = concerns(target)
        if concerned:
            before()
        renamed = replace(path, target)
        if concerned:
            after()
        return renamed

    Path.replace = dying  # type: ignore[method-assign]


def after_the_rename(tick: Tick) -> None:
    at_renames(lambda target: target.name == "checkpoint.pt", lambda: None, tick)


def at_an_output(tick: Tick) -> None:
    at_renames(lambda target: "resume" not in target.parts, tick, lambda: None)


MOMENTS = {
    moment.__name__: moment for moment in (before_the_bytes, among_the_bytes, before_the_rename, after_the_rename, at_an_output)
}


def die_at(moment: str, count: int) -> None:
    """Let this process be killed when a moment of the kind comes for the `count`-th time."""
    left = iter(range(count - 1))

    def tick() -> None:
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    MOMENTS[moment](tick)


def run_stage(arguments: list[str], log: Path) -> int:
    """The stage's exit status; what it prints goes to `log`."""
    import train_diffusion
    from annealed_lm.common.errors import one_sentence_errors

    sys.argv = ["train_diffusion.py", *arguments]
    with log.open("a") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    try:
        with one_sentence_errors():
            train_diffusion.main()
    except SystemExit as end:
        print(end, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    return 0


def serve() -> None:
    import train_diffusion  # noqa: F401  (once, for all runs)

    print("ready", flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        process = os.fork()
        if process == 0:
            status = 2
            try:
                if order["moment"] is not None:
                    die_at(order["moment"], order["count"])
                status = run_stage(order["arguments"], Path(order["log"]))
            finally:
                sys.stderr.flush()
                os._exit(status)
        if order["signal"] is not None:
            time.sleep(order["seconds"])
            os.kill(process, order["signal"])  # not yet waited for, so it is there, if only as a zombie
        print(os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]), flush=True)


class ForkedRuns:
    """The process that forks the runs."""

    def __init__(self, server: subprocess.Popen[str]) -> None:
        self.server = server

    def run(
        self,
        arguments: list[str],
        log: Path,
        moment: str | None = None,
        count: int = 1,
        send: signal.Signals | None = None,
        after: float = 0.0,
    ) -> int:
        """Exit status of a run that dies at the `count`-th `moment`, or is sent a signal `after` so many seconds, or ends."""
        order = {"arguments": arguments, "log": str(log), "moment": moment, "count": count, "signal": send, "seconds": after}
        assert self.server.stdin is not None
        assert self.server.stdout is not None
        self.server.stdin.write(json.dumps(order) + "\n")
        self.server.stdin.flush()
        return int(self.server.stdout.readline())


@contextmanager
def forked_runs() -> Iterator[ForkedRuns]:
    variables = environment() | {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT / "tests")])}
    variables.pop("DVC_ROOT", None)
    command = ["python", __file__]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield ForkedRuns(server)
        server.stdin.close()


if __name__ == "__main__":
    serve()
