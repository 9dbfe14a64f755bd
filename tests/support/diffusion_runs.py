"""Runs of the stage train_diffusion for tests: its arguments, and what it leaves."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from annealed_lm.trainers.records import TrainingRecords
from support.tiny import write_params

STEPS = 8
TOP_LEVEL = ("T_schedule", "power", "optimizer", "random_seed")
REFERENCE = {
    "T_schedule": "polynomial",
    "optimizer": "adamw",
    "timesteps": 100,
    "tx_dim": 8,
    "tx_depth": 1,
    "tx_heads": 2,
    "num_train_steps": STEPS,
    "train_batch_size": 8,
    "learning_rate": 0.01,
    "lr_warmup_steps": 2,
    "lr_decay_fraction": 0.5,
    "log_every": 2,
    "validate_every": 4,
    "evaluate_every": 3,
    "checkpoint_every": 4,
}


def arguments(folder: Path, latents: Path, changes: dict[str, Any]) -> list[str]:
    """The stage's arguments for a run in `folder`, whose params.yaml gets `changes` of the reference."""
    values = REFERENCE | changes
    top = {name: values.pop(name) for name in TOP_LEVEL if name in values}
    folder.mkdir(exist_ok=True)
    encoding = {"train_latents": values.pop("train_latents", "cached")}
    write_params(folder / "params.yaml", top | {"train_diffusion": values, "encode_latents": encoding})
    paths = {"params": folder / "params.yaml", "latents": latents}
    paths |= {name: folder / name for name in ("texts", "autoencoder", "resume", "trackers", "out", "snapshots", "curves")}
    return [part for name, path in paths.items() for part in (f"--{name}", str(path))]


def weights(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "out" / "denoiser.safetensors")


def differ(one: Path, other: Path) -> bool:
    """By more than rounding."""
    ours, theirs = weights(one), weights(other)
    if {name: weight.shape for name, weight in ours.items()} != {name: weight.shape for name, weight in theirs.items()}:
        return True
    return any(not torch.allclose(ours[name], theirs[name], rtol=1e-3, atol=1e-5) for name in ours)


def outputs(folder: Path, names: tuple[str, ...] = ("out", "curves", "snapshots")) -> dict[str, bytes]:
    """All files but that of the times, which no two runs share."""
    paths = [path for name in names for path in (folder / name).rglob("*") if path.is_file() and path.name != "timing.tsv"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def stop_after_the_first_row(patch: pytest.MonkeyPatch) -> None:
    """Let trainings in this process be sent SIGTERM when they have written down the first row of their curve."""
    add_training_row = TrainingRecords.add_training_row

    def stop(self: TrainingRecords, done: int, row: dict[str, float]) -> None:
        add_training_row(self, done, row)
        os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(TrainingRecords, "add_training_row", stop)
