"""Check what could go wrong in the next run of this checkout: a check returns what it found in a sentence, or None."""

import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from annealed_lab.experiments.finished import git
from annealed_lm.common.errors import InputError
from annealed_lm.config.config import load_config

NEEDED_DISK_GB = 2
PLACEHOLDER = "annealed_lm@localhost"  # set by `make run` where git has no identity


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
    return None


def check_identity() -> str | None:
    name, email = (git("config", f"user.{key}") for key in ("name", "email"))
    if not (name and email):
        return "git lacks user.name or user.email, and DVC keeps experiments as commits: git config --global user.email ADDRESS"
    if email == PLACEHOLDER and git("config", "--global", "user.email"):
        return "this clone still has a placeholder for its git identity: git config --local --remove-section user"
    return None


def check_branch() -> str | None:
    if git("rev-parse", "HEAD") and not git("symbolic-ref", "-q", "HEAD"):
        return "HEAD is detached, as an experiment that was killed leaves it: git checkout main"
    return None


def check_untracked_code() -> str | None:
    files = (git("ls-files", "--others", "--exclude-standard", "--", "*.py") or "").splitlines()
    return f"experiments in a copy of the checkout (--temp, studies) will not see {', '.join(files)}: git add" if files else None


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


def check_disk() -> str | None:
    free = shutil.disk_usage(".").free / 1e9
    return (
        f"{free:.1f} GB are free, a run wants {NEEDED_DISK_GB}: dvc gc --all-commits, make clean"
        if free < NEEDED_DISK_GB
        else None
    )


def check_leftovers() -> str | None:
    experiments = Path(".dvc/tmp/exps")
    workspaces = [str(path) for path in [*experiments.glob("tmp*"), *experiments.glob("standalone/tmp*")]]
    if workspaces:
        return f"killed experiments left workspaces; if none is running now: rm -rf {' '.join(workspaces)}"
    return None
