"""The plain way of training, against which the savings of the real one are measured: it gives the same steps but for rounding."""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from annealed_lm.autoencoder.encoding import EncodedTexts
from annealed_lm.trainers.denoiser import DiffusionTrainer
from annealed_lm.trainers.updates import WeightUpdates
from annealed_lm.training.averages import MovingAverage
from annealed_lm.training.optimizers import MUON_LEARNING_RATE, MUON_MOMENTUM, parameter_groups


class PaddedTexts(EncodedTexts):
    """Texts that are encoded at every step, as if all had max_tokens tokens."""

    def padded_tokens(self, length: int | None) -> int | None:
        """Return max_tokens, whatever the longest text of the batch has."""
        return self.autoencoder.settings.max_tokens


class PlainAverage(MovingAverage):
    """The moving average, one weight after the other."""

    def follow(self, averaged: list[Tensor], current: list[Tensor], share: float) -> None:
        """Move every averaged weight by `share` of the way to the current one."""
        for average, weight in zip(averaged, current, strict=True):
            average.lerp_(weight, share)


class PlainUpdates(WeightUpdates):
    """Weight updates of one parameter after the other. Lion has no other form."""

    average_class = PlainAverage

    def make_optimizers(self) -> list[torch.optim.Optimizer]:
        """Return torch's own Muon and AdamW, in their plain form."""
        training, weight_decay = self.training, self.training.adam_weight_decay
        if training.optimizer == "lion":
            return super().make_optimizers()
        matrices = self.denoiser.hidden_matrices() if training.optimizer == "muon" else []
        chosen = {id(parameter) for parameter in matrices}
        rest = [parameter for parameter in self.denoiser.parameters() if id(parameter) not in chosen]
        groups, betas = parameter_groups(rest, weight_decay), (training.adam_beta1, training.adam_beta2)
        optimizers: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(groups, training.learning_rate, betas, fused=False, foreach=False)
        ]
        if matrices:
            rate = MUON_LEARNING_RATE * training.learning_rate
            muon = torch.optim.Muon(matrices, rate, weight_decay, momentum=MUON_MOMENTUM, adjust_lr_fn="match_rms_adamw")
            optimizers.insert(0, muon)
        return optimizers

    def clip_gradients(self) -> Tensor:
        """Clip them one after the other."""
        return nn.utils.clip_grad_norm_(self.denoiser.parameters(), self.training.max_grad_norm, foreach=False)


def with_plain_attention(train_step: Callable[[int], Tensor], step: int) -> Tensor:
    """Take a training step whose attention is matrix product, softmax, matrix product."""
    with sdpa_kernel(SDPBackend.MATH):
        return train_step(step)


def without_padding_saved(trainer: DiffusionTrainer) -> None:
    """Let `trainer` pad every batch to the longest text that there can be."""
    trainer.padded_length = lambda texts: trainer.denoiser.settings.max_length  # type: ignore[method-assign]


def without_fused_kernels(trainer: DiffusionTrainer) -> None:
    """Let `trainer` compute attention, optimizers and average in their plain forms."""
    trainer.updates = PlainUpdates(trainer.denoiser, trainer.training, trainer.accelerator)
    trainer.train_step = partial(with_plain_attention, trainer.train_step)  # type: ignore[method-assign]
