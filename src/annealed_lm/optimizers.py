"""Optimizers and their learning-rate schedules.

Weight decay acts on matrices only: parameters of fewer than two dimensions (biases, gains) are left alone.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from lion_pytorch import Lion
from torch import nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

MUON_LEARNING_RATE = 2
"""Muon's learning rate as a multiple of AdamW's: what trained best here, at sizes of one to three million parameters."""


@dataclass(frozen=True)
class OptimizerSettings:
    """Attributes: `betas` of AdamW, Lion and Muon's AdamW part; `weight_decay` of matrices."""

    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float


def parameter_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Matrices with weight decay, the rest without."""
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    rest = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class HiddenMatrices(Protocol):
    """A model that knows which of its parameters are matrices between hidden states."""

    def hidden_matrices(self) -> list[nn.Parameter]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


def adamw(model: HiddenMatrices, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101)."""
    return [make_adamw(list(model.parameters()), settings)]


def lion(model: HiddenMatrices, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Lion (Chen et al. 2023, arXiv 2302.06675)."""
    groups = parameter_groups(list(model.parameters()), settings.weight_decay)
    return [Lion(groups, lr=settings.learning_rate, betas=settings.betas)]


def muon(model: HiddenMatrices, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Muon (Jordan et al. 2024) on the hidden matrices, with updates of AdamW's size (Liu et al. 2025, arXiv 2502.16982,
    section 2.2) and twice its learning rate; AdamW on the rest: input and output maps, embeddings, biases and gains."""
    matrices = model.hidden_matrices()
    chosen = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in chosen and parameter.requires_grad]
    rate = MUON_LEARNING_RATE * settings.learning_rate
    on_matrices = torch.optim.Muon(matrices, lr=rate, weight_decay=settings.weight_decay, adjust_lr_fn="match_rms_adamw")
    return [on_matrices, make_adamw(rest, settings)]


def make_adamw(parameters: Sequence[nn.Parameter], settings: OptimizerSettings) -> torch.optim.AdamW:
    groups = parameter_groups(parameters, settings.weight_decay)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


OPTIMIZERS: dict[str, Callable[[HiddenMatrices, OptimizerSettings], list[torch.optim.Optimizer]]] = {
    "adamw": adamw,
    "lion": lion,
    "muon": muon,
}


def make_schedulers(
    optimizers: Sequence[torch.optim.Optimizer], lr_schedule: str, warmup_steps: int, num_train_steps: int
) -> list[LRScheduler]:
    """One of transformers' learning-rate schedules for each optimizer, after a linear warm-up."""
    if lr_schedule == "constant":  # transformers' has no warm-up; stepping past it would silently drop lr_warmup_steps
        lr_schedule = "constant_with_warmup" if warmup_steps else "constant"
    return [get_scheduler(lr_schedule, optimizer, warmup_steps, num_train_steps) for optimizer in optimizers]
