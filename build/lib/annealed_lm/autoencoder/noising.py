"""Noise on latents, as the diffusion has it, for a decoder that is to read latents of any noise level.

A noise level l is sqrt(1 - alphas_cumprod): x_t = sqrt(1 - l^2) x_start + l noise, of latents that are normalised by dimension.
The decoder of an autoencoder is trained before there are latents to measure, so it normalises them by running statistics.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from annealed_lm.diffusion.normalization import SMALLEST_STD

STATISTICS_MEMORY = 0.99
"""How much of the running statistics a batch leaves, at most: they look back over about a hundred batches."""
NOT_TOLD = -1.0
"""Stands for the noise level of a text whose decoder is to find out by itself."""
LEVEL_FREQUENCIES = 16
"""Cosines in which a noise level is written."""

NOISE_LEVELS: dict[str, Callable[[Tensor], Tensor]] = {"uniform": lambda u: u, "cosine": lambda u: torch.sin(math.pi / 2 * u)}
"""By value of latent_noise_levels: uniforms in [0, 1) -> shares of the highest level. `cosine` is uniform in t of that noise
schedule, with more of the high levels, and `uniform` in the level itself."""


class LatentNoising(nn.Module):
    """Noise on latents that its running statistics normalise.

    Args:
        positions: 1, or how many vectors a text has, where every one has statistics of its own.
    """

    mean: Tensor
    std: Tensor
    batches: Tensor

    def __init__(self, positions: int, latent_dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(positions, latent_dim))
        self.register_buffer("std", torch.ones(positions, latent_dim))
        self.register_buffer("batches", torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def observe(self, latents: Tensor, mask: Tensor) -> None:
        """Work the latents of a batch [batch, vectors, latent_dim] into the statistics; mask [batch, vectors] (True: real)."""
        values = latents[mask][:, None] if len(self.mean) == 1 else latents
        kept = (self.batches / (self.batches + 1)).clamp(max=STATISTICS_MEMORY)  # at first the mean of all batches
        self.mean.lerp_(values.mean(0), 1 - kept)
        deviations = (values - self.mean).square().mean(0).sqrt().clamp(min=SMALLEST_STD)
        self.std.lerp_(deviations, 1 - kept)
        self.batches += 1

    def forward(self, latents: Tensor, levels: Tensor) -> Tensor:
        """Return latents [batch, vectors, latent_dim] with noise of the levels [batch], not normalised on the way in and out."""
        levels = levels[:, None, None]
        signal = (1 - levels**2).sqrt()
        return signal * latents + (1 - signal) * self.mean + levels * self.std * torch.randn_like(latents)


class LevelEmbedding(nn.Module):
    """What a decoder is told of the noise level: nothing, as long as it is untrained."""

    def __init__(self, d_model: int) -> None:
        super().__init__()
        self.projection = nn.Linear(LEVEL_FREQUENCIES, d_model, bias=False)
        nn.init.zeros_(self.projection.weight)

    def forward(self, levels: Tensor) -> Tensor:
        """Return vectors [batch, 1, d_model] of noise levels [batch], zeros where a level is `NOT_TOLD`.

        A level is written as an angle: signal and noise are its cosine and its sine.
        """
        angles = torch.asin(levels.clamp(min=0))[:, None] * torch.arange(LEVEL_FREQUENCIES, device=levels.device) * 2
        vectors: Tensor = self.projection(torch.cos(angles)) * (levels != NOT_TOLD)[:, None]
        return vectors[:, None]


class NoiseAdapter(nn.Module):
    """Blocks that turn noisy states of a frozen encoder into such as its frozen decoder can read. Untrained they change nothing.

    Args:
        width: of the states.
        layers: self-attention blocks.
    """

    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.noising = LatentNoising(1, width)
        self.level = LevelEmbedding(width)
        options: dict[str, Any] = {
            "nhead": heads,
            "dim_feedforward": 4 * width,
            "dropout": 0.0,
            "batch_first": True,
            "norm_first": True,
        }
        self.blocks = nn.ModuleList(nn.TransformerEncoderLayer(width, **options) for _ in range(layers))
        self.correction = nn.Linear(width, width)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, states: Tensor, mask: Tensor, levels: Tensor) -> Tensor:
        """Return what the decoder reads, [batch, vectors, width], of states with noise of the levels [batch].

        Args:
            mask: [batch, vectors], True: real.
        """
        normalised = (states - self.noising.mean) / self.noising.std
        hidden = normalised + self.level(levels)
        for block in self.blocks:
            hidden = block(hidden, src_key_padding_mask=~mask)
        corrected: Tensor = states + self.correction(hidden) * self.noising.std
        return corrected

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Return the matrices of the blocks, and the last one."""
        return [p for p in [*self.blocks.parameters(), *self.correction.parameters()] if p.ndim == 2]
