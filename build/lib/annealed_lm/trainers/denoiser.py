"""Training the denoiser: annealing says which t, the diffusion says which loss, this says in what order.

A step never waits for the device: what decides shapes (lengths, t, which texts are self-conditioned) is drawn on the CPU, and the
loss is read only where it is written down.
"""

from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt
import torch
from accelerate import Accelerator
from torch import Tensor

from annealed_lm.annealing.drawing import Timesteps, stratified_uniforms
from annealed_lm.autoencoder.latents import LatentSource
from annealed_lm.common.seeds import generator
from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.diffusion.process import GaussianDiffusion
from annealed_lm.trainers.records import Rows, RunningLoss, TrainingRecords
from annealed_lm.trainers.updates import DiffusionTraining, WeightUpdates
from annealed_lm.training.batching import BatchOrder
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.loop import LoopSettings, run_steps
from annealed_lm.training.processes import processes_of


class Draws(NamedTuple):
    """The random numbers of a step, for its whole batch.

    Attributes:
        t: int64 [batch], on the device.
        t_here: the same on the CPU.
        weights: of the losses at these t, float32 [batch], on the device; None: 1.
        noise: [batch, length, latent_dim], on the device.
        self_conditioned: bool [batch], on the CPU.
    """

    t: Tensor
    t_here: Tensor
    weights: Tensor | None
    noise: Tensor
    self_conditioned: Tensor


class StepInputs(NamedTuple):
    """What the losses of a step are computed from.

    Attributes:
        x_start, mask: of the texts of this process, normalised and padded, on the device.
        draws: for the whole batch.
        class_id: of the whole batch, int64 [batch], on the device; None: no text has a class.
    """

    x_start: Tensor
    mask: Tensor
    draws: Draws
    class_id: Tensor | None


