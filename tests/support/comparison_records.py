"""Records of experiments that never ran: folders of the right layout with numbers drawn from the seed."""

import json
import math
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
from ruamel.yaml import YAML

from annealed_lab.comparison.variant_groups import Member, member
from annealed_lab.experiments.records import read_record

ROOT = Path(__file__).parents[2]
DEFAULTS: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "params.yaml")
BINS = ("under -4", "-4 to 0", "0 to 4", "over 4")
TEXTS = 4


def parameters(changes: Mapping[str, Any]) -> dict[str, Any]:
    """params.yaml of the project with the values at dotted keys changed."""
    values = deepcopy(DEFAULTS)
    for key, value in changes.items():
        *sections, name = key.split(".")
        section = values
        for each in sections:
            section = section[each]
        section[name] = value
    return values


def evaluation(values: Mapping[str, Any], scores: Mapping[str, float]) -> dict[str, Any]:
    """metrics/evaluation.json of one run with these scores."""
    sampling, references = values["sample_texts"], values["prepare_references"]
    bounds = {
        "control": {"grammatical": 0.2, "perplexity_corpus": 34.0, "mauve_train": 0.5, "diversity": 0.1},
        "ceiling": {"grammatical": 1.0, "perplexity_corpus": 4.0, "mauve_train": 0.9, "diversity": 0.1},
    }
    settings = {
        "dataset_name": values["dataset_name"],
        "fingerprint": f"of {values['dataset_name']}",
        "num_samples": sampling["num_samples"],
        "eval_seeds": sampling["eval_seeds"],
        "reference_seed": references["seed"],
        "perplexity": {"name": "judge", "sha256": "c6" * 32},
    }
    rows = {strategy: entries(scores) for strategy in sampling["strategies"]}
    return {
        "settings": settings,
        "sampling": {key: sampling[key] for key in ("num_samples", "eval_seeds", "strategies", "sampling_timesteps")},
        "samples": rows,
        "references": {"train_train": entries(bounds["ceiling"])}
        | {bound: {strategy: entries(values) for strategy in sampling["strategies"]} for bound, values in bounds.items()},
    }


def entries(scores: Mapping[str, float]) -> dict[str, dict[str, float]]:
    return {name: {"value": value} for name, value in scores.items()}


def tsv(rows: list[dict[str, Any]]) -> str:
    return "".join("\t".join(map(str, line)) + "\n" for line in [list(rows[0]), *(row.values() for row in rows)])


def record_files(changes: Mapping[str, Any], gain: float = 0.0) -> dict[str, str]:
    """Path -> text of a finished experiment.

    Args:
        changes: of params.yaml, by dotted key.
        gain: how much faster than others the run learns, as a share.
    """
    values = parameters(changes)
    steps, seed = values["train_diffusion"]["num_train_steps"], values["random_seed"]
    own, shared = np.random.default_rng([seed, round(1000 * (1 + gain))]), np.random.default_rng(seed)
    luck = 0.1 * shared.standard_normal() + 0.05 * own.standard_normal()
    grid = [steps * part // 12 for part in range(1, 13)]

    def learnt(step: int) -> float:
        return 1 - math.exp(-(1 + gain) * (1 + 0.3 * luck) * step / 500)

    losses = {step: 0.2 + 0.8 * (1 - learnt(step)) for step in grid}
    scores = {step: {"grammatical": learnt(step), "perplexity_corpus": 34 - 30 * learnt(step)} for step in grid}
    last = scores[steps] | {"mauve_train": 0.5 + 0.4 * learnt(steps), "diversity": 0.1 + 0.01 * luck}
    texts = [f"Text {number} of {values['T_schedule']} & seed <{seed}>, $5, 100%." for number in range(TEXTS)]
    blocks = {"greedy, generated": texts, "greedy, control": ["noise"] * TEXTS, "greedy, ceiling": ["real"] * TEXTS}
    bins = [
        {"step": step, "log_snr": name, "loss": loss * (1 + n)} for step, loss in losses.items() for n, name in enumerate(BINS)
    ]
    yaml = json.dumps(values)  # JSON is YAML
    return {
        "params.yaml": yaml,
        "metrics/evaluation.json": json.dumps(evaluation(values, last)),
        "metrics/training.json": json.dumps({"train_loss": 0.1, "validation_loss": losses[steps], "flops_per_step": 2e12}),
        "plots/validation.tsv": tsv([{"step": step, "loss": loss} for step, loss in losses.items()]),
        "plots/validation_by_log_snr.tsv": tsv(bins),
        "plots/timing.tsv": tsv([{"step": step, "seconds": 0.05 * step} for step in grid]),
        "plots/quality.tsv": tsv([{"step": step, **scores[step]} for step in grid[2::3]]),
        "plots/samples.txt": "\n\n".join("\n".join([title, *lines]) for title, lines in blocks.items()) + "\n",
    }


def write_record(folder: Path, changes: Mapping[str, Any], gain: float = 0.0) -> Path:
    """A folder with the files of `record_files`."""
    for path, text in record_files(changes, gain).items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


class MemorySource:
    """The files of `record_files`, without a disk."""

    commit = None

    def __init__(self, files: Mapping[str, str], newness: int) -> None:
        self.read = files.get
        self.newness = newness


def stand_in(name: str, changes: Mapping[str, Any], gain: float = 0.0, newness: int = 0) -> Member:
    return member(read_record(name, MemorySource(record_files(changes, gain), newness)))


VARIANTS: dict[str, tuple[dict[str, Any], float]] = {
    "normal": ({}, 0.0),
    "linear": ({"T_schedule": "linear"}, 0.3),
    "reverse": ({"T_schedule": "reverse", "train_diffusion.base_schedule": "polynomial", "power": 3}, -0.4),
}
LABELS = ["normal", "linear", "reverse (of polynomial 3)"]
BUDGETS = (600, 1200)
SEEDS = (1, 2, 3)


def study() -> list[Member]:
    """Three variants, of which linear learns faster and reverse slower, with two budgets and three seeds."""
    return [
        stand_in(f"{name}-{steps}-{seed}", {"train_diffusion.num_train_steps": steps, "random_seed": seed, **changes}, gain)
        for name, (changes, gain) in VARIANTS.items()
        for steps in BUDGETS
        for seed in SEEDS
    ]
