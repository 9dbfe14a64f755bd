"""What a training is: what decides its result, which names its folder, and what the folder says of it."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from annealed_lm.common.files import digests, file_sha256, read_json, write_json
from annealed_lm.training.import_closure import code_of, source_of

DESCRIPTION = "description.json"
NOT_DECISIVE = frozenset({"num_processes", "gradient_accumulation_steps", "checkpoint_every"})
"""Parameters that say how a machine carries a training out and not what is computed: into how many pieces it cuts a batch, which
changes rounding (and, of dropout, which units, by the same law), and how much a kill may cost. So a training that is queued again
on fewer GPUs goes on, each taking its part of the batch in more pieces. Decisive are how often rows of curves and models along
the way are written, for these are outputs, and `mixed_precision` and `compile`, which are chosen to be compared."""
SCHEMA = "annealed_lm/config"
"""Code that decides nothing but the values, which are compared themselves."""
SHOWN = 3
"""Differences of a kind that are named; of more, the number is."""
Code = dict[str, str]
"""sha256 of each file by its path from where imports start."""


def code_digests(script: Path) -> Code:
    """Return the digest of each of our files that `script` imports, and its own."""
    source = source_of(script)
    return {path.relative_to(source).as_posix(): file_sha256(path) for path in sorted(code_of(script, left_out=SCHEMA))}


def sha256_of(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def input_digest(path: Path) -> str:
    """Return one digest of all files of a folder, or of a file. Whoever reads an input says that it is not there."""
    return file_sha256(path) if path.is_file() else sha256_of(digests(path))


@dataclass(frozen=True)
class Ingredients:
    """What decides the result of a training.

    Attributes:
        parameters: those that decide it, by name.
        inputs: a digest of each, by the name that the stage has for it.
        code: of what it imports.
    """

    parameters: dict[str, Any]
    inputs: dict[str, str]
    code: Code

    @classmethod
    def of(cls, script: Path, parameters: Mapping[str, Any], inputs: Mapping[str, Path]) -> "Ingredients":
        """Return those of what `script` does with `parameters`, of which some may be `NOT_DECISIVE`, and `inputs`."""
        decisive = {name: value for name, value in parameters.items() if name not in NOT_DECISIVE}
        as_read = json.loads(json.dumps(decisive, default=str))  # so that they equal what a description gives back
        return cls(as_read, {name: input_digest(path) for name, path in inputs.items()}, code_digests(script))

    @property
    def key(self) -> str:
        """A hash of them, 32 hex digits."""
        return sha256_of(asdict(self))[:32]

    def differences(self, there: "Ingredients") -> dict[str, list[str]]:
        """Return what is not the same in those of another training, by kind; of parameters with both values."""
        names = differing(self.parameters, there.parameters)
        both = ((there.parameters.get(name, "absent"), self.parameters.get(name, "absent")) for name in names)
        return {
            "": [f"{name} ({theirs}, here {ours})" for name, (theirs, ours) in zip(names, both, strict=True)],
            "input ": differing(self.inputs, there.inputs),
            "code ": differing(self.code, there.code),
        }


def differing(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> list[str]:
    """Return the names whose values differ, or that only one of them has."""
    same = {name for name in ours.keys() & theirs.keys() if ours[name] == theirs[name]}
    return sorted((ours.keys() | theirs.keys()) - same)


def some(phrases: Sequence[str]) -> str:
    """Return the first few in one line, and how many more there are."""
    more = f" and {len(phrases) - SHOWN} more" if len(phrases) > SHOWN else ""
    return ", ".join(phrases[:SHOWN]) + more


@dataclass(frozen=True)
class TrainingDescription:
    """What a training is, for a person who looks at its folder and for whoever compares it with another.

    Attributes:
        stage: its name in dvc.yaml.
        trains: what it makes, in a few words.
        steps: how many it has.
        ingredients: what decides its result; None: left by code that did not write it down.
    """

    stage: str
    trains: str
    steps: int
    ingredients: Ingredients | None

    @classmethod
    def read(cls, folder: Path) -> "TrainingDescription | None":
        """Return what a folder says of itself, None if it says nothing that can be read, or is gone."""
        try:
            values = read_json(folder / DESCRIPTION)
            written = values.get("ingredients")
            found = cls(
                str(values["stage"]),
                str(values["trains"]),
                int(values["steps"]),
                None if written is None else Ingredients(**written),
            )
        except (FileNotFoundError, IsADirectoryError, ValueError, KeyError, TypeError, AttributeError):
            return None
        parts = () if found.ingredients is None else asdict(found.ingredients).values()
        return found if all(isinstance(part, dict) for part in parts) else None

    def write(self, folder: Path) -> None:
        write_json(folder / DESCRIPTION, asdict(self))

    def distance(self, there: "TrainingDescription") -> float:
        """Return the number of differences between what decides the two, infinity where one does not say it."""
        if self.ingredients is None or there.ingredients is None:
            return float("inf")
        return sum(map(len, self.ingredients.differences(there.ingredients).values()))

    def difference(self, there: "TrainingDescription") -> str:
        """Return in a phrase how another training differs from this one."""
        if self.ingredients is None or there.ingredients is None:
            return "does not say what decides it"
        kinds = self.ingredients.differences(there.ingredients)
        return "differs in " + "; ".join(kind + some(phrases) for kind, phrases in kinds.items() if phrases)