class DiffusionTrainer:
    """A training step of the denoiser.

    `train_batch_size` is the batch of one optimizer step, of all processes together; gradient accumulation cuts the part of a
    process further. All random numbers of a step but dropout's are drawn for the whole batch from (random_seed, step, purpose),
    so that cutting it changes nothing but rounding.

    A denoiser that knows classes is given the labels of `latents`.
    """

    def __init__(
        self,
        denoiser: DenoisingTransformer,
        diffusion: GaussianDiffusion,
        timesteps: Timesteps,
        latents: LatentSource,
        statistics: LatentStatistics,
        training: DiffusionTraining,
        accelerator: Accelerator,
    ) -> None:
        self.denoiser = denoiser.to(accelerator.device)
        self.updates = WeightUpdates(self.denoiser, training, accelerator)
        if training.compile:
            self.denoiser.compile_blocks()
        # The same weights, under autocast; their gradients are averaged over processes.
        self.network = accelerator.prepare_model(self.denoiser)
        self.diffusion = diffusion
        self.timesteps = timesteps
        self.latents = latents
        self.statistics = statistics.to(accelerator.device)
        self.training = training
        self.accelerator = accelerator
        self.processes = processes_of(accelerator)
        bucketed = training.batching == "bucketed"
        self.order = BatchOrder(latents.index.lengths, training.train_batch_size, training.random_seed, bucketed)

    def averaged_denoiser(self) -> DenoisingTransformer:
        """Return the denoiser with the averaged weights, in evaluation mode."""
        return cast(DenoisingTransformer, self.updates.average.module)  # a copy of it, which torch types as any module

    def state(self) -> dict[str, Any]:
        """Return the parts that a checkpoint holds, by name: all that a step changes."""
        return {**self.updates.state(), "timesteps": self.timesteps}

    def train_step(self, step: int) -> Tensor:
        """Take one optimizer step on the batch of `step` and return its loss, a scalar on the device."""
        x_start, mask, draws, class_id = self.inputs(step)
        count = len(draws.t)
        share = self.processes.share(count)
        total = torch.zeros((), device=self.accelerator.device)
        seen = torch.zeros(count, device=self.accelerator.device)
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
                loss = losses.sum() / count
                self.accelerator.backward(loss * self.processes.count)  # accelerate averages gradients over processes
            total += loss.detach()
        self.updates.update(step)
        if self.timesteps.observes:  # the next draws need the losses, so this waits for the device
            self.timesteps.observe(step, draws.t_here.numpy(), self.processes.sum(seen).double().cpu().numpy())
        return self.processes.sum(total)

    def inputs(self, step: int) -> StepInputs:
        """Return what the losses of `step` are computed from: its latents, brought to the device, and its random numbers."""
        texts = self.order.batch(step)
        share, length = self.processes.share(len(texts)), self.padded_length(texts)
        x_start, mask = self.latents.batch(texts[share.start : share.stop], length)
        x_start = self.statistics.normalise(x_start.to(self.accelerator.device, non_blocking=True))
        mask = mask.to(self.accelerator.device, non_blocking=True)
        draws = self.random_numbers(step, (len(texts), *x_start.shape[1:]))
        return StepInputs(x_start, mask, draws, self.class_ids(step, texts))

    def parts(self, share: range) -> Iterator[tuple[range, bool]]:
        """Cut this process's share of a batch for gradient accumulation; beside every part stands whether it is the last."""
        cuts = np.array_split(np.arange(share.start, share.stop), self.training.gradient_accumulation_steps)
        filled = [range(cut[0], cut[-1] + 1) for cut in cuts if len(cut)]
        return ((part, part is filled[-1]) for part in filled)

    def padded_length(self, texts: npt.NDArray[np.int64]) -> int:
        """Return how many vectors the texts of a batch are padded to: as many in all processes, which share its noise."""
        return int(self.latents.index.lengths[texts].max())

    def random_numbers(self, step: int, shape: tuple[int, ...]) -> Draws:
        """Draw the random numbers of `step` for a batch of latents of `shape`.

        Self-conditioning is stratified, as t is: a text has it with the probability `self_condition`, and the share of a batch
        that has it is as near to that as can be.
        """
        device, seed = self.accelerator.device, self.training.random_seed
        t, weights = self.timesteps.draw(step, shape[0], generator("cpu", seed, step, "t"))
        weights = None if weights is None else weights.to(device, non_blocking=True)
        noise = torch.randn(shape, generator=generator(device, seed, step, "noise"), device=device)
        coins = stratified_uniforms(shape[0], generator("cpu", seed, step, "self_cond"))
        return Draws(t.to(device, non_blocking=True), t, weights, noise, coins < self.training.self_condition)

    def class_ids(self, step: int, texts: npt.NDArray[np.int64]) -> Tensor | None:
        """Return the labels of these training texts, int64 [texts]; None for an unconditional network.

        Where a label is withheld, num_classes stands for it, so that the network learns to do without (Ho & Salimans 2022, arXiv
        2207.12598, algorithm 1).
        """
        if not self.denoiser.settings.num_classes:
            return None
        assert self.latents.index.labels is not None  # a conditional network is made for their number
        labels = torch.from_numpy(self.latents.index.labels[texts])
        coins = torch.rand(len(labels), generator=generator("cpu", self.training.random_seed, step, "class"))
        given = labels.masked_fill(coins < self.training.class_unconditional_prob, self.denoiser.settings.num_classes)
        return given.to(self.accelerator.device, non_blocking=True)


def train_denoiser(trainer: DiffusionTrainer, records: TrainingRecords, store: CheckpointStore) -> dict[str, Rows]:
    """Train to the end, from the checkpoint in `store` if there is one, and return the curves of `records`; see `run_steps`."""
    training, running_loss = trainer.training, RunningLoss(trainer.accelerator.device)
    trainer.denoiser.train()

    def is_due(done: int, every: int) -> bool:
        return done % every == 0 or done == training.num_train_steps

    def train_step(step: int) -> dict[str, float] | None:
        done, row = step + 1, None
        learning_rate = trainer.updates.learning_rate
        due = is_due(done, training.log_every)
        drawn = trainer.timesteps.drawn_range(step) if due else {}  # read before the step, whose losses may change it
        running_loss.add(trainer.train_step(step))
        if due:
            row = {
                "loss": running_loss.read(),
                "T_now": drawn["T_now"],
                "mean_t": drawn["mean_t"],
                "learning_rate": learning_rate,
            }
        if trainer.processes.is_main:
            if is_due(done, training.validate_every):
                records.validate(done, trainer.averaged_denoiser())
            if row is not None:
                records.add_training_row(done, row)
            if is_due(done, training.evaluate_every):
                records.save_snapshot(done)
            records.hand_over()
        return row

    settings = LoopSettings(training.num_train_steps, training.random_seed, training.checkpoint_every, "diffusion")
    state = trainer.state() | {"running_loss": running_loss}
    run_steps(settings, train_step, state, records.curves, store, trainer.processes)
    records.hand_over()
    return records.curves
