"""Projects at tiny size: folders with the code, DVC and git, in which commands run as a user would type them."""

import fcntl
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from support.fork_server import FORKING, SHARED

ROOT = Path(__file__).parents[2]
STAGES: dict[str, dict[str, Any]] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]


def environment(forking: bool = True) -> dict[str, str]:
    """That of a command: with the Python and the DVC that are running this, or with what stands before them in tests."""
    programs = [str(Path(sys.executable).parent), os.environ["PATH"]]
    if forking and FORKING in os.environ:
        programs.insert(0, os.environ[FORKING])
    settings = {"PATH": os.pathsep.join(programs), "OMP_NUM_THREADS": "1", "DVC_NO_ANALYTICS": "1"}
    return os.environ | settings | {"DVC_SITE_CACHE_DIR": str(Path(os.environ[SHARED]) / "dvc")}


def attempt(folder: Path, *command: str, forking: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command in `folder`; its exit status and all that it prints, errors too, as `stdout`."""
    pipes: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, cwd=folder, env=environment(forking), text=True, check=False, **pipes)


def call(folder: Path, *command: str, forking: bool = True) -> str:
    """Run a command in `folder` that must succeed; all that it prints."""
    finished = attempt(folder, *command, forking=forking)
    assert finished.returncode == 0, f"{' '.join(command)}:\n{finished.stdout}"
    return finished.stdout


def refused(folder: Path, *command: str) -> str:
    """Run a command in `folder` that must fail; all that it prints."""
    finished = attempt(folder, *command)
    assert finished.returncode not in (0, None), f"{' '.join(command)} succeeded:\n{finished.stdout}"
    return finished.stdout


def commands(*stages: str) -> list[list[str]]:
    """What DVC runs for these stages."""
    return [STAGES[stage]["cmd"].split() for stage in stages]


def outs(stage: str) -> list[str]:
    return [out if isinstance(out, str) else next(iter(out)) for out in STAGES[stage]["outs"]]


def running(output: str) -> set[str]:
    """The stages that DVC ran, as it tells."""
    return set(re.findall(r"^Running stage '(\w+)'", output, flags=re.MULTILINE))


def from_cache(output: str) -> set[str]:
    return set(re.findall(r"^Stage '(\w+)' is cached", output, flags=re.MULTILINE))


def identify(folder: Path) -> Path:
    call(folder, "git", "config", "user.name", "test")
    call(folder, "git", "config", "user.email", "test@localhost")
    return folder


def commit(folder: Path, message: str) -> None:
    call(folder, "git", "add", "--all")
    call(folder, "git", "commit", "--quiet", "--message", message)


def clone(project: Path, folder: Path) -> Path:
    call(project, "git", "clone", "--quiet", str(project), str(folder))
    return identify(folder)


def copy_code(folder: Path) -> Path:
    """A copy of the working tree, at tiny size, in which nothing has run."""
    for name in call(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).exists() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    call(folder, "python", "src/lab.py", "preset", "presets/tiny.yaml", "--params", "params.yaml")
    return folder


def link_or_copy(source: str, target: str) -> None:
    """Let what git and DVC never write to again be one file."""
    if "/.git/objects/" in source or "/.dvc/cache/" in source:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def copy_project(project: Path, folder: Path) -> Path:
    """A copy of a project with its experiments and its cache, that neither has anything to do with after."""
    return shutil.copytree(
        project, folder, symlinks=True, copy_function=link_or_copy, ignore=shutil.ignore_patterns("__pycache__")
    )


def make_finished_project(folder: Path) -> None:
    """A project in which the default experiment and one of another T schedule, `linear`, have run.

    What DVC printed of them stands in the ignored files baseline.log and linear.log.
    """
    copy_code(folder)
    call(folder, "git", "init", "--quiet", "--initial-branch", "main")
    identify(folder)
    (folder / ".git" / "info" / "exclude").write_text("*.log\n")
    commit(folder, "code")
    (folder / "baseline.log").write_text(call(folder, "dvc", "exp", "run"))
    commit(folder, "baseline")
    output = call(folder, "dvc", "exp", "run", "--name", "linear", "--set-param", "T_schedule=linear")
    (folder / "linear.log").write_text(output)
    call(folder, "git", "checkout", "--force", "--quiet", "main")
    call(folder, "dvc", "checkout", "--quiet")


def finished_project() -> Path:
    """The project of `make_finished_project` that all tests of a run share: read it, change copies of it."""
    shared = Path(os.environ[SHARED])
    with (shared / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "made").exists():
            make_finished_project(shared / "project")
            (shared / "made").touch()
    return shared / "project"
