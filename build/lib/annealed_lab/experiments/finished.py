"""Find finished experiments as git keeps them: DVC makes each a commit under refs/exps/<2 hex>/<38 hex>/<name>.

A failed or unfinished one has no such commit, so numbers that it would inherit from its parent are never read.
"""

import re
import subprocess
from collections.abc import Iterator

from annealed_lm.common.errors import InputError

LAST_COMMIT = "HEAD"
EXPERIMENT_REF = re.compile(r"refs/exps/(?P<baseline>[0-9a-f]{2}/[0-9a-f]{38})/(?P<name>.+)")


def git(*arguments: str) -> str | None:
    """Run git and return what it prints, without white space around it; None where it fails. What is not UTF-8 becomes U+FFFD."""
    finished = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", errors="replace", check=False)
    return finished.stdout.strip() if finished.returncode == 0 else None


def finished_experiments() -> dict[str, str]:
    """Return commits by name, the oldest first; of several experiments of one name, on different baselines, the newest."""
    found: dict[str, str] = {}
    for ref, commit in listed_experiments():
        if match := EXPERIMENT_REF.fullmatch(ref):
            found.pop(match["name"], None)  # a newer one stands where it belongs
            found[match["name"]] = commit
    return found


def experiments_by_baseline() -> dict[str, dict[str, str]]:
    """Return, for each commit that experiments were made on, their commits by name, the oldest first; the last commit is one even
    without experiments, and stands first, then the newest.

    Raises:
        InputError: there is no commit.
    """
    last = git("rev-parse", LAST_COMMIT)
    if last is None:
        raise InputError("there is no commit here, and experiments are made on one")
    found: dict[str, dict[str, str]] = {}
    for ref, commit in listed_experiments():
        if match := EXPERIMENT_REF.fullmatch(ref):
            found.setdefault(match["baseline"].replace("/", ""), {})[match["name"]] = commit
    earlier = sorted(found.keys() - {last}, key=lambda baseline: int(git("show", "-s", "--format=%ct", baseline) or 0))
    return {last: found.get(last, {})} | {baseline: found[baseline] for baseline in reversed(earlier)}


def listed_experiments() -> Iterator[tuple[str, str]]:
    """Yield ref and commit of what DVC keeps under refs/exps, the oldest first."""
    listed = git("for-each-ref", "--sort=committerdate", "--format=%(refname) %(objectname)", "refs/exps") or ""
    for line in filter(None, listed.split("\n")):  # not splitlines() or split(): a name may hold any other white space
        ref, commit = line.rsplit(" ", 1)
        yield ref, commit


def commit_of(name: str) -> str:
    """Return the commit of an experiment, a branch, a tag or a commit; HEAD is git's, also where an experiment is called so.

    Raises:
        InputError: there is none of that name.
    """
    commit = (finished_experiments().get(name) if name != LAST_COMMIT else None) or git(
        "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}"
    )
    if commit is None:
        raise InputError(
            f"{name} is no finished experiment, branch or commit of this project; dvc exp list names the experiments"
        )
    return commit


def read_text_at(commit: str, path: str) -> str:
    """Return a file as it is in a commit, without white space around it.

    Raises:
        InputError: the commit has no such file.
    """
    text = git("show", f"{commit}:{path}")
    if text is None:
        raise InputError(f"commit {commit[:12]} has no {path}: it is not the result of an experiment of this version")
    return text
