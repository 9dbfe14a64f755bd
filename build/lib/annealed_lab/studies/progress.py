"""How far a study is: a point is done if there is a finished experiment of its name with its parameters and this code."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from annealed_lab.experiments.finished import finished_experiments, git, read_text_at
from annealed_lab.studies.point_runs import Assignment
from annealed_lab.studies.points import Point
from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import differences, read_mapping, value_at


def done_points(points: Sequence[Point]) -> set[str]:
    """Return the names of the points that are done.

    Raises:
        InputError: there is a finished experiment of a point's name with other parameters, or of other code.
    """
    finished, code = finished_experiments(), stage_code()
    done = [point for point in points if point.name in finished]
    for point in done:
        require_same(point, finished[point.name], code)
    return {point.name for point in done}


def stage_code() -> list[str]:
    """Return the code that results depend on, as dvc.yaml lists it."""
    stages = read_mapping(Path("dvc.yaml"))["stages"].values()
    return sorted({dep for stage in stages for dep in stage.get("deps", ()) if dep.startswith("src/")})


def require_same(point: Point, commit: str, code: Sequence[str]) -> None:
    """Raises:
    InputError: the experiment in `commit` has other parameters than the point of its name, or is of other code."""
    found = YAML(typ="safe", pure=True).load(read_text_at(commit, "params.yaml"))
    if different := differences(point.params, found):
        key = different[0]
        ours, theirs = (described(values, key) for values in (point.params, found))
        raise InputError(
            f"there is a finished experiment {point.name} of other parameters ({key}: {theirs}, not {ours}): "
            f"rename the study, or dvc exp remove {point.name}"
        )
    if changed := (git("diff", "--name-only", commit, "HEAD", "--", *code) or "").split():
        raise InputError(
            f"{point.name} was computed with other code ({', '.join(changed[:3])}{', ...' if changed[3:] else ''}), and a study "
            f"should be of one: go on from that code, rename the study, or dvc exp remove {point.name}"
        )


def described(values: dict[str, Any], key: str) -> str:
    try:
        return str(value_at(values, key))
    except KeyError:
        return "absent"


def summary(study: str, count: int, missing: Sequence[Assignment]) -> str:
    """Return in a line how many points of a study are done, run, have failed and are left, and in one more each why it failed."""
    running = [assignment for assignment in missing if assignment.is_running()]
    failed = [assignment for assignment in missing if assignment.failure.exists() and assignment not in running]
    left = len(missing) - len(running) - len(failed)
    numbers = f"{count - len(missing)} done, {len(running)} running, {len(failed)} failed, {left} left"
    reasons = [f"{failure.name}: failed, see {failure.log}: {failure.failure.read_text().strip()}" for failure in failed]
    return "\n".join([*reasons, f"{study}: {count} points: {numbers}"])
