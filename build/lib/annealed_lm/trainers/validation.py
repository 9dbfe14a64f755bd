"""The validation loss by which runs are compared."""

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from annealed_lm.autoencoder.latents import LatentSet
from annealed_lm.common.seeds import generator
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.diffusion.process import Denoiser, GaussianDiffusion

VALIDATION_TEXTS = 512
"""The most texts that are used."""
VALIDATION_BATCH = 128
"""How many of them are evaluated at once, those of like length together."""
LOG_SNR_EDGES = (-6, -4, -2, 0, 2, 4, 6)
"""The loss is reported by log-SNR, between these: a log-SNR means the same under every noise schedule."""
LOG_SNR_BINS = ("below -6", *(f"{low} to {high}" for low, high in pairwise(LOG_SNR_EDGES)), "above 6")


class ValidationBatch(NamedTuple):
    """The numbers of some texts, int64 [batch], and the arguments of the diffusion's losses for them."""

    rows: Tensor
    x_start: Tensor
    mask: Tensor
    noise: Tensor
    class_id: Tensor | None


class FixedValidation:
    """The same texts, timesteps and noise at every step, of every run and every T schedule.

    t stands at the middles of equal strata of the whole range [0, T), or of what range_start leaves of it, whatever training
    draws there: training losses of two T schedules cannot be compared, these can, where range_start is the same.

    Args:
        latents: of the validation texts; the first `VALIDATION_TEXTS` are used.
        self_condition: whether the network is conditioned on a first prediction, as it is when it samples.
        conditional: whether the network is given the labels, none of them withheld.
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
        # At random: t must not follow the order of the texts, which is by length.
        order = torch.randperm(count, generator=generator("cpu", "validation", "order"))
        self.diffusion = diffusion
        first, trained = diffusion.first_timestep, diffusion.timesteps - diffusion.first_timestep
        self.t = (first + (order + 0.5) / count * trained).long().to(device)
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
        """Return the loss of every text at its own t, [texts]."""
        losses = torch.empty(len(self.t), device=self.t.device)
        for rows, x_start, mask, noise, class_id in self.batches:
            conditioned = torch.arange(len(rows) if self.self_condition else 0, device=rows.device)
            losses[rows] = self.diffusion.losses(denoiser, x_start, self.t[rows], noise, mask, conditioned, class_id)
        return losses

    def by_log_snr(self, losses: Tensor) -> list[dict[str, Any]]:
        """Average `losses` in every bin of log-SNR that holds a text, from noise to signal, as rows of log_snr, loss."""
        alphas_cumprod = self.diffusion.alphas_cumprod[self.t]
        log_snr = alphas_cumprod.log() - (-alphas_cumprod).log1p()
        bins = torch.bucketize(log_snr, torch.tensor(LOG_SNR_EDGES, device=log_snr.device, dtype=log_snr.dtype), right=True)
        filled = [(name, bins == number) for number, name in enumerate(LOG_SNR_BINS) if bool((bins == number).any())]
        return [{"log_snr": name, "loss": losses[inside].mean().item()} for name, inside in filled]
