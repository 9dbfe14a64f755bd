"""The stages of dvc.yaml without DVC: what is to run for a list of points, each result once.

A result's key is a hash of the command, the values of the parameters and the files of code that dvc.yaml declares, and the keys
of the results it reads. No path of a machine is in it, so results are known again where their folder was moved to.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annealed_lab.studies.points import Point
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import file_sha256
from annealed_lm.config.types import nearest
from annealed_lm.config.yaml_files import read_mapping, value_at

PARAMS = "params.yaml"


@dataclass(frozen=True)
class Stage:
    """An entry of dvc.yaml.

    Attributes:
        params: dotted keys of params.yaml.
        inputs: the deps that other stages write.
        files: the deps of the checkout: code, and data that no stage writes.
    """

    name: str
    command: str
    params: tuple[str, ...]
    inputs: tuple[str, ...]
    files: tuple[str, ...]
    outs: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """One result of a stage.

    Attributes:
        points: the names of all points that have this result.
        needs: the keys of the results that it reads, by the path at which it does.
        params: params.yaml of the first of the points.
    """

    stage: Stage
    key: str
    points: tuple[str, ...]
    needs: Mapping[str, str]
    params: Mapping[str, Any]


def read_stages(path: Path) -> list[Stage]:
    """The stages in an order in which they can run.

    One that takes the whole of params.yaml checks it and gives nothing else. It is left out: all points are checked before.
    """
    entries: dict[str, Any] = read_mapping(path)["stages"]
    checks = {name for name, entry in entries.items() if any(isinstance(each, dict) for each in entry.get("params", ()))}
    outs = {name: tuple(paths_of(entry.get("outs", ()))) for name, entry in entries.items()}
    constant = {out for name in checks for out in outs[name]}
    written = {out for name in outs.keys() - checks for out in outs[name]}
    stages = {}
    for name in outs:
        if name not in checks:
            deps = [dep for dep in entries[name].get("deps", ()) if dep not in constant]
            inputs = tuple(dep for dep in deps if dep in written)
            files = tuple(dep for dep in deps if dep not in written)
            stages[name] = Stage(name, entries[name]["cmd"], tuple(entries[name].get("params", ())), inputs, files, outs[name])
    return in_order(stages.values())


def paths_of(outs: Iterable[str | Mapping[str, Any]]) -> list[str]:
    """The paths of outs, some of which have options."""
    return [out if isinstance(out, str) else next(iter(out)) for out in outs]


def in_order(stages: Iterable[Stage]) -> list[Stage]:
    """The same stages, each after those whose outs it reads, else in the order given."""
    writers = writers_of(stages)
    ordered: dict[str, Stage] = {}

    def place(stage: Stage) -> None:
        for path in stage.inputs:
            place(writers[path])
        ordered.setdefault(stage.name, stage)

    for stage in stages:
        place(stage)
    return list(ordered.values())


def writers_of(stages: Iterable[Stage]) -> dict[str, Stage]:
    return {out: stage for stage in stages for out in stage.outs}


def needed_for(stages: Sequence[Stage], last: str | None) -> set[str]:
    """The names of the stage `last` and of all that it builds on; of every stage if it is None.

    Raises:
        InputError: there is no such stage.
    """
    names = [stage.name for stage in stages]
    if last is None:
        return set(names)
    if last not in names:
        raise InputError(f"--until {last} is not one of {', '.join(names)}{nearest(last, names)}")
    writers, needed = writers_of(stages), {last}
    for stage in reversed(stages):
        if stage.name in needed:
            needed |= {writers[path].name for path in stage.inputs}
    return needed


def plan(stages: Sequence[Stage], points: Sequence[Point], digest: Callable[[str], str]) -> dict[str, Task]:
    """Every result by its key, those of the first point first, each after what it reads.

    Args:
        digest: a hash of the content at a path of the checkout.
    """
    digests = {path: digest(path) for path in sorted({path for stage in stages for path in stage.files})}
    writers = writers_of(stages)
    tasks: dict[str, Task] = {}
    for point in points:
        keys: dict[str, str] = {}
        for stage in stages:
            needs = {path: keys[writers[path].name] for path in stage.inputs}
            values = {key: value_at(point.params, key) for key in stage.params}
            content = [stage.name, stage.command, values, {path: digests[path] for path in stage.files}, needs]
            key = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:32]
            keys[stage.name] = key
            sharing = (*tasks[key].points, point.name) if key in tasks else (point.name,)
            params = tasks[key].params if key in tasks else point.params
            tasks[key] = Task(stage, key, sharing, needs, params)
    return tasks


def content_digest(path: Path) -> str:
    """A hash of a file, or of the names and contents of all files in a folder."""
    if path.is_file():
        return file_sha256(path)
    digest = hashlib.sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        digest.update(f"{file.relative_to(path).as_posix()} {file_sha256(file)}\n".encode())
    return digest.hexdigest()
