"""What dvc.lock, as it is committed, promises: the results of stages, by their hashes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def absent_results(lock: Mapping[str, Any], cache: Path, root: Path) -> list[str]:
    """Return the stages with a result that is neither in DVC's cache nor in the checkout, as git keeps those of `cache: false`.

    DVC computes such a stage again for every experiment for which it is unchanged, unless what it computes has the very hash that
    dvc.lock names, and another kind of processor gives other bytes.

    Args:
        lock: the content of dvc.lock.
        cache: DVC's, which holds a file of hash abcd... as files/md5/ab/cd...
        root: of the checkout.
    """
    return [
        stage
        for stage, entry in lock.get("stages", {}).items()
        if any(not is_there(out, cache, root) for out in entry.get("outs", ()))
    ]


def is_there(out: Mapping[str, Any], cache: Path, root: Path) -> bool:
    digest = str(out.get("md5", ""))
    return (cache / "files" / "md5" / digest[:2] / digest[2:]).exists() or (root / out["path"]).exists()
