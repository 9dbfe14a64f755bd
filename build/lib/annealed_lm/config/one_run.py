"""Notice that params.yaml has changed between two stages of one run of DVC: the run is told from others by its process.

A comparison with what dvc.lock says of earlier stages would not do: a single stage (-s) may run with other parameters.
"""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annealed_lm.common.files import read_json, write_json

LOCKS = Path(".dvc/tmp/rwlock")
"""Where DVC notes which process writes what in this checkout."""
NOTE = Path(".dvc/tmp/params_of_run.json")
FIRST_STAGE = "validate_params"
"""It runs whenever params.yaml has changed since the last run, before any other."""


def process_start(process: int) -> str | None:
    """Return when a process began, in the system's own count; None where it is gone, or the system does not say it."""
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19]
    except OSError:
        return None


def run_of_dvc() -> list[Any] | None:
    """Return what tells the run of DVC that this process is a stage of; None where that cannot be told, or there is none."""
    if "DVC_STAGE" not in os.environ:
        return None
    try:
        writers = {writer["pid"] for writer in json.loads(LOCKS.read_text(encoding="utf-8")).get("write", {}).values()}
    except (OSError, ValueError, KeyError, AttributeError, TypeError):
        return None
    running = [[process, start] for process in writers if (start := process_start(process)) is not None]
    return running[0] if len(running) == 1 else None


def values_of_run(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of params.yaml that the first stage of this run of DVC has read; those given, if this is the first.

    Args:
        values: of params.yaml now, as JSON knows them.
    """
    run = run_of_dvc()
    if run is None:
        return dict(values)
    try:
        noted = read_json(NOTE)
    except (OSError, ValueError):
        noted = {}
    if noted.get("run") == run and os.environ["DVC_STAGE"] != FIRST_STAGE:
        return dict(noted["values"])
    write_json(NOTE, {"run": run, "values": values})
    return dict(values)
