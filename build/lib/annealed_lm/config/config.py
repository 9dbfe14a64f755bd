"""params.yaml as typed, frozen values. There are no defaults here: params.yaml states the whole run."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar, cast

from pydantic import ValidationError, model_validator

from annealed_lm.annealing.settings import ScheduleSettings
from annealed_lm.annealing.weights import WeightSettings
from annealed_lm.common.errors import InputError
from annealed_lm.config.one_run import values_of_run
from annealed_lm.config.pairs import contradictions
from annealed_lm.config.sections import Parameters, Section, TrainDiffusion
from annealed_lm.config.types import contradiction, sentence
from annealed_lm.config.wording import shown
from annealed_lm.config.yaml_files import flat, read_yaml

Settings = TypeVar("Settings")
SHOWN = 3
"""Differences that are named; of more, the number is."""


def settings_from(section: Section, settings: type[Settings], **others: Any) -> Settings:
    """Return the dataclass `settings` with its fields taken from the parameters of the same names, and from `others`."""
    names = {field.name for field in fields(cast(Any, settings))} - others.keys()
    return settings(**{name: getattr(section, name) for name in names}, **others)


def schedule_settings(section: TrainDiffusion, T_schedule: str, power: float) -> ScheduleSettings:
    """Return what the distribution over timesteps of a training may depend on."""
    return settings_from(section, ScheduleSettings, T_schedule=T_schedule, power=power, total_steps=section.num_train_steps)


class Config(Parameters):
    """Parameters that fit together."""

    @model_validator(mode="after")
    def goes_together(self) -> "Config":
        """Check what the values are to each other (`pairs`)."""
        schedule = schedule_settings(self.train_diffusion, self.T_schedule, self.power)
        weights = settings_from(self.train_diffusion, WeightSettings)
        if found := list(contradictions(self, schedule, weights)):
            raise contradiction("; ".join(found))
        return self


def parse_config(values: Any, source: str = "params.yaml") -> Config:
    """Check `values` against the schema and return them as a `Config`.

    Raises:
        InputError: keys are unknown, missing, mistyped, out of range or contradictory; it names all of them, and what is allowed.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(sentence(each, source, Config) for each in error.errors())) from error


def read_params(path: Path) -> Any:
    """Return what params.yaml holds, unchecked.

    Raises:
        InputError: the file is absent, or not YAML.
    """
    return read_yaml(path, "; stages run from the project's root")


READ: dict[Path, Config] = {}
"""What this process read last from each file."""


def load_config(path: Path) -> Config:
    """Read params.yaml as DVC does (YAML 1.2: 1e-5 is a number, no is a string).

    Raises:
        InputError: the file is absent, not YAML, or does not fit the schema; or this is a stage of a run of DVC of which an
            earlier stage has read other values.
    """
    READ[path] = parse_config(read_params(path), path.name)
    now = flat(READ[path].model_dump(mode="json"))
    if found := changes(values_of_run(now), now):
        raise InputError(changed(path, "this run of DVC", found))
    return READ[path]


def require_unchanged(path: Path) -> None:
    """Check that params.yaml says what `load_config` read there, before a stage ends well.

    DVC notes down what stands there when a stage has ended. An edit meanwhile, or another `dvc exp run -S` in the same checkout,
    would be taken for what the outputs were made with.

    Raises:
        InputError: what has changed.
    """
    before = flat(READ[path].model_dump(mode="json"))
    try:
        found = changes(before, flat(parse_config(read_yaml(path), path.name).model_dump(mode="json")))
    except InputError as error:
        found = [str(error)]
    if found:
        raise InputError(changed(path, "this stage", found))


def changes(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return which values differ, in words."""
    keys = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    return [f"{key} from {shown(before.get(key))} to {shown(now.get(key))}" for key in keys]


def changed(path: Path, what: str, found: Sequence[str]) -> str:
    """Return the sentence on a file that has changed since something began."""
    more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
    return (
        f"{path.name} has changed since {what} began ({', '.join(found[:SHOWN])}{more}), by an edit or another dvc exp run in "
        "this checkout, and DVC would take the new values for those of the outputs: put the old ones back, or keep the new, and "
        "run again; checkpoints and finished stages are kept"
    )
