"""What dvc.lock, as it is committed, promises: the results of stages, by their hashes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annealed_lm.config.yaml_files import flat


def absent_results(lock: Mapping[str, Any], params: Mapping[str, Any], cache: Path, root: Path) -> list[str]:
    """Return the stages of these parameters with a result that is neither in DVC's cache nor, as without one, in the checkout.

    DVC computes such a stage again for every experiment for which it is unchanged, unless what it computes has the very hash that
    dvc.lock names, and another kind of processor gives other bytes.

    Args:
        lock: the content of dvc.lock.
        params: those of an experiment.
        cache: DVC's, which holds a file of hash abcd... as files/md5/ab/cd...
        root: of the checkout.
    """
    return [
        stage
        for stage, entry in lock.get("stages", {}).items()
        if has_params(entry, params) and any(not is_there(out, cache, root) for out in entry.get("outs", ()))
    ]


def has_params(entry: Mapping[str, Any], params: Mapping[str, Any]) -> bool:
    given = flat(params)
    return all(given.get(key) == value for key, value in flat(entry.get("params", {}).get("params.yaml", {})).items())


def is_there(out: Mapping[str, Any], cache: Path, root: Path) -> bool:
    digest = str(out.get("md5", ""))
    return (cache / "files" / "md5" / digest[:2] / digest[2:]).exists() or (root / out["path"]).exists()
