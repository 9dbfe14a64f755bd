"""Training the denoiser: the timestep sampler says which t, the diffusion says which loss, this says in what order."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from annealed_lm.batching import BatchOrder
from annealed_lm.checkpoints import CheckpointStore
from annealed_lm.denoiser import DenoisingTransformer
from annealed_lm.diffusion import GaussianDiffusion
from annealed_lm.errors import InputError
from annealed_lm.latents import LatentSet, LatentStatistics
from annealed_lm.optimizers import OPTIMIZERS, OptimizerSettings, make_schedulers
from annealed_lm.seeds import generator
from annealed_lm.timestep_sampling import TimestepSampler, draw_timesteps, stratified_uniforms
from annealed_lm.trackers import CurveTracking, require_installed
from annealed_lm.training_loop import numbered, run_steps
from annealed_lm.validation import FixedValidation

Rows = list[dict[str, Any]]
SaveSnapshot = Callable[[int], None]
"""Keeps the averaged model as it is after so many steps."""


@dataclass(frozen=True)
class DiffusionTraining:
    """The parameters that a training reads, under their names in params.yaml."""

    optimizer: str
    random_seed: int
    self_condition: float
    class_unconditional_prob: float
    num_train_steps: int
    train_batch_size: int
    gradient_accumulation_steps: int
    learning_rate: float
    lr_schedule: str
    lr_warmup_steps: int
    adam_beta1: float
    adam_beta2: float
    adam_weight_decay: float
    max_grad_norm: float
    ema_decay: float
    ema_power: float
    log_every: int
    validate_every: int
    evaluate_every: int
    checkpoint_every: int


def make_accelerator(mixed_precision: str, trackers: Sequence[str], tracker_folder: Path) -> Accelerator:
    """The device at hand, autocast to `mixed_precision` ("no", "bf16" or "fp16"), and trackers, which `tracking` opens.

    Raises:
        InputError: the device cannot compute in this precision, or a tracker is not installed.
    """
    require_installed(trackers)
    try:
        accelerator = Accelerator(mixed_precision=mixed_precision, log_with=list(trackers) or None, project_dir=tracker_folder)
    except ValueError as error:
        raise InputError(f"train_diffusion.mixed_precision = {mixed_precision} is not for this machine: {error}") from error
    if mixed_precision != "no" and not accelerator.native_amp:  # accelerate would compute in full precision and not say so
        raise InputError(f"train_diffusion.mixed_precision = {mixed_precision} is not for this machine: it needs a GPU")
    return accelerator


def averaged_copy(model: nn.Module, ema_decay: float, ema_power: float) -> AveragedModel:
    """The exponential moving average of the weights, with decay min(ema_decay, 1 - (1 + step)^-ema_power): short at first."""

    def average(averaged: Sequence[Tensor], current: Sequence[Tensor], step: Tensor | int) -> None:
        decay = min(ema_decay, 1 - (1 + int(step)) ** -ema_power)
        torch._foreach_lerp_(list(averaged), list(current), 1 - decay)

    return AveragedModel(model, multi_avg_fn=average).eval()


class RunningLoss:
    """The mean loss since it was last read, kept on the device: reading it is what waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self.total = torch.zeros((), device=device)
        self.count = 0

    def add(self, loss: Tensor) -> None:
        self.total += loss
        self.count += 1

    def read(self) -> float:
        mean = float(self.total) / self.count
        self.total.zero_()
        self.count = 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.total.copy_(state_dict["total"])
        self.count = state_dict["count"]


