"""The exponential moving average of the weights, by which models are validated and sampled."""

import copy
from typing import Any

import torch
from torch import Tensor, nn


class MovingAverage:
    """A copy of a model, in evaluation mode, whose weights follow the model's with decay
    min(ema_decay, 1 - (1 + step)^-ema_power): short at first.

    torch's AveragedModel counts its updates on the device and so waits for it at every step; here the caller says the step.
    """

    def __init__(self, model: nn.Module, ema_decay: float, ema_power: float) -> None:
        self.module = copy.deepcopy(model).requires_grad_(False).eval()
        self.ema_decay = ema_decay
        self.ema_power = ema_power

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Follow the weights of `model` after the update of `step` (0-based); the first average is the weights themselves."""
        decay = min(self.ema_decay, 1 - (1 + step) ** -self.ema_power)
        self.follow(list(self.module.parameters()), list(model.parameters()), 1 - decay)

    def follow(self, averaged: list[Tensor], current: list[Tensor], share: float) -> None:
        """Move every averaged weight by `share` of the way to the current one, all in few kernels."""
        torch._foreach_lerp_(averaged, current, share)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights."""
        return self.module.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.module.load_state_dict(state_dict)
