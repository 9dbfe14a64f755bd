"""Commit the results of this run, and nothing else, as the baseline that experiments are compared with.

Reads: dvc.lock, params.yaml, metrics/ and plots/, once dvc status says that they are those of the code and data here.
Writes: a commit of them on the branch. Experiments of earlier baselines stay: python src/lab.py show lists them.
Example: python src/lab.py baseline
"""

import argparse
import subprocess
from collections.abc import Sequence

from annealed_lab.experiments.checkout import check_branch, check_identity, check_repository, check_running
from annealed_lab.experiments.finished import git
from annealed_lm.common.errors import InputError

RESULTS = ("dvc.lock", "params.yaml", "metrics", "plots")
CODE = ("src", "dvc.yaml")
"""What results are computed by: a commit of results should have it as it was."""


def require_results() -> None:
    """Check that what would be committed is the whole result of what this checkout says.

    Raises:
        InputError: it is not, or another run is making it.
    """
    for finding in (check() for check in (check_repository, check_identity, check_branch, check_running)):
        if finding is not None:
            raise InputError(finding)
    if changed := (git("status", "--porcelain", "--", *CODE) or "").split("\n")[0]:
        raise InputError(f"code is not committed ({changed.split()[-1]}), and a baseline is of one code: git commit it first")
    status = subprocess.run(["dvc", "status"], capture_output=True, encoding="utf-8", check=False)
    if status.returncode or "up to date" not in status.stdout:
        first = next(iter((status.stdout or status.stderr).strip().splitlines()), "nothing was said").strip(" :")
        raise InputError(f"the results here are not those of params.yaml and the code ({first}): dvc exp run first")


def commit_results(message: str) -> None:
    """Commit the results, leaving what else is staged as it is.

    Raises:
        InputError: git refuses.
    """
    for command in (["git", "add", "--", *RESULTS], ["git", "commit", "--quiet", "--message", message, "--", *RESULTS]):
        done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
        if done.returncode:
            raise InputError(f"{' '.join(command[:2])} refuses: {' '.join((done.stderr or done.stdout).split())}")


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--message", default="Baseline", help="of the commit (%(default)s)")
    args = parser.parse_args(arguments)

    require_results()
    if not git("status", "--porcelain", "--", *RESULTS):
        print("these results are committed already: experiments are compared with them")
        return
    commit_results(args.message)
    print(f"committed as {git('rev-parse', '--short', 'HEAD')}: {', '.join(RESULTS)}")
    print("experiments are compared with it from now on; make show lists those of before below their own commit")
