"""Training the denoiser: the timestep sampler says which t, the diffusion says which loss, this says in what order.

A step never waits for the device: what decides shapes (lengths, t, which texts are self-conditioned) is drawn on the CPU, and the
loss is read where it is written down.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from annealed_lm.annealing.timesteps import SamplerState, TimestepSampler, draw_timesteps, drawn_range, stratified_uniforms
from annealed_lm.annealing.weights import TimestepWeights
from annealed_lm.autoencoder.latents import LatentSource
from annealed_lm.common.seeds import generator
from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.diffusion.process import GaussianDiffusion
from annealed_lm.trainers.records import RunningLoss
from annealed_lm.trainers.validation import FixedValidation
from annealed_lm.training.averages import MovingAverage
from annealed_lm.training.batching import BatchOrder
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.loop import numbered, run_steps
from annealed_lm.training.optimizers import OPTIMIZERS, OptimizerSettings, make_schedulers
from annealed_lm.training.processes import processes_of
from annealed_lm.training.trackers import CurveTracking

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
    lr_decay_fraction: float
    adam_beta1: float
    adam_beta2: float
    adam_weight_decay: float
    max_grad_norm: float
    ema_decay: float
    ema_power: float
    batching: str
    fused: bool
    compile: bool
    log_every: int
    validate_every: int
    evaluate_every: int
    checkpoint_every: int | str


class Draws(NamedTuple):
    """The random numbers of a step, for its whole batch: `t` int64 [batch] and `noise` [batch, length, latent_dim] on the device;
    `self_conditioned` bool [batch] and `t` again, `t_here`, on the CPU; `weights` float32 [batch] of the losses at these t, on
    the device, None: 1."""

    t: Tensor
    t_here: Tensor
    weights: Tensor | None
    noise: Tensor
    self_conditioned: Tensor


class DiffusionTrainer:
    """Everything that a training step changes, and the step.

    `train_batch_size` is the batch of one optimizer step, of all processes together; gradient accumulation cuts the part of each
    process further. All random numbers of a step but dropout's are drawn for the whole batch from (random_seed, step, purpose),
    so that cutting it changes nothing but rounding.

    A denoiser that knows classes is told the labels of `latents`.
    """

    def __init__(
        self,
        denoiser: DenoisingTransformer,
        diffusion: GaussianDiffusion,
        timestep_sampler: TimestepSampler,
        timestep_weights: TimestepWeights,
        latents: LatentSource,
        statistics: LatentStatistics,
        training: DiffusionTraining,
        accelerator: Accelerator,
    ) -> None:
        settings = OptimizerSettings(
            training.learning_rate, (training.adam_beta1, training.adam_beta2), training.adam_weight_decay, training.fused
        )
        self.denoiser = denoiser.to(accelerator.device)
        self.ema = MovingAverage(self.denoiser, training.ema_decay, training.ema_power, training.fused)
        if training.compile:
            self.denoiser.compile_blocks()
        # The same weights, under autocast; their gradients are averaged over processes.
        self.network = accelerator.prepare_model(self.denoiser)
        self.optimizers = OPTIMIZERS[training.optimizer](self.denoiser, settings)
        self.schedulers = make_schedulers(
            self.optimizers,
            training.lr_schedule,
            training.lr_warmup_steps,
            training.num_train_steps,
            training.lr_decay_fraction,
        )
        self.diffusion = diffusion
        self.timestep_sampler = timestep_sampler
        self.timestep_weights = timestep_weights
        self.latents = latents
        self.statistics = statistics.to(accelerator.device)
        self.training = training
        self.accelerator = accelerator
        self.processes = processes_of(accelerator)
        bucketed = training.batching == "bucketed"
        self.order = BatchOrder(latents.index.lengths, training.train_batch_size, training.random_seed, bucketed)
        self.running_loss = RunningLoss(accelerator.device)
        self.records: dict[str, Rows] = {"training": [], "validation": [], "validation_by_log_snr": [], "timing": []}
        self.curve_tracking = CurveTracking(accelerator)
        self.last_tick = time.perf_counter()

    def run(self, store: CheckpointStore, validation: FixedValidation, save_snapshot: SaveSnapshot) -> dict[str, Rows]:
        """Train to the end, from the checkpoint in `store` if there is one.

        Args:
            save_snapshot: called every `evaluate_every` steps and after the last, before any checkpoint of that step: what it
                keeps in the folder of `store` is there after a resume, and the steps that a resume repeats write it again.

        Returns:
            Rows by curve, in the order of the steps, a step being counted once it is done: `training` (step, loss: the mean
            since the row before, weighted as it is minimised, T_now: one more than the highest t that was drawn, mean_t of the
            density, learning_rate), `validation` (step, loss) and `validation_by_log_snr` (step, log_snr, loss) of the averaged
            weights, and `timing` (step, seconds of training so far, validation included).
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
            processes=self.processes,
        )
        self.curve_tracking.hand_over(self.records)
        return self.records

    def averaged_denoiser(self) -> DenoisingTransformer:
        """The denoiser with the averaged weights, in evaluation mode."""
        return cast(DenoisingTransformer, self.ema.module)  # a copy of the denoiser, which torch types as any module

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        parts: dict[str, Any] = {"denoiser": self.denoiser, "ema": self.ema, "running_loss": self.running_loss}
        parts["timestep_sampler"] = SamplerState(self.timestep_sampler)
        parts |= numbered("optimizer", self.optimizers) | numbered("scheduler", self.schedulers)
        return parts if self.accelerator.scaler is None else parts | {"scaler": self.accelerator.scaler}

    def step_and_record(self, step: int, validation: FixedValidation, save_snapshot: SaveSnapshot) -> dict[str, float] | None:
        """One optimizer step; what to show of it where a row is due. Process 0 writes it down."""
        learning_rate = float(self.schedulers[-1].get_last_lr()[0])  # of two, the last is AdamW's: as written in params.yaml
        done, row = step + 1, None
        due = self.is_due(done, self.training.log_every)
        drawn = drawn_range(self.timestep_sampler.density(step)) if due else {}  # which the losses of the step may change
        self.running_loss.add(self.train_step(step))
        if due:
            row = {"loss": self.running_loss.read(), "T_now": drawn["T_now"], "mean_t": drawn["mean_t"]}
            row["learning_rate"] = learning_rate
        if self.processes.is_main:
            self.record(done, row, validation, save_snapshot)
        return row

    def record(self, done: int, row: dict[str, float] | None, validation: FixedValidation, save_snapshot: SaveSnapshot) -> None:
        """Write down what is due after `done` steps: `row` of the training curve, the validation loss, the averaged model."""
        if self.is_due(done, self.training.validate_every):
            losses = validation.losses(self.averaged_denoiser())
            self.records["validation"].append({"step": done, "loss": losses.mean().item()})
            self.records["validation_by_log_snr"] += [{"step": done} | each for each in validation.by_log_snr(losses)]
        if row is not None:
            self.records["training"].append({"step": done} | row)
            self.record_time(done)
        if self.is_due(done, self.training.evaluate_every):
            save_snapshot(done)
        self.curve_tracking.hand_over(self.records)

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
        share = self.processes.share(len(texts))
        length = self.padded_length(texts)
        x_start, mask = self.latents.batch(texts[share.start : share.stop], length)
        x_start = self.statistics.normalise(x_start.to(self.accelerator.device, non_blocking=True))
        mask = mask.to(self.accelerator.device, non_blocking=True)
        draws = self.random_numbers(step, (len(texts), *x_start.shape[1:]))
        class_id = self.class_ids(step, texts)
        total = torch.zeros((), device=self.accelerator.device)
        seen = torch.zeros(len(texts), device=self.accelerator.device)
        with self.attention():
            for part, last in self.parts(share):
                here = slice(part.start - share.start, part.stop - share.start)
                rows = draws.self_conditioned[part.start : part.stop].nonzero()[:, 0]
                whole = slice(part.start, part.stop)
                with nullcontext() if last else self.accelerator.no_sync(self.network):
                    losses = self.diffusion.losses(
                        self.network,
                        x_start[here],
                        draws.t[whole],
                        draws.noise[whole],
                        mask[here],
                        rows.to(x_start.device, non_blocking=True),
                        None if class_id is None else class_id[whole],
                    )
                    seen[whole] = losses.detach()
                    if draws.weights is not None:
                        losses = losses * draws.weights[whole]
                    loss = losses.sum() / len(texts)
                    self.accelerator.backward(loss * self.processes.count)  # whose gradients are averaged over processes
                total += loss.detach()
        self.optimize(step)
        if self.timestep_sampler.observes:  # who needs them for the next step, so that this waits for the device
            self.timestep_sampler.observe(step, draws.t_here.numpy(), self.processes.sum(seen).double().cpu().numpy())
        return self.processes.sum(total)

    def parts(self, share: range) -> Iterator[tuple[range, bool]]:
        """This process's share of a batch, cut for gradient accumulation; with each part, whether it is the last."""
        cuts = np.array_split(np.arange(share.start, share.stop), self.training.gradient_accumulation_steps)
        filled = [range(cut[0], cut[-1] + 1) for cut in cuts if len(cut)]
        return ((part, part is filled[-1]) for part in filled)

    def padded_length(self, texts: npt.NDArray[np.int64]) -> int:
        """To how many vectors the texts of a batch are padded: the same in all processes, who share its noise."""
        if self.training.batching == "padded":
            return self.denoiser.settings.max_length
        return int(self.latents.index.lengths[texts].max())

    def attention(self) -> AbstractContextManager[None]:
        """The fused attention of the device, or the plain one: matrix product, softmax, matrix product."""
        return nullcontext() if self.training.fused else sdpa_kernel(SDPBackend.MATH)

    def random_numbers(self, step: int, shape: tuple[int, ...]) -> Draws:
        """What is drawn for the batch of `step`, of latents of `shape`. As t is, self-conditioning is stratified: of a batch, as
        near as can be to the share `self_condition` has it, each text with that probability."""
        device, seed = self.accelerator.device, self.training.random_seed
        uniforms = stratified_uniforms(shape[0], generator("cpu", seed, step, "t"))
        t = draw_timesteps(self.timestep_sampler.density(step), uniforms)
        weights = self.timestep_weights.at(self.timestep_sampler, step)
        weights_here = None if weights is None else torch.from_numpy(weights[t.numpy()]).float().to(device, non_blocking=True)
        noise = torch.randn(shape, generator=generator(device, seed, step, "noise"), device=device)
        coins = stratified_uniforms(shape[0], generator("cpu", seed, step, "self_cond"))
        return Draws(t.to(device, non_blocking=True), t, weights_here, noise, coins < self.training.self_condition)

    def class_ids(self, step: int, texts: npt.NDArray[np.int64]) -> Tensor | None:
        """Label of each of these training texts, int64 [texts], or num_classes where it is withheld, so that the network learns
        to do without (Ho & Salimans 2022, arXiv 2207.12598, algorithm 1); None for an unconditional network."""
        if not self.denoiser.settings.num_classes:
            return None
        assert self.latents.index.labels is not None  # a conditional network is made for their number
        labels = torch.from_numpy(self.latents.index.labels[texts])
        coins = torch.rand(len(labels), generator=generator("cpu", self.training.random_seed, step, "class"))
        told = labels.masked_fill(coins < self.training.class_unconditional_prob, self.denoiser.settings.num_classes)
        return told.to(self.accelerator.device, non_blocking=True)

    def optimize(self, step: int) -> None:
        """Clip, step every optimizer and its learning rate, average the weights."""
        scaler = self.accelerator.scaler
        if scaler is not None:
            for optimizer in self.optimizers:
                scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(self.denoiser.parameters(), self.training.max_grad_norm, foreach=self.training.fused)
        for optimizer, scheduler in zip(self.optimizers, self.schedulers, strict=True):
            optimizer.step() if scaler is None else scaler.step(optimizer)
            optimizer.zero_grad()
            scheduler.step()
        if scaler is not None:
            scaler.update()
        self.ema.update(self.denoiser, step)
