"""Check what could go wrong in the next run of this checkout: a check returns what it found in a sentence, or None."""

import json
import os
import re
import shlex
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from urllib.parse import unquote, urlsplit

from annealed_lab.experiments.finished import git
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import one_line, partials
from annealed_lm.common.machine import processor
from annealed_lm.config.config import load_config

NEEDED_DISK_GB = 2
PLACEHOLDER = "annealed_lm@localhost"  # set by `make run` where git has no identity
NVIDIA_DRIVER = Path("/proc/driver/nvidia/version")
NOTES_OF_RUNS = (Path(".dvc/tmp/rwlock"), Path(".dvc/tmp/exps/run/workspace/workspace.json"))
"""Where DVC notes which processes run stages, or an experiment, in the checkout itself."""
FOLDERS_OF_OUTPUTS = ("data", "models", "metrics", "plots")


def check_params() -> str | None:
    try:
        load_config(Path("params.yaml"))
    except InputError as error:
        return str(error)
    return None


def check_repository() -> str | None:
    if not git("rev-parse", "--git-dir"):
        return "this folder is no git repository, and DVC keeps experiments in git: clone the project instead of copying it"
    if not git("rev-parse", "HEAD"):
        return "there is no commit yet, and an experiment is compared with one: git commit"
    if git("rev-parse", "--is-shallow-repository") == "true":
        return "this clone is shallow, and DVC loses experiments of such a one without an error: git fetch --unshallow"
    return None


def check_path() -> str | None:
    path = str(Path.cwd())  # as the system knows it, without links
    if path.isascii() and unquote(urlsplit(f"file://{path}").path) == path:
        return None
    return (
        f"experiments in a copy of the checkout (--temp, queue, studies) fail or are lost under {one_line(path)}, which DVC "
        "writes as an address: move the clone to a path of plain ASCII letters without # ? %"
    )


def is_running(process: int) -> bool:
    """Return whether a process runs and, where this can be told, is one of DVC's: ids come again."""
    try:
        if Path("/proc/self").exists():
            return b"dvc" in Path(f"/proc/{process}/cmdline").read_bytes()
        os.kill(process, 0)
    except OSError:
        return False
    return True


def check_running() -> str | None:
    notes = "".join(path.read_text(encoding="utf-8") for path in NOTES_OF_RUNS if path.is_file())
    running = [process for process in sorted(set(re.findall(r'"pid": (\d+)', notes))) if is_running(int(process))]
    if not running:
        return None
    return (
        f"DVC runs in this checkout (process {', '.join(running)}); a second run here, or an edit of params.yaml, would spoil "
        "what it makes: wait for it, or use dvc exp run --temp"
    )


def check_identity() -> str | None:
    name, email = (git("config", f"user.{key}") for key in ("name", "email"))
    if not (name and email):
        return "git lacks user.name or user.email, and DVC keeps experiments as commits: git config --global user.email ADDRESS"
    if email == PLACEHOLDER and git("config", "--global", "user.email"):
        return "this clone still has a placeholder for its git identity: git config --local --remove-section user"
    return None


def check_branch() -> str | None:
    if git("rev-parse", "HEAD") and not git("symbolic-ref", "-q", "HEAD"):
        before = git("rev-parse", "--abbrev-ref", "@{-1}")
        branch = before if before and git("show-ref", f"refs/heads/{before}") else "main"
        return f"HEAD is detached, as an experiment that was killed leaves it: git checkout {branch}"
    return None


def check_stash() -> str | None:
    """Tell of the newest stash without a message of its own, such as DVC makes while it writes an experiment."""
    found = re.search(r"^stash@\{(\d+)\}: WIP on .*", git("stash", "list") or "", re.MULTILINE)
    if found is None:
        return None
    first, number = "", int(found[1])
    if git("status", "--porcelain", "--untracked-files=no"):  # what DVC had written over them is in the way
        first, number = "git stash push -m 'left by DVC' && ", number + 1
    return (
        f"edits lie in git's stash ({found[0]}), as a dvc exp run that is killed leaves them; git stash show -p {found[1]} shows "
        f"them, and to have them back: {first}git stash pop stash@{{{number}}}"
    )


def check_machine() -> str | None:
    text = git("show", "HEAD:metrics/machine.json")
    committed = json.loads(text)["processor"] if text else processor()
    if committed == processor():
        return None
    return (
        f"the committed results are of another machine ({committed}; here {processor()}), which rounds differently, like another "
        "seed: make run and make baseline, before you compare with them"
    )


def check_untracked_code() -> str | None:
    files = (git("ls-files", "--others", "--exclude-standard", "--", "*.py") or "").splitlines()
    return (
        f"experiments in a copy of the checkout (--temp, studies) will not see {', '.join(files)}: git add them"
        if files
        else None
    )


def check_python() -> str | None:
    found = shutil.which("python")
    if found is None or Path(found).parent.resolve() != Path(sys.executable).parent.resolve():
        return f"stages would run with {found or 'no python at all'}, not with {sys.executable}: source .venv/bin/activate"
    return None


def check_packages() -> str | None:
    requirements = Path("requirements.txt")
    if not requirements.is_file():
        return f"{requirements} is not there: this runs from the project's root"
    lines = requirements.read_text(encoding="utf-8").splitlines()
    wrong = []
    for name, pinned in (line.split()[0].split("==") for line in lines if "==" in line):
        try:
            installed = version(name).split("+")[0]  # torch names its build after a plus
        except PackageNotFoundError:
            installed = "missing"
        if installed != pinned:
            wrong.append(f"{name} is {installed}, not {pinned}")
    return f"{'; '.join(wrong)}: pip install -r requirements.txt" if wrong else None


def check_gpu() -> str | None:
    """Return what keeps torch from a GPU that the system has a driver for: everything would run on the CPU, and be slow."""
    if not NVIDIA_DRIVER.exists():
        return None
    import torch  # which takes seconds, so only where it can tell something

    if torch.cuda.is_available():
        return None
    built = f"CUDA {torch.version.cuda}" if torch.version.cuda else "CPUs alone"
    return (
        f"there is an NVIDIA driver, and torch {torch.__version__}, built for {built}, finds no GPU: everything would run on the "
        "CPU; a torch for this driver in .venv mends it, if CUDA_VISIBLE_DEVICES does not hide the GPU"
    )


def check_disk() -> str | None:
    free = shutil.disk_usage(".").free / 1e9
    return (
        f"{free:.1f} GB are free, a run wants {NEEDED_DISK_GB}: dvc gc --all-commits --all-experiments, make clean"
        if free < NEEDED_DISK_GB
        else None
    )


def check_leftovers() -> str | None:
    experiments = Path(".dvc/tmp/exps")
    workspaces = [*experiments.glob("tmp*"), *experiments.glob("standalone/tmp*")]
    halves = [path for folder in FOLDERS_OF_OUTPUTS for path in partials(Path(folder))]
    folder = Path(git("rev-parse", "--git-common-dir") or ".git")
    locks = [*folder.glob("*.lock"), *(folder / "refs").rglob("*.lock")]
    found = {"workspaces of experiments": workspaces, "half-written outputs": halves, "locks of git": locks}
    if not any(found.values()):
        return None
    kinds = " and ".join(kind for kind, paths in found.items() if paths)
    paths = " ".join(shlex.quote(str(path)) for paths in found.values() for path in paths)
    return f"killed runs left {kinds}; if nothing is running now: rm -rf {paths}"
