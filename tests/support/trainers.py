"""Small trainings of the denoiser for tests."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from accelerate import Accelerator

from annealed_lm.annealing.drawing import Timesteps
from annealed_lm.autoencoder.latents import LatentSet
from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.diffusion.process import GaussianDiffusion
from annealed_lm.trainers.denoiser import DiffusionTrainer, train_denoiser
from annealed_lm.trainers.records import Rows, SaveSnapshot, TrainingRecords
from annealed_lm.trainers.updates import DiffusionTraining
from annealed_lm.trainers.validation import FixedValidation
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.live_curves import LiveCurves
from annealed_lm.training.processes import make_accelerator
from support.tiny import CPU, denoiser_settings, schedule_settings, weight_settings

TIMESTEPS = 100
TRAINING = DiffusionTraining(
    optimizer="adamw",
    random_seed=0,
    self_condition=0.5,
    class_unconditional_prob=0.25,
    num_train_steps=6,
    train_batch_size=8,
    gradient_accumulation_steps=1,
    learning_rate=0.01,
    lr_schedule="constant",
    lr_warmup_steps=0,
    lr_decay_fraction=0.2,
    adam_beta1=0.9,
    adam_beta2=0.98,
    adam_weight_decay=0.01,
    max_grad_norm=1.0,
    ema_decay=0.9999,
    ema_power=0.75,
    batching="bucketed",
    compile=False,
    log_every=2,
    validate_every=3,
    evaluate_every=4,
    checkpoint_every=100,
)
LABELS = ("bad", "fair", "good")


def plain_accelerator(mixed_precision: str = "no") -> Accelerator:
    """Without trackers, so nothing is written to their folder."""
    return make_accelerator(mixed_precision, [], Path("trackers"))


def no_snapshot(step: int) -> None: ...


def make_trainer(
    latents: Path,
    accelerator: Accelerator | None = None,
    T_schedule: str = "linear",
    weights: Mapping[str, Any] = MappingProxyType({}),
    **changes: Any,
) -> DiffusionTrainer:
    """Conditional on the labels of the latents, if they have any; `weights` changes the weights of the losses."""
    train = LatentSet.load(latents, "train")
    torch.manual_seed(0)
    settings = denoiser_settings(num_classes=0 if train.index.labels is None else len(LABELS))
    schedule = schedule_settings(
        T_schedule=T_schedule, total_steps=TRAINING.num_train_steps, timesteps=TIMESTEPS, anneal_fraction=1.0
    )
    return DiffusionTrainer(
        DenoisingTransformer(settings),
        GaussianDiffusion("cosine", TIMESTEPS, 9, "pred_x0", "l2"),
        Timesteps(schedule, weight_settings(**weights)),
        train,
        LatentStatistics.load(latents),
        dataclasses.replace(TRAINING, **changes),
        accelerator or plain_accelerator(),
    )


def make_validation(latents: Path, trainer: DiffusionTrainer) -> FixedValidation:
    conditional = trainer.denoiser.settings.num_classes > 0
    return FixedValidation(trainer.diffusion, LatentSet.load(latents, "valid"), trainer.statistics, True, conditional, CPU)


def run(
    trainer: DiffusionTrainer, store: CheckpointStore, latents: Path, save_snapshot: SaveSnapshot = no_snapshot
) -> dict[str, Rows]:
    records = TrainingRecords(
        trainer.accelerator, make_validation(latents, trainer), save_snapshot, LiveCurves(store.folder / "watched")
    )
    return train_denoiser(trainer, records, store)
