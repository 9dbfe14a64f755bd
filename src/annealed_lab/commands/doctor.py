"""Check what could go wrong in the next run, before it: a line for every check, exit status 1 if one of them found something."""

import argparse
from collections.abc import Callable, Sequence

from annealed_lab.experiments.checkout import (
    check_branch,
    check_disk,
    check_identity,
    check_leftovers,
    check_packages,
    check_params,
    check_python,
    check_repository,
    check_untracked_code,
)

CHECKS: dict[str, Callable[[], str | None]] = {
    "params.yaml": check_params,
    "git repository": check_repository,
    "git identity": check_identity,
    "git branch": check_branch,
    "untracked code": check_untracked_code,
    "python": check_python,
    "packages": check_packages,
    "disk": check_disk,
    "leftovers": check_leftovers,
}


def main(program: str, arguments: Sequence[str]) -> None:
    argparse.ArgumentParser(program, description=__doc__).parse_args(arguments)
    findings = {name: check() for name, check in CHECKS.items()}
    for name, finding in findings.items():
        print(f"{name:16}{finding or 'ok'}")
    if any(findings.values()):
        raise SystemExit(1)
