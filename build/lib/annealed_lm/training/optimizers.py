"""Optimizers and their learning-rate schedules.

Weight decay acts on matrices only: parameters of fewer than two dimensions (biases, gains) are left alone.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from lion_pytorch import Lion
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler
from transformers import get_scheduler

MUON_MOMENTUM = 0.95
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
"""Coefficients of x, x^3 and x^5: the steepest at 0 that keep singular values near 1 (Jordan et al. 2024)."""
NEWTON_SCHULZ_STEPS = 5
MUON_LEARNING_RATE = 2
"""Muon's learning rate as a multiple of AdamW's: what trained best here, at sizes of one to three million parameters."""


@dataclass(frozen=True)
class OptimizerSettings:
    """What the optimizers share.

    Attributes:
        betas: of AdamW, Lion and Muon's AdamW part.
        weight_decay: of matrices.
    """

    learning_rate: float
    betas: tuple[float, float]
    weight_decay: float


def parameter_groups(parameters: Sequence[nn.Parameter], weight_decay: float) -> list[dict[str, object]]:
    """Return the groups for an optimizer: matrices with weight decay, the rest without."""
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    rest = [parameter for parameter in parameters if parameter.ndim < 2]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0.0}]
    return [group for group in groups if group["params"]]


class StackedMuon(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) with updates of AdamW's size (Liu et al. 2025, arXiv 2502.16982, section 2.2).

    Matrices of one shape are orthogonalised together. Its steps are those of torch.optim.Muon with
    adjust_lr_fn="match_rms_adamw", which takes them one matrix after the other: twenty small products for every one.

    While a stack of n values is stepped it needs up to 8 n bytes more: 230 MB for twelve matrices of 768 x 3072.

    Args:
        parameters: matrices.
        lr: of AdamW-sized updates; the factor of the shape, 0.2 sqrt(max(rows, columns)), is no part of it.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float, weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Step every matrix that has a gradient.

        Args:
            closure: evaluates the model anew and returns the loss, which is passed on.
        """
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            stacks = defaultdict(list)
            for parameter in group["params"]:
                if parameter.grad is not None:
                    stacks[parameter.shape].append(parameter)
            for matrices in stacks.values():
                self.step_stack(matrices, group["lr"], group["weight_decay"])
        return loss

    def step_stack(self, matrices: list[Tensor], lr: float, weight_decay: float) -> None:
        """Step matrices of one shape."""
        gradients = [matrix.grad for matrix in matrices if matrix.grad is not None]
        for matrix in matrices:
            if not self.state[matrix]:
                self.state[matrix]["momentum_buffer"] = torch.zeros_like(matrix)
        momenta = [self.state[matrix]["momentum_buffer"] for matrix in matrices]
        torch._foreach_lerp_(momenta, gradients, 1 - MUON_MOMENTUM)
        ahead = torch.stack(list(torch._foreach_lerp(gradients, momenta, MUON_MOMENTUM))).bfloat16()  # Nesterov's
        updates = orthogonalise(ahead).to(matrices[0].dtype, memory_format=torch.contiguous_format)
        torch._foreach_mul_(matrices, 1 - lr * weight_decay)
        torch._foreach_add_(matrices, updates.unbind(), alpha=-lr * 0.2 * math.sqrt(max(matrices[0].shape)))


def orthogonalise(matrices: Tensor) -> Tensor:
    """Bring the singular values of every matrix near 1 (0.7 to 1.2) and keep its singular vectors, [count, rows, columns].

    It takes five steps of Newton and Schulz.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).contiguous()
    x = x / torch.linalg.vector_norm(x, dim=(1, 2), keepdim=True).clamp(min=1e-7)
    linear, cubic, quintic = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=cubic, alpha=quintic), x, beta=linear)
    return x.mT if tall else x


class HiddenMatrices(Protocol):
    """A model that knows which of its parameters are matrices between hidden states."""

    def hidden_matrices(self) -> list[nn.Parameter]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


def adamw(model: HiddenMatrices, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Return AdamW (Loshchilov & Hutter 2019, arXiv 1711.05101) on all parameters."""
    return [make_adamw(list(model.parameters()), settings)]


def lion(model: HiddenMatrices, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Return Lion (Chen et al. 2023, arXiv 2302.06675) on all parameters."""
    groups = parameter_groups(list(model.parameters()), settings.weight_decay)
    return [Lion(groups, lr=settings.learning_rate, betas=settings.betas)]


def muon(model: HiddenMatrices, settings: OptimizerSettings) -> list[torch.optim.Optimizer]:
    """Return Muon on the hidden matrices and AdamW on the rest: input and output maps, embeddings, biases and gains.

    Muon has updates of AdamW's size and twice its learning rate.
    """
    matrices = model.hidden_matrices()
    chosen = {id(parameter) for parameter in matrices}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in chosen and parameter.requires_grad]
    rate = MUON_LEARNING_RATE * settings.learning_rate
    return [StackedMuon(matrices, rate, settings.weight_decay), make_adamw(rest, settings)]


def make_adamw(parameters: Sequence[nn.Parameter], settings: OptimizerSettings) -> torch.optim.AdamW:
    """Return AdamW on `parameters`, all stepped in few kernels."""
    groups = parameter_groups(parameters, settings.weight_decay)
    return torch.optim.AdamW(groups, lr=settings.learning_rate, betas=settings.betas, fused=True)


OPTIMIZERS: dict[str, Callable[[HiddenMatrices, OptimizerSettings], list[torch.optim.Optimizer]]] = {
    "adamw": adamw,
    "lion": lion,
    "muon": muon,
}
"""By value of optimizer."""


def make_schedulers(
    optimizers: Sequence[torch.optim.Optimizer],
    lr_schedule: str,
    warmup_steps: int,
    num_train_steps: int,
    decay_fraction: float = 0,
) -> list[LRScheduler]:
    """Return one of transformers' learning-rate schedules for every optimizer, after a linear warm-up.

    Args:
        lr_schedule: its name there.
        decay_fraction: the last share of the steps, over which warmup_stable_decay (Hu et al. 2024, MiniCPM, arXiv 2404.06395)
            lets the learning rate fall linearly to 0.
    """
    specific = {}
    if lr_schedule == "constant":  # transformers' has no warm-up; stepping past it would silently drop lr_warmup_steps
        lr_schedule = "constant_with_warmup" if warmup_steps else "constant"
    if lr_schedule == "warmup_stable_decay":
        specific = {"num_decay_steps": math.floor(num_train_steps * decay_fraction), "decay_type": "linear"}
    return [get_scheduler(lr_schedule, optimizer, warmup_steps, num_train_steps, specific) for optimizer in optimizers]
