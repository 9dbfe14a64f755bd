"""What is written down of a training of the denoiser: its curves, and the averaged models along it."""

import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor

from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.trainers.validation import FixedValidation
from annealed_lm.training.live_curves import LiveCurves
from annealed_lm.training.trackers import CurveTracking

Rows = list[dict[str, Any]]
SaveSnapshot = Callable[[int], None]
"""Keeps the averaged model as it is after so many steps."""


class RunningLoss:
    """The mean loss since it was last read, added up on the device: reading it is what waits for the device."""

    def __init__(self, device: torch.device) -> None:
        self.total = torch.zeros((), device=device)
        self.count = 0

    def add(self, loss: Tensor) -> None:
        """Add the loss of a step, a scalar on the device."""
        self.total += loss
        self.count += 1

    def read(self) -> float:
        """Return the mean, and begin anew."""
        mean = float(self.total) / self.count
        self.total.zero_()
        self.count = 0
        return mean

    def state_dict(self) -> dict[str, Any]:
        """Return sum and count for a checkpoint."""
        return {"total": self.total, "count": self.count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Put back what `state_dict` returned."""
        self.total.copy_(state_dict["total"])
        self.count = state_dict["count"]


class TrainingRecords:
    """Rows by curve, in the order of the steps; a step counts once it is done.

    The curves are
        `training`: step, loss (the mean since the row before, weighted as it is minimised), T_now (one more than the highest t
            that may be drawn), mean_t (of the density), learning_rate;
        `validation`: step, loss; and `validation_by_log_snr`: step, log_snr, loss; both of the averaged weights;
        `timing`: step, seconds of training so far, validation included.

    Args:
        validation: of the averaged weights.
        save_snapshot: called where an averaged model is due, before any checkpoint of that step: what it keeps in the folder of
            the checkpoint is there after a resume, and the steps that a resume repeats write it again.
    """

    def __init__(
        self, accelerator: Accelerator, validation: FixedValidation, save_snapshot: SaveSnapshot, live: LiveCurves
    ) -> None:
        self.curves: dict[str, Rows] = {"training": [], "validation": [], "validation_by_log_snr": [], "timing": []}
        self.validation = validation
        self.save_snapshot = save_snapshot
        self.tracking = CurveTracking(accelerator)
        self.live = live
        self.last_tick = time.perf_counter()

    def add_training_row(self, done: int, row: dict[str, float]) -> None:
        """Write down `row` of the training curve, and the time."""
        self.curves["training"].append({"step": done} | row)
        now, timing = time.perf_counter(), self.curves["timing"]
        before = timing[-1]["seconds"] if timing else 0.0
        timing.append({"step": done, "seconds": before + now - self.last_tick})
        self.last_tick = now

    def validate(self, done: int, averaged_denoiser: DenoisingTransformer) -> None:
        """Measure and write down the validation loss."""
        losses = self.validation.losses(averaged_denoiser)
        self.curves["validation"].append({"step": done, "loss": losses.mean().item()})
        self.curves["validation_by_log_snr"] += [{"step": done} | row for row in self.validation.by_log_snr(losses)]

    def hand_over(self) -> None:
        """Give the trackers, and the tables to watch, the rows that they have not had."""
        self.tracking.hand_over(self.curves)
        self.live.hand_over(self.curves)
