"""The validation loss by which runs are compared."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from annealed_lm.diffusion import Denoiser, GaussianDiffusion
from annealed_lm.latents import LatentSet, LatentStatistics
from annealed_lm.seeds import generator

VALIDATION_TEXTS = 512
VALIDATION_BATCH = 128
"""Texts at once, those of like length together."""
T_RANGES = 10
"""The loss is reported for so many equal ranges of t."""


class ValidationBatch(NamedTuple):
    """Numbers of the texts, int64 [batch], and what the diffusion's losses are told of them."""

    rows: Tensor
    x_start: Tensor
    mask: Tensor
    noise: Tensor
    class_id: Tensor | None


class FixedValidation:
    """The same texts, timesteps and noise at every step, of every run and every T schedule.

    t stands at the middles of equal strata of the whole range [0, T), whatever training draws: training losses of two T schedules
    cannot be compared, these can.

    Args:
        latents: of the validation texts; the first `VALIDATION_TEXTS` are used.
        self_condition: whether the network is conditioned on a first prediction, as it is when it samples.
        conditional: whether it is told the labels, all of them.
    """

    def __init__(
        self,
        diffusion: GaussianDiffusion,
        latents: LatentSet,
        statistics: LatentStatistics,
        self_condition: bool,
        conditional: bool,
        device: torch.device,
    ) -> None:
        count = min(VALIDATION_TEXTS, len(latents))
        texts = np.argsort(latents.index.lengths[:count], kind="stable")
        order = torch.randperm(count, generator=generator("cpu", "validation", "order"))  # the order of the texts must not tell t
        self.diffusion = diffusion
        self.t = ((order + 0.5) / count * diffusion.timesteps).long().to(device)
        self.self_condition = self_condition
        self.batches: list[ValidationBatch] = []
        for start in range(0, count, VALIDATION_BATCH):
            rows = texts[start : start + VALIDATION_BATCH]
            x_start, mask = latents.batch(rows)
            x_start = statistics.normalise(x_start)
            noise = torch.randn(x_start.shape, generator=generator("cpu", "validation", "noise", start))
            labels = latents.index.labels if conditional else None
            class_id = None if labels is None else torch.from_numpy(labels[rows]).to(device)
            self.batches.append(
                ValidationBatch(
                    torch.from_numpy(rows).to(device), x_start.to(device), mask.to(device), noise.to(device), class_id
                )
            )

    @torch.no_grad()
    def losses(self, denoiser: Denoiser) -> Tensor:
        """Loss of each text at its own t, [texts]."""
        losses = torch.empty(len(self.t), device=self.t.device)
        for rows, x_start, mask, noise, class_id in self.batches:
            conditioned = torch.arange(len(rows) if self.self_condition else 0, device=rows.device)
            losses[rows] = self.diffusion.losses(denoiser, x_start, self.t[rows], noise, mask, conditioned, class_id)
        return losses

    def by_range(self, losses: Tensor) -> list[dict[str, Any]]:
        """Mean loss of each of `T_RANGES` equal ranges of t that holds a text: rows of t_range, loss."""
        timesteps = self.diffusion.timesteps
        edges = [r * timesteps // T_RANGES for r in range(T_RANGES + 1)]
        rows = []
        for low, high in pairwise(edges):
            inside = (self.t >= low) & (self.t < high)
            if bool(inside.any()):
                rows.append({"t_range": f"{low}-{high - 1}", "loss": losses[inside].mean().item()})
        return rows
