"""What turns the gradients of the denoiser into new weights: optimizers, learning rates, the average of the weights."""

from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.training.averages import MovingAverage
from annealed_lm.training.loop import numbered
from annealed_lm.training.optimizers import OPTIMIZERS, OptimizerSettings, make_schedulers


@dataclass(frozen=True)
class DiffusionTraining:
    """The parameters that the training of the denoiser reads, under their names in params.yaml."""

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
    compile: bool
    log_every: int
    validate_every: int
    evaluate_every: int
    checkpoint_every: int | str


class WeightUpdates:
    """What turns gradients into new weights: optimizers, their learning rates, and the average of the weights."""

    average_class = MovingAverage

    def __init__(self, denoiser: DenoisingTransformer, training: DiffusionTraining, accelerator: Accelerator) -> None:
        self.denoiser = denoiser
        self.training = training
        self.scaler = accelerator.scaler
        self.average = self.average_class(denoiser, training.ema_decay, training.ema_power)
        self.optimizers = self.make_optimizers()
        self.schedulers = make_schedulers(
            self.optimizers,
            training.lr_schedule,
            training.lr_warmup_steps,
            training.num_train_steps,
            training.lr_decay_fraction,
        )

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return the optimizers that params.yaml names."""
        training, betas = self.training, (self.training.adam_beta1, self.training.adam_beta2)
        settings = OptimizerSettings(training.learning_rate, betas, training.adam_weight_decay)
        return OPTIMIZERS[training.optimizer](self.denoiser, settings)

    @property
    def learning_rate(self) -> float:
        """The learning rate of the next step; of two optimizers, that of AdamW, the last, since params.yaml states that one."""
        return float(self.schedulers[-1].get_last_lr()[0])

    def update(self, step: int) -> None:
        """Clip the gradients, step every optimizer and its learning rate, average the weights.

        In fp16, where gradients may overflow, a step whose gradients did changes neither weights nor learning rate nor average.
        """
        if self.scaler is None:
            self.clip_gradients()
            for optimizer in self.optimizers:
                optimizer.step()
        taken = self.scaler is None or self.scaled_step(self.scaler)
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        if taken:
            for scheduler in self.schedulers:
                scheduler.step()
            self.average.update(self.denoiser, step)

    def scaled_step(self, scaler: torch.amp.GradScaler) -> bool:
        """Step every optimizer by gradients that are scaled and return whether they were finite; if not, nothing is stepped.

        By itself the scaler holds back only the optimizer whose own gradients overflowed, and the other one would step by what
        a norm that is not finite has clipped. The learning rate is counted on the CPU, so this waits for the device, as nothing
        else in a step does.
        """
        for optimizer in self.optimizers:
            scaler.unscale_(optimizer)
        finite = bool(self.clip_gradients().isfinite())
        if finite:
            for optimizer in self.optimizers:
                scaler.step(optimizer)
        scaler.update()
        return finite

    def clip_gradients(self) -> Tensor:
        """Clip the common norm of all gradients to max_grad_norm and return what it was."""
        return nn.utils.clip_grad_norm_(self.denoiser.parameters(), self.training.max_grad_norm, foreach=True)

    def state(self) -> dict[str, Any]:
        """Return the parts that a checkpoint holds of it, by name, the denoiser included."""
        parts: dict[str, Any] = {"denoiser": self.denoiser, "ema": self.average}
        parts |= numbered("optimizer", self.optimizers) | numbered("scheduler", self.schedulers)
        return parts if self.scaler is None else parts | {"scaler": self.scaler}
