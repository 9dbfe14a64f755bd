"""Check what could go wrong in the next run, before it: a line for every check, exit status 1 if one of them found something.

With --before-run only what concerns a run in this checkout that is about to begin: nothing is said of what is well, and exit
status 1 means that its experiment would be lost, or spoil another one.

Reads: the checkout, its git and what DVC left. Writes: nothing.
Example: python src/lab.py doctor
"""

import argparse
from collections.abc import Callable, Sequence

from annealed_lab.experiments.checkout import (
    check_branch,
    check_disk,
    check_gpu,
    check_identity,
    check_leftovers,
    check_machine,
    check_packages,
    check_params,
    check_path,
    check_python,
    check_repository,
    check_running,
    check_stash,
    check_untracked_code,
)

CHECKS: dict[str, Callable[[], str | None]] = {
    "params.yaml": check_params,
    "git repository": check_repository,
    "git identity": check_identity,
    "git branch": check_branch,
    "git stash": check_stash,
    "results": check_machine,
    "path": check_path,
    "other runs": check_running,
    "untracked code": check_untracked_code,
    "python": check_python,
    "packages": check_packages,
    "gpu": check_gpu,
    "disk": check_disk,
    "leftovers": check_leftovers,
}
DECISIVE = (check_repository, check_running)
TOLD = (check_path,)
"""A run in the checkout itself ends well in any path: it is not kept from running, but the next one may be a --temp one."""


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before-run", action="store_true", help="only what a run that is about to begin has to know")
    args = parser.parse_args(arguments)

    if args.before_run:
        findings = {name: check() for name, check in CHECKS.items() if check in (*DECISIVE, *TOLD)}
        shown = {name: finding for name, finding in findings.items() if finding is not None}
        bad = [name for name in shown if CHECKS[name] in DECISIVE]
    else:
        shown = {name: check() or "ok" for name, check in CHECKS.items()}
        bad = [name for name, finding in shown.items() if finding != "ok"]
    for name, finding in shown.items():
        print(f"{name:16}{finding}")
    if bad:
        raise SystemExit(1)
