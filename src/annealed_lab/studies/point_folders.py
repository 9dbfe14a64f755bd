"""The folders in which stages run without DVC: what is linked into them, and what says that a result in them is whole."""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from annealed_lab.studies.plain_plans import Stage
from annealed_lm.common.files import atomic_path, read_json

FINISHED = ".finished"
"""Beside params.yaml: one file for each stage whose result is whole and was computed there."""


def code_files(base: Path) -> list[str]:
    files = [path for path in (base / "src").rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return ["dvc.yaml", *sorted(path.relative_to(base).as_posix() for path in files)]


def finished_key(folder: Path, stage: Stage) -> str | None:
    """The key of the result of a stage that was computed in a folder."""
    path = folder / FINISHED / f"{stage.name}.json"
    return str(read_json(path)["key"]) if path.exists() else None


def withdraw(folder: Path, stage: Stage, keep_links: bool = False) -> None:
    """Remove the result of a stage; first what says that it is whole."""
    (folder / FINISHED / f"{stage.name}.json").unlink(missing_ok=True)
    for out in stage.outs:
        if not (keep_links and (folder / out).is_symlink()):
            remove(folder / out)


def set_aside(folder: Path, stage: Stage, kept: Path) -> None:
    """Move the whole result of a stage, if the folder has one, to the folder of its key in `kept`.

    It is not what is wanted now, but it was computed, and will be wanted again when the input, the parameter or the code that
    made the difference is back.
    """
    key = finished_key(folder, stage)
    if key is None or any((folder / out).is_symlink() or not (folder / out).exists() for out in stage.outs):
        return
    target = kept / key
    for path in (*stage.outs, f"{FINISHED}/{stage.name}.json"):  # what says that it is whole comes last
        remove(target / path)
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).rename(target / path)


def remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def link(path: Path, target: Path) -> None:
    """Make `path` a relative link to `target`."""
    relative = os.path.relpath(target, path.parent)
    if path.is_symlink() and str(path.readlink()) == relative:
        return
    remove(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(relative)


def write_params(path: Path, params: Mapping[str, Any]) -> None:
    with atomic_path(path) as partial:
        YAML().dump(dict(params), partial)
