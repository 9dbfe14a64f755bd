"""A program in the place of dvc, which notes what it is asked and when, and ends as a file named behave-<experiment> says.

`install` puts it on PATH. An experiment takes a moment and succeeds, unless its file says `fail`; `nothing`: success without an
experiment; `edit`: edits params.yaml of the checkout; `long`: ends only by SIGINT, and removes the file; `late`: the same, but
has begun only after a second; `orphan`: is killed while a stage goes on for a second.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the program itself has only the standard library
    import pytest


EVENTS, ARGUMENTS = Path("events.txt"), Path("arguments.jsonl")
WORKSPACES = Path(".dvc/tmp/exps/standalone")
BASELINE = "refs/exps/ab/" + 38 * "0"


def install(folder: Path, monkeypatch: "pytest.MonkeyPatch") -> None:
    """Make `folder`, with this as dvc in it, the first of PATH."""
    folder.mkdir()
    script = f'#!/bin/sh\nexec {sys.executable} -S {Path(__file__).resolve()} "$@"\n'
    (folder / "dvc").write_text(script)
    (folder / "dvc").chmod(0o755)
    monkeypatch.setenv("PATH", os.pathsep.join([str(folder), str(Path(sys.executable).parent), os.environ["PATH"]]))


def events() -> list[str]:
    """Return what happened in the current folder, in order, as lines of `what name`."""
    return EVENTS.read_text().splitlines() if EVENTS.exists() else []


def wait_for(event: str, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while event not in events():
        assert time.monotonic() < deadline, f"{event} did not happen, but {events()}"
        time.sleep(0.02)


def most_at_a_time() -> int:
    """Return how many experiments were running at the same time."""
    running = most = 0
    for event in events():
        running += {"start": 1, "end": -1, "interrupted": -1}.get(event.split()[0], 0)
        most = max(most, running)
    return most


def git(*arguments: str, given: str = "") -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, encoding="utf-8", input=given).stdout.strip()


def add_experiment(name: str, params: str) -> None:
    """Leave a finished experiment with this params.yaml in git, as DVC does."""
    blob = git("hash-object", "-w", "--stdin", given=params)
    lines = [line for line in git("ls-tree", "HEAD").splitlines() if not line.endswith("\tparams.yaml")]
    tree = git("mktree", given="\n".join([*lines, f"100644 blob {blob}\tparams.yaml"]))
    git("update-ref", f"{BASELINE}/{name}", git("commit-tree", "-m", name, "-p", "HEAD", tree))


def note(event: str, name: str) -> None:
    with EVENTS.open("a") as file:
        file.write(f"{event} {name}\n")


def begin(name: str) -> Path:
    """Note, as DVC does, that an experiment has begun in a copy of the checkout."""
    workspace = (WORKSPACES / f"tmp{os.getpid()}").absolute()
    workspace.mkdir(parents=True)
    folder = WORKSPACES / "run" / f"{os.getpid()}"
    folder.mkdir(parents=True)
    (folder / f"{os.getpid()}.run").write_text(json.dumps({"name": name, "root_dir": str(workspace)}))
    note("begun", name)
    return workspace


def run_experiment(name: str) -> int:
    """Return the exit status."""
    file = Path(f"behave-{name}")
    behaviour = file.read_text() if file.exists() else "succeed"
    Path(f"parent-{name}").write_text(str(os.getppid()))
    note("start", name)
    if behaviour == "late":
        time.sleep(1)
    workspace = begin(name)
    if behaviour == "orphan":
        subprocess.Popen([sys.executable, "-S", __file__, "stage", name], start_new_session=True)
        os.kill(os.getpid(), signal.SIGKILL)
    status = 0
    try:
        time.sleep(60 if behaviour in ("long", "late") else 0.3)
        if behaviour == "fail":
            print("step 3\nerror: the loss is nan\nERROR: failed to reproduce 'train'", flush=True)
            status = 255
        elif behaviour != "nothing":
            params = Path(f"points/{name}.yaml")
            add_experiment(name, (params if params.exists() else Path("params.yaml")).read_text())
            if behaviour == "edit":
                Path("params.yaml").write_text("power: 4\n")
    except KeyboardInterrupt:
        file.unlink()
        note("interrupted", name)
        workspace.rmdir()
        return 255
    workspace.rmdir()
    note("end", name)
    return status


def main() -> int:
    arguments = sys.argv[1:]
    if arguments == ["cache", "dir"]:
        print(".dvc/cache")
        return 0
    if arguments[0] == "stage":
        time.sleep(1)
        note("stage-end", arguments[1])
        return 0
    with ARGUMENTS.open("a") as file:
        file.write(json.dumps(arguments) + "\n")
    return run_experiment(arguments[arguments.index("--name") + 1])


if __name__ == "__main__":
    sys.exit(main())
