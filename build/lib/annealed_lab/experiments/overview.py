"""Experiments a line each, below the commit that they were made on: how their texts came out, and what varied."""

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from ruamel.yaml import YAML

from annealed_lab.experiments.finished import LAST_COMMIT, experiments_by_baseline, git
from annealed_lm.common.files import one_line
from annealed_lm.config.last_commit import written
from annealed_lm.config.yaml_files import differences, flat

METRICS = ("grammatical", "perplexity", "mauve_train")
LOSS = "validation_loss"
NAME_CHARACTERS = 28


class Row(NamedTuple):
    """Hold the line of a commit.

    Attributes:
        title: of a baseline; the name of an experiment, indented.
        numbers: `METRICS` and `LOSS`, written.
        varied: in which values an experiment differs from its baseline.
    """

    title: str
    numbers: list[str]
    varied: str = ""


def overview() -> list[Row]:
    """Return the rows: the last commit with its experiments, then those of earlier commits."""
    rows = []
    for commit, experiments in experiments_by_baseline().items():
        values = read_values(commit)
        rows.append(Row(title(commit), numbers(commit, values)))
        for name, made in experiments.items():
            changed = read_values(made)
            rows.append(Row(f"  {shortened(one_line(name))}", numbers(made, changed), varied(changed, values)))
    return rows


def title(commit: str) -> str:
    """Return the name of a commit: the branch that it is the last of here, or its hash and day."""
    if commit == git("rev-parse", LAST_COMMIT):
        return shortened(f"HEAD ({git('rev-parse', '--abbrev-ref', LAST_COMMIT)})")
    return git("show", "-s", "--format=%h (%cs)", commit) or commit[:7]


def shortened(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS else f"{name[: NAME_CHARACTERS - 1]}…"


def read_values(commit: str) -> dict[str, Any]:
    """Return the parameters in a commit, none where it is of something else."""
    values = YAML(typ="safe", pure=True).load(git("show", f"{commit}:params.yaml") or "{}")
    return values if isinstance(values, dict) else {}


def numbers(commit: str, values: Mapping[str, Any]) -> list[str]:
    """Return what the texts of the first strategy score, and the validation loss; a dash where the commit does not say it."""
    samples, training = (json.loads(git("show", f"{commit}:metrics/{name}.json") or "{}") for name in ("samples", "training"))
    row = samples.get(next(iter(values.get("sample_texts", {}).get("strategies", ())), ""), {})
    found = [*(row.get(name) for name in METRICS), training.get(LOSS)]
    return ["-" if value is None else f"{value:.4g}" for value in found]


def varied(values: Mapping[str, Any], baseline: Mapping[str, Any]) -> str:
    """Return the values in which an experiment differs from its baseline, by the last part of their keys."""
    ours = flat(values)
    keys = differences(values, baseline)
    return ", ".join(f"{key.rpartition('.')[2]} {written(ours[key]) if key in ours else 'absent'}" for key in keys)
