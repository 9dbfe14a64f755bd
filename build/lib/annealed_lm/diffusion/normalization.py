"""Normalisation of latents: every dimension has mean 0 and standard deviation 1 over the training set."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from annealed_lm.common.files import read_array

SMALLEST_STD = 1e-6
"""A dimension that hardly varies is not blown up."""


STATISTICS_CHUNK = 256
"""How many texts' latents are added up at once."""


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation over the whole training set.

    Attributes:
        mean, std: float32 [positions, latent_dim], with positions = num_latents for compressed latents, whose vectors all have a
            role of their own, and 1 for latents per token.
        rms: root mean square of what `normalise` returns, over all of its dimensions.
    """

    mean: Tensor
    std: Tensor
    rms: float = 1.0

    @classmethod
    def of(cls, rows: Iterable[npt.NDArray[np.float32]], per_position: bool) -> "LatentStatistics":
        """Return the statistics of arrays [length, latent_dim], taken one at a time.

        They are of the values in half precision, as latents are stored.

        Args:
            per_position: whether every position has its own; the arrays must then have one length.
        """
        count, total, squares = 0, 0.0, 0.0
        remaining = iter(rows)
        while some := list(islice(remaining, STATISTICS_CHUNK)):
            values = np.stack(some) if per_position else np.concatenate(some)[:, None]
            values = values.astype(np.float16).astype(np.float64)
            count += len(values)
            total, squares = total + values.sum(0), squares + (values**2).sum(0)
        mean = total / count
        variance = np.maximum(squares / count - mean**2, SMALLEST_STD**2)
        return cls(torch.tensor(mean, dtype=torch.float32), torch.tensor(np.sqrt(variance), dtype=torch.float32))

    @classmethod
    def identity(cls, latent_dim: int) -> "LatentStatistics":
        """Return statistics that change nothing, of latents that are normalised as they are."""
        return cls(torch.zeros(1, latent_dim), torch.ones(1, latent_dim))

    def changing_nothing(self) -> "LatentStatistics":
        """Return statistics that change nothing, of the same latents."""
        rms = float((self.mean.double() ** 2 + self.std.double() ** 2).mean().sqrt())
        return LatentStatistics(torch.zeros_like(self.mean), torch.ones_like(self.std), rms)

    @classmethod
    def load(cls, folder: Path) -> "LatentStatistics":
        """Read what `save` wrote."""
        return cls(torch.from_numpy(read_array(folder / "mean.npy")), torch.from_numpy(read_array(folder / "std.npy")))

    def save(self, folder: Path) -> None:
        """Write both to `folder`."""
        np.save(folder / "mean.npy", self.mean.numpy())
        np.save(folder / "std.npy", self.std.numpy())

    def to(self, device: torch.device) -> "LatentStatistics":
        """Return the same statistics on `device`."""
        return LatentStatistics(self.mean.to(device), self.std.to(device), self.rms)

    def normalise(self, latents: Tensor) -> Tensor:
        """Bring every dimension of latents [..., length, latent_dim] to mean 0 and standard deviation 1 over the training set."""
        return (latents - self.mean.to(latents.device)) / self.std.to(latents.device)

    def unnormalise(self, latents: Tensor) -> Tensor:
        """Undo `normalise`."""
        return latents * self.std.to(latents.device) + self.mean.to(latents.device)
