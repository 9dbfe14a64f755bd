"""A loss that is added up on the device, so that nothing waits for it before it is read."""

from typing import Any

import torch
from torch import Tensor


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
