"""A study: what is compared, under which conditions and with which seeds, from one YAML file to the list of its points.

A point is one experiment: the whole of params.yaml, under a name. Points are ordered seed by seed, so a study that is cut short
has every variant and condition under the seeds that it got to.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError

from annealed_lm.common.errors import InputError
from annealed_lm.config.config import parse_config
from annealed_lm.config.sections import Section
from annealed_lm.config.types import PositiveInt, Seed, nearest, sentence, without_repeats
from annealed_lm.config.yaml_files import flat, merge_preset, read_mapping

NAME = re.compile(r"[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*")
"""What may stand in the name of an experiment, which is part of a git ref and of a path."""
SEED_KEY = "random_seed"

S = TypeVar("S", bound=Section)
Settings = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]
"""Dotted keys of params.yaml and their values; nothing: params.yaml as it is."""
Names = Annotated[list[str], Field(min_length=1), AfterValidator(without_repeats)]


class Grid(Section):
    """All variants x conditions x seeds named."""

    variants: Names
    conditions: Names
    seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(without_repeats)]


class StudyFile(Section):
    preset: str | None = None
    settings: Settings = Field(default_factory=dict)
    variants: Annotated[dict[str, Settings], Field(min_length=1)]
    conditions: Annotated[dict[str, Settings], Field(min_length=1)]
    grids: Annotated[list[dict[str, Any]], Field(min_length=1)]
    workers: PositiveInt = 1
    threads: PositiveInt | None = None


@dataclass(frozen=True)
class Point:
    """One experiment of a study.

    Attributes:
        name: study, variant, condition and seed.
        params: the whole of params.yaml.
    """

    name: str
    params: dict[str, Any]


@dataclass(frozen=True)
class Study:
    """What a study's file says.

    Attributes:
        workers: how many points run at a time.
        threads: how many threads each of them has on one machine; None: as many as there are cores for.
    """

    name: str
    points: list[Point]
    workers: int
    threads: int | None


def read_study(path: Path, params: Path) -> Study:
    """The study that the file at `path` describes, on top of the values in `params`. Every point is checked.

    Raises:
        InputError: the file, or a point of it, is not what it should be.
    """
    return study_of(path, read_mapping(path), params)


def study_of_schedules(name: str, schedules: Sequence[str], seeds: Sequence[int], params: Path) -> Study:
    """Return the study of these values of T_schedule and of random_seed, on top of the values in `params`.

    Raises:
        InputError: the name cannot be that of a study, or a value is not allowed.
    """
    variants = {schedule: {"T_schedule": schedule} for schedule in schedules}
    grid = {"variants": list(schedules), "conditions": ["default"], "seeds": list(seeds)}
    return study_of(Path(f"{name}.yaml"), {"variants": variants, "conditions": {"default": None}, "grids": [grid]}, params)


def study_of(path: Path, values: Mapping[str, Any], params: Path) -> Study:
    """Return the study of these keys and values; the path names it, also where there is no such file.

    Raises:
        InputError: as for `read_study`.
    """
    require_name(path.stem, f"the name of {path}")
    parsed = parse(StudyFile, values, str(path))
    grids = [parse(Grid, grid, f"{path}: grids.{number}") for number, grid in enumerate(parsed.grids)]
    base = read_mapping(params)
    if parsed.preset is not None:
        merge_preset(base, read_mapping(Path(parsed.preset)))
    override(base, parsed.settings, f"{path}: settings")
    for kind, named in (("variants", parsed.variants), ("conditions", parsed.conditions)):
        for name, settings in named.items():
            require_name(name, f"{path}: {kind}: the name {name}")
            override(deepcopy(base), settings, f"{path}: {kind}.{name}")
    points = list(points_of(path, parsed, grids, base))
    for point in points:
        parse_config(point.params, point.name)
    return Study(path.stem, points, parsed.workers, parsed.threads)


def points_of(path: Path, parsed: StudyFile, grids: list[Grid], base: dict[str, Any]) -> Iterator[Point]:
    """The points, each once.

    Raises:
        InputError: a grid names what is not there, or a variant and a condition contradict each other or share a name's end.
    """
    for number, grid in enumerate(grids):
        for kind, names, known in (
            ("variant", grid.variants, parsed.variants),
            ("condition", grid.conditions, parsed.conditions),
        ):
            for name in names:
                if name not in known:
                    raise InputError(
                        f"{path}: grids.{number} names the {kind} {name}, which is not one of {', '.join(known)}"
                        f"{nearest(name, list(known))}"
                    )
    made: dict[str, tuple[str, str, int]] = {}
    for seed in dict.fromkeys(seed for grid in grids for seed in grid.seeds):
        for grid in grids:
            for variant, condition in product(grid.variants, grid.conditions) if seed in grid.seeds else ():
                name = f"{path.stem}-{variant}-{condition}-{seed}"
                if (other := made.get(name)) == (variant, condition, seed):
                    continue
                if other is not None:
                    raise InputError(
                        f"{path}: the variant {variant} with the condition {condition}, and {other[0]} with {other[1]}, "
                        f"both make {name}: rename one of them"
                    )
                made[name] = (variant, condition, seed)
                require_apart(path, variant, parsed.variants[variant], condition, parsed.conditions[condition])
                params = deepcopy(base)
                override(params, parsed.variants[variant] | parsed.conditions[condition], name)
                yield Point(name, params | {SEED_KEY: seed})


def require_apart(path: Path, variant: str, varied: Mapping[str, Any], condition: str, conditional: Mapping[str, Any]) -> None:
    """Raises:
    InputError: both set the same parameter, so that it is not clear which of them holds.
    """
    if both := sorted(varied.keys() & conditional.keys()):
        raise InputError(f"{path}: the variant {variant} and the condition {condition} both set {both[0]}: only one of them may")


def override(params: dict[str, Any], settings: Mapping[str, Any], where: str) -> None:
    """Put values at dotted keys.

    Raises:
        InputError: `params` has no such key, or it is a section, or the seed, which belongs to the grids.
    """
    for key, value in settings.items():
        if key == SEED_KEY:
            raise InputError(f"{where} sets {SEED_KEY}, which the seeds of the grids do")
        section, known = params, list(flat(params))
        if key not in known:
            what = "is a section of params.yaml: name a key of it" if key in params else "is not in params.yaml"
            raise InputError(f"{where}.{key} {what}{nearest(key, known)}")
        *sections, last = key.split(".")
        for name in sections:
            section = section[name]
        section[last] = value


def parse(model: type[S], values: Any, source: str) -> S:
    """`values` as `model`.

    Raises:
        InputError: naming every key that is unknown, missing or of a bad value.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(sentence(each, source, model) for each in error.errors())) from error


def require_name(name: str, what: str) -> None:
    if not NAME.fullmatch(name) or name.endswith(".lock"):
        raise InputError(f"{what} should be letters, digits and _, with single - or . between, as the name of an experiment is")