class DiffusionTrainer:
    """Everything that a training step changes, and the step.

    `train_batch_size` is the batch of one optimizer step; gradient accumulation cuts it into parts. All random numbers of a step
    are drawn for the whole batch from (random_seed, step, purpose), so that cutting it changes nothing but rounding.

    The denoiser is told the labels of `latents`, if they have any.
    """

    def __init__(
        self,
        denoiser: DenoisingTransformer,
        diffusion: GaussianDiffusion,
        timestep_sampler: TimestepSampler,
        latents: LatentSet,
        statistics: LatentStatistics,
        training: DiffusionTraining,
        accelerator: Accelerator,
    ) -> None:
        settings = OptimizerSettings(
            training.learning_rate, (training.adam_beta1, training.adam_beta2), training.adam_weight_decay
        )
        self.denoiser = denoiser.to(accelerator.device)
        self.ema = averaged_copy(self.denoiser, training.ema_decay, training.ema_power)
        self.network = accelerator.prepare_model(self.denoiser)  # the same weights, under autocast
        self.optimizers = OPTIMIZERS[training.optimizer](self.denoiser, settings)
        self.schedulers = make_schedulers(
            self.optimizers, training.lr_schedule, training.lr_warmup_steps, training.num_train_steps
        )
        self.diffusion = diffusion
        self.timestep_sampler = timestep_sampler
        self.latents = latents
        self.statistics = statistics
        self.training = training
        self.accelerator = accelerator
        self.order = BatchOrder(latents.lengths, training.train_batch_size, training.random_seed)
        self.running_loss = RunningLoss(accelerator.device)
        self.records: dict[str, Rows] = {"training": [], "validation": [], "validation_by_range": [], "timing": []}
        self.curve_tracking = CurveTracking(accelerator)
        self.last_tick = time.perf_counter()

    def run(self, store: CheckpointStore, validation: FixedValidation, save_snapshot: SaveSnapshot) -> dict[str, Rows]:
        """Train to the end, from the checkpoint in `store` if there is one.

        Args:
            save_snapshot: called every `evaluate_every` steps and after the last, before any checkpoint of that step: what it
                keeps in the folder of `store` is there after a resume, and the steps that a resume repeats write it again.

        Returns:
            Rows by curve, in the order of the steps, a step being counted once it is done: `training` (step, loss: the mean
            since the row before, T_now, learning_rate), `validation` (step, loss) and `validation_by_range` (step, t_range,
            loss) of the averaged weights, and `timing` (step, seconds of training so far).
        """
        self.denoiser.train()
        self.last_tick = time.perf_counter()
        run_steps(
            self.training.num_train_steps,
            lambda step: self.step_and_record(step, validation, save_snapshot),
            seed=self.training.random_seed,
            state=self.state(),
            records=self.records,
            store=store,
            checkpoint_every=self.training.checkpoint_every,
            description="diffusion",
        )
        self.curve_tracking.hand_over(self.records)
        return self.records

    def averaged_denoiser(self) -> DenoisingTransformer:
        """The denoiser with the averaged weights, in evaluation mode."""
        return cast(DenoisingTransformer, self.ema.module)  # a copy of the denoiser, which torch types as any module

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        parts: dict[str, Any] = {"denoiser": self.denoiser, "ema": self.ema, "running_loss": self.running_loss}
        parts |= numbered("optimizer", self.optimizers) | numbered("scheduler", self.schedulers)
        return parts if self.accelerator.scaler is None else parts | {"scaler": self.accelerator.scaler}

    def step_and_record(self, step: int, validation: FixedValidation, save_snapshot: SaveSnapshot) -> dict[str, float] | None:
        """One optimizer step; what to show of it where a row is due."""
        learning_rate = float(self.schedulers[-1].get_last_lr()[0])  # of two, the last is AdamW's: as written in params.yaml
        self.running_loss.add(self.train_step(step))
        done, row = step + 1, None
        if self.is_due(done, self.training.validate_every):
            losses = validation.losses(self.ema.module)
            self.records["validation"].append({"step": done, "loss": losses.mean().item()})
            self.records["validation_by_range"] += [{"step": done} | each for each in validation.by_range(losses)]
        if self.is_due(done, self.training.log_every):
            T_now = int(self.timestep_sampler.density(step).count_nonzero())
            row = {"loss": self.running_loss.read(), "T_now": T_now, "learning_rate": learning_rate}
            self.records["training"].append({"step": done} | row)
            self.record_time(done)
        if self.is_due(done, self.training.evaluate_every):
            save_snapshot(done)
        self.curve_tracking.hand_over(self.records)
        return row

    def is_due(self, done: int, every: int) -> bool:
        return done % every == 0 or done == self.training.num_train_steps

    def record_time(self, done: int) -> None:
        now = time.perf_counter()
        before = self.records["timing"][-1]["seconds"] if self.records["timing"] else 0.0
        self.records["timing"].append({"step": done, "seconds": before + now - self.last_tick})
        self.last_tick = now

    def train_step(self, step: int) -> Tensor:
        """One optimizer step on the batch of `step`; its loss, a scalar on the device."""
        texts = self.order.batch(step)
        x_start, mask = self.latents.batch(texts)
        x_start = self.statistics.normalise(x_start.to(self.accelerator.device))
        mask = mask.to(self.accelerator.device)
        t, noise, self_cond_rows = self.random_numbers(step, x_start)
        class_id = self.class_ids(step, texts)
        total = torch.zeros((), device=self.accelerator.device)
        parts = self.training.gradient_accumulation_steps
        for part in torch.arange(len(x_start), device=x_start.device).tensor_split(parts):
            classes = None if class_id is None else class_id[part]
            losses = self.diffusion.losses(
                self.network, x_start[part], t[part], noise[part], mask[part], self_cond_rows[part], classes
            )
            loss = losses.sum() / len(x_start)
            self.accelerator.backward(loss)
            total += loss.detach()
        self.optimize()
        return total

    def random_numbers(self, step: int, x_start: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """t int64 [batch], noise of the shape of x_start, and which texts are self-conditioned, bool [batch]."""
        device, seed = x_start.device, self.training.random_seed
        uniforms = stratified_uniforms(len(x_start), generator(device, seed, step, "t"))
        t = draw_timesteps(self.timestep_sampler.density(step), uniforms)
        noise = torch.randn(x_start.shape, generator=generator(device, seed, step, "noise"), device=device)
        coins = torch.rand(len(x_start), generator=generator(device, seed, step, "self_cond"), device=device)
        return t, noise, coins < self.training.self_condition

    def class_ids(self, step: int, texts: npt.NDArray[np.int64]) -> Tensor | None:
        """Label of each of these training texts, int64 [texts], or num_classes where it is withheld, so that the network learns
        to do without (Ho & Salimans 2022, arXiv 2207.12598, algorithm 1); None if texts have no labels."""
        if self.latents.labels is None:
            return None
        labels = torch.from_numpy(self.latents.labels[texts]).to(self.accelerator.device)
        source = generator(labels.device, self.training.random_seed, step, "class")
        withheld = torch.rand(len(labels), generator=source, device=labels.device) < self.training.class_unconditional_prob
        return labels.masked_fill(withheld, self.denoiser.settings.num_classes)

    def optimize(self) -> None:
        """Clip, step every optimizer and its learning rate, average the weights."""
        scaler = self.accelerator.scaler
        if scaler is not None:
            for optimizer in self.optimizers:
                scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), self.training.max_grad_norm, foreach=True)
        for optimizer, scheduler in zip(self.optimizers, self.schedulers, strict=True):
            optimizer.step() if scaler is None else scaler.step(optimizer)
            optimizer.zero_grad()
            scheduler.step()
        if scaler is not None:
            scaler.update()
        self.ema.update_parameters(self.denoiser)
