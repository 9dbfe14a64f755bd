"""The tests of tests/gpu, run by pytest on the device."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from annealed_lab.gpu_report.items import Clock, Item, NotMeasuredError, Setting

LONGEST = 140.0
"""Seconds that all tests may take together, less than their item may: else pytest would not be ended with it."""
TESTS = Path("tests/gpu")


def test_items(setting: Setting) -> list[Item]:
    """Return the one item of all tests."""
    return [Item("tests/gpu", 40, run_tests, (TESTS, setting.out / "tests.xml", setting.clock))]


def run_tests(tests: Path, report: Path, clock: Clock) -> dict[str, Any]:
    """Run the tests of a folder and count how they ended; what a failure said stands beside its name.

    Raises:
        NotMeasuredError: pytest is not there, found no test, or took too long.
    """
    if find_spec("pytest") is None:
        raise NotMeasuredError("pytest is not installed")
    command = [sys.executable, "-m", "pytest", "-q", "--noconftest", "-p", "no:cacheprovider", f"--junitxml={report}", str(tests)]
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}  # those of another machine are none of these tests'
    report.unlink(missing_ok=True)
    try:
        done = subprocess.run(
            command, env=environment, timeout=min(LONGEST, clock.left()), capture_output=True, text=True, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise NotMeasuredError(f"the tests took more than {error.timeout:.0f} seconds") from error
    if not report.exists():
        raise NotMeasuredError(f"pytest ended with status {done.returncode}: {(done.stdout + done.stderr)[-800:]}")
    return outcomes(report)


def outcomes(report: Path) -> dict[str, Any]:
    """Return how many tests passed, failed and were skipped, and what those said that did not pass, of a JUnit report."""
    counts, told = {"passed": 0, "failed": 0, "skipped": 0}, {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        ends = {child.tag: child.get("message", "") for child in case if child.tag in ("failure", "error", "skipped")}
        kind = "skipped" if "skipped" in ends else "failed" if ends else "passed"
        counts[kind] += 1
        if ends:
            told[case.get("name", "")] = f"{kind}: {next(iter(ends.values()))[:400]}"
    return {**counts, "told": told}
