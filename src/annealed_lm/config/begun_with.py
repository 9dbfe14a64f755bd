"""Whether params.yaml still is what a run by DVC began with: another run in the same checkout, or an edit, changes it."""

import os
from pathlib import Path
from typing import Any

from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import flat, read_yaml

FIRST_STAGE = "validate_params"


def require_unchanged(path: Path, values: Any) -> None:
    """Compare the parameters with those that the first stage of the run was given, as dvc.lock has them; outside DVC, do nothing.

    The stage that runs while they change goes on with those that it read. DVC notes the new ones with what it made, so the
    stages after it would be of other parameters.

    Raises:
        InputError: they differ.
    """
    lock = path.with_name("dvc.lock")
    if os.environ.get("DVC_STAGE", FIRST_STAGE) == FIRST_STAGE or not lock.exists():
        return
    params = read_yaml(lock)["stages"].get(FIRST_STAGE, {}).get("params", {})
    begun_with = params.get(path.name)
    if begun_with is None or begun_with == values:
        return
    before, now = flat(begun_with), flat(values)
    key = next(key for key in {**before, **now} if before.get(key) != now.get(key))
    raise InputError(
        f"{path} has changed since this run began ({key} is {now.get(key)}, was {before.get(key)}): a checkout takes one run at "
        "a time, and no edits meanwhile; run it again, and others with dvc exp run --temp"
    )
