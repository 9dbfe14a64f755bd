"""The exponential moving average of the weights, by which models are validated and sampled."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """A copy of a model, in evaluation mode, whose weights follow the model's with decay
    min(ema_decay, 1 - (1 + step)^-ema_power): short at first.

    torch's AveragedModel counts its updates on the device and so waits for it at every step; here the step is told.

    Args:
        fused: update all weights in a few kernels, and not one after the other.
    """

    def __init__(self, model: nn.Module, ema_decay: float, ema_power: float, fused: bool) -> None:
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self.ema_decay = ema_decay
        self.ema_power = ema_power
        self.fused = fused

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow the weights of `model` after the update of `step` (0-based); the first average is the weights themselves."""
        decay = min(self.ema_decay, 1 - (1 + step) ** -self.ema_power)
        averaged: list[Tensor] = list(self.module.parameters())
        current: list[Tensor] = list(model.parameters())
        if self.fused:
            torch._foreach_lerp_(averaged, current, 1 - decay)
            return
        for average, weight in zip(averaged, current, strict=True):
            average.lerp_(weight, 1 - decay)

    def state_dict(self) -> dict[str, Any]:
        return self.module.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.module.load_state_dict(state_dict)
