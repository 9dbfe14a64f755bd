"""Latents as data: encoded once, ragged and without padding, in half precision, memory-mapped where they are read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from annealed_lm.errors import InputError
from annealed_lm.seeds import generator

Floats = npt.NDArray[np.float32]
SMALLEST_STD = 1e-6
"""A dimension that hardly varies is not blown up."""


@dataclass(frozen=True)
class LatentSet:
    """The latents of one split.

    Attributes:
        vectors: float16 [all vectors, latent_dim], text after text.
        offsets: int64 [texts + 1]; text i owns vectors[offsets[i]:offsets[i + 1]].
        labels: int64 [texts], places in the list of label names; None for a corpus without labels.
    """

    vectors: npt.NDArray[np.float16]
    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None

    @classmethod
    def from_rows(cls, rows: Sequence[Floats], labels: Sequence[int] | None = None) -> "LatentSet":
        """Join arrays [length, latent_dim] of any lengths; `labels` has one for each."""
        offsets = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        joined = np.concatenate(rows).astype(np.float16)
        return cls(joined, offsets, None if labels is None else np.array(labels, dtype=np.int64))

    @classmethod
    def load(cls, folder: Path, split: str) -> "LatentSet":
        """Map the files of `save`, read-only: they may be links into a cache.

        Raises:
            InputError: `folder` has no latents of this split.
        """
        if not (folder / f"{split}.npy").exists():
            raise InputError(f"{folder} holds no {split} latents; the stage encode_latents writes them")
        labels = folder / f"{split}_labels.npy"
        return cls(
            np.load(folder / f"{split}.npy", mmap_mode="r"),
            np.load(folder / f"{split}_offsets.npy"),
            np.load(labels) if labels.exists() else None,
        )

    def save(self, folder: Path, split: str) -> None:
        np.save(folder / f"{split}.npy", self.vectors)
        np.save(folder / f"{split}_offsets.npy", self.offsets)
        if self.labels is not None:
            np.save(folder / f"{split}_labels.npy", self.labels)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Vectors of each text, [texts]."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> Floats:
        """Latents of one text, [length, latent_dim]."""
        return self.vectors[self.offsets[index] : self.offsets[index + 1]].astype(np.float32)

    def batch(self, indices: npt.NDArray[np.int64]) -> tuple[Tensor, Tensor]:
        """Latents float32 [batch, longest, latent_dim], zero where padded, and mask [batch, longest] (True: real)."""
        lengths = self.lengths[indices]
        positions = np.arange(lengths.max())
        mask = positions < lengths[:, None]
        vectors = self.vectors[np.where(mask, self.offsets[indices][:, None] + positions, self.offsets[indices][:, None])]
        padded = vectors.astype(np.float32) * mask[:, :, None]
        return torch.from_numpy(padded), torch.from_numpy(mask)


@dataclass(frozen=True)
class LatentStatistics:
    """Mean and standard deviation over the whole training set.

    Attributes:
        mean, std: float32 [positions, latent_dim], with positions = num_latents for compressed latents, whose vectors each have
            a role of their own, and 1 for latents per token.
    """

    mean: Tensor
    std: Tensor

    @classmethod
    def of(cls, latents: LatentSet, per_position: bool) -> "LatentStatistics":
        """Statistics of `latents`; `per_position` needs texts of one length."""
        positions = int(latents.lengths[0]) if per_position else 1
        vectors = torch.from_numpy(np.asarray(latents.vectors, dtype=np.float64).reshape(-1, positions, latents.vectors.shape[1]))
        return cls(vectors.mean(0).float(), vectors.std(0, correction=0).clamp(min=SMALLEST_STD).float())

    @classmethod
    def identity(cls, latent_dim: int) -> "LatentStatistics":
        """Statistics that change nothing."""
        return cls(torch.zeros(1, latent_dim), torch.ones(1, latent_dim))

    @classmethod
    def load(cls, folder: Path) -> "LatentStatistics":
        return cls(torch.from_numpy(np.load(folder / "mean.npy")), torch.from_numpy(np.load(folder / "std.npy")))

    def save(self, folder: Path) -> None:
        np.save(folder / "mean.npy", self.mean.numpy())
        np.save(folder / "std.npy", self.std.numpy())

    def normalise(self, latents: Tensor) -> Tensor:
        """[..., length, latent_dim] -> the same, each dimension of mean 0 and standard deviation 1 over the training set."""
        return (latents - self.mean.to(latents.device)) / self.std.to(latents.device)

    def unnormalise(self, latents: Tensor) -> Tensor:
        """The inverse of `normalise`."""
        return latents * self.std.to(latents.device) + self.mean.to(latents.device)


def index_labels(labels: Mapping[str, Sequence[str | None]]) -> tuple[list[str], dict[str, list[int] | None]]:
    """The different labels of all splits, sorted, and the place in that list of each text's; a corpus without labels has neither.

    Args:
        labels: the label of each text, by split.

    Raises:
        InputError: some texts have a label and some have none.
    """
    names = sorted({label for each in labels.values() for label in each if label is not None})
    if not names:
        return [], dict.fromkeys(labels)
    for split, each in labels.items():
        if None in each:
            raise InputError(
                f"line {each.index(None) + 1} of {split}.jsonl has no label, which other texts have: label every text or none"
            )
    places: dict[str | None, int] = {name: place for place, name in enumerate(names)}
    return names, {split: [places[label] for label in each] for split, each in labels.items()}


def draw_training_rows(train_texts: int, count: int, seed: int) -> list[int]:
    """Which of the `train_texts` training texts each of `count` new texts takes its length and label from.

    That of text i depends on (seed, i) only, so both follow the training histogram.
    """
    return [int(torch.randint(train_texts, (), generator=generator("cpu", seed, "length", i))) for i in range(count)]


def gaussian_latents(statistics: LatentStatistics, lengths: Sequence[int], seed: int) -> list[Floats]:
    """The control: what a diffusion that learned nothing would hand to the decoder.

    Normal noise [length, latent_dim] for each length, with the mean and standard deviation of the training latents.
    """
    width = statistics.mean.shape[1]
    noise = [torch.randn(length, width, generator=generator("cpu", seed, "control", i)) for i, length in enumerate(lengths)]
    return [statistics.unnormalise(each).numpy() for each in noise]
