"""The validation loss by which runs are compared."""

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor

from annealed_lm.diffusion import Denoiser, GaussianDiffusion
from annealed_lm.latents import LatentSet, LatentStatistics
from annealed_lm.seeds import generator

VALIDATION_TEXTS = 512
T_RANGES = 10
"""The loss is reported for so many equal ranges of t."""


class FixedValidation:
    """The same texts, timesteps and noise at every step, of every run and every T schedule.

    t stands at the middles of equal strata of the whole range [0, T), whatever training draws: training losses of two T schedules
    cannot be compared, these can.

    Args:
        latents: of the validation texts; the first `VALIDATION_TEXTS` are used. Their labels, if they have any, are given to the
            network, all of them.
        self_condition: whether the network is conditioned on a first prediction, as it is when it samples.
    """

    def __init__(
        self,
        diffusion: GaussianDiffusion,
        latents: LatentSet,
        statistics: LatentStatistics,
        self_condition: bool,
        device: torch.device,
    ) -> None:
        count = min(VALIDATION_TEXTS, len(latents))
        x_start, mask = latents.batch(np.arange(count))
        self.diffusion = diffusion
        self.x_start = statistics.normalise(x_start).to(device)
        self.mask = mask.to(device)
        order = torch.randperm(count, generator=generator("cpu", "validation", "order"))  # the order of the texts must not tell t
        self.t = ((order + 0.5) / count * diffusion.timesteps).long().to(device)
        self.noise = torch.randn(x_start.shape, generator=generator("cpu", "validation", "noise")).to(device)
        self.self_cond_rows = torch.full_like(self.t, self_condition, dtype=torch.bool)
        self.class_id = None if latents.labels is None else torch.from_numpy(latents.labels[:count]).to(device)

    @torch.no_grad()
    def losses(self, denoiser: Denoiser) -> Tensor:
        """Loss of each text at its own t, [texts]."""
        return self.diffusion.losses(denoiser, self.x_start, self.t, self.noise, self.mask, self.self_cond_rows, self.class_id)

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
