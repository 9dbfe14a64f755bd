"""Latents as data: encoded once, ragged and without padding, in half precision, memory-mapped where they are read."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_array
from annealed_lm.common.seeds import generator
from annealed_lm.diffusion.normalization import LatentStatistics

Floats = npt.NDArray[np.float32]
SHARE_OF_FREE_MEMORY = 0.3
"""Share of a GPU's free memory that latents may take."""


@dataclass(frozen=True)
class LatentIndex:
    """Which latents the texts of a split have: what is known of them without the vectors.

    Attributes:
        offsets: int64 [texts + 1]; text i owns the vectors offsets[i] to offsets[i + 1].
        labels: int64 [texts], places in the list of label names; None for a corpus without labels.
    """

    offsets: npt.NDArray[np.int64]
    labels: npt.NDArray[np.int64] | None

    @classmethod
    def of(cls, lengths: Sequence[int], labels: Sequence[int] | None) -> "LatentIndex":
        """Return the index of texts of these lengths, in vectors, and with these labels; both have one entry a text."""
        offsets = np.cumsum([0, *lengths], dtype=np.int64)
        return cls(offsets, None if labels is None else np.array(labels, dtype=np.int64))

    @classmethod
    def load(cls, folder: Path, split: str) -> "LatentIndex":
        """Read what `save` wrote of a split.

        Raises:
            InputError: `folder` has no latents of this split.
        """
        if not (folder / f"{split}_offsets.npy").exists():
            raise InputError(f"{folder} holds no {split} latents; the stage encode_latents writes them")
        labels = folder / f"{split}_labels.npy"
        return cls(read_array(folder / f"{split}_offsets.npy"), read_array(labels) if labels.exists() else None)

    def save(self, folder: Path, split: str) -> None:
        """Write the index to `folder`, in files named after the split."""
        np.save(folder / f"{split}_offsets.npy", self.offsets)
        if self.labels is not None:
            np.save(folder / f"{split}_labels.npy", self.labels)

    @cached_property
    def lengths(self) -> npt.NDArray[np.int64]:
        """How many vectors every text has, [texts]."""
        return np.diff(self.offsets)

    def __len__(self) -> int:
        return len(self.offsets) - 1


class LatentSource(Protocol):
    """Where training takes its latents from: at hand (`LatentSet`), or encoded when a batch needs them (`EncodedTexts`)."""

    @property
    def index(self) -> LatentIndex: ...

    def batch(self, texts: npt.NDArray[np.int64], length: int | None = None) -> tuple[Tensor, Tensor]:
        """Return the latents of some texts and their mask.

        Args:
            texts: numbers of the texts, int64 [batch].
            length: how many vectors a text is padded to; None: as many as the longest of these texts has.

        Returns:
            Latents float32 [batch, length, latent_dim], zero where padded, and mask [batch, length] (True: real).
        """
        ...


@dataclass(frozen=True)
class LatentSet:
    """The latents of one split: `vectors` float16 [all vectors, latent_dim], text after text."""

    vectors: npt.NDArray[np.float16]
    index: LatentIndex

    @classmethod
    def from_rows(cls, rows: Sequence[Floats], labels: Sequence[int] | None = None) -> "LatentSet":
        """Join the latents of the texts, arrays [length, latent_dim] of any lengths; `labels` has one entry a text."""
        return cls(np.concatenate(rows).astype(np.float16), LatentIndex.of([len(row) for row in rows], labels))

    @classmethod
    def load(cls, folder: Path, split: str) -> "LatentSet":
        """Map what `save` wrote of a split into memory, read-only: the files may be links into a cache.

        Raises:
            InputError: `folder` has no latents of this split, or only their index.
        """
        index = LatentIndex.load(folder, split)
        if not (folder / f"{split}.npy").exists():
            raise InputError(f"{folder} holds no vectors of the {split} texts: encode_latents.train_latents = cached writes them")
        return cls(read_array(folder / f"{split}.npy", mapped=True), index)

    def save(self, folder: Path, split: str) -> None:
        """Write the vectors and their index to `folder`, in files named after the split."""
        np.save(folder / f"{split}.npy", self.vectors)
        self.index.save(folder, split)

    def __len__(self) -> int:
        return len(self.index)

    def __iter__(self) -> Iterator[Floats]:
        return (self[text] for text in range(len(self)))

    def __getitem__(self, text: int) -> Floats:
        """Return the latents of one text, float32 [length, latent_dim]."""
        return self.vectors[self.index.offsets[text] : self.index.offsets[text + 1]].astype(np.float32)

    def batch(self, texts: npt.NDArray[np.int64], length: int | None = None) -> tuple[Tensor, Tensor]:
        """Return a batch, as `LatentSource.batch` says."""
        rows, mask = self.rows(texts, length)
        padded = self.vectors[rows].astype(np.float32) * mask[:, :, None]
        return torch.from_numpy(padded), torch.from_numpy(mask)

    def rows(self, texts: npt.NDArray[np.int64], length: int | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Return which rows of `vectors` make up a batch, int64 [batch, length], any row where padded, and the mask
        [batch, length]."""
        starts, lengths = self.index.offsets[texts], self.index.lengths[texts]
        positions = np.arange(length or lengths.max())
        mask = positions < lengths[:, None]
        return np.where(mask, starts[:, None] + positions, starts[:, None]), mask


class LatentsOnDevice:
    """The latents of a `LatentSet`, held by a GPU: a batch costs no copy of vectors."""

    def __init__(self, latents: LatentSet, device: torch.device) -> None:
        self.index = latents.index
        self.latents = latents
        self.vectors = torch.from_numpy(np.array(latents.vectors)).to(device)

    def batch(self, texts: npt.NDArray[np.int64], length: int | None = None) -> tuple[Tensor, Tensor]:
        """Return a batch, as `LatentSource.batch` says, on the device."""
        rows, mask = (
            torch.from_numpy(each).to(self.vectors.device, non_blocking=True) for each in self.latents.rows(texts, length)
        )
        return self.vectors[rows].float() * mask[:, :, None], mask


def nearest_source(latents: LatentSet, device: torch.device) -> LatentSource:
    """Return the latents on the device, if it is a GPU with room for them, and otherwise where they are."""
    if device.type == "cuda" and latents.vectors.nbytes < SHARE_OF_FREE_MEMORY * torch.cuda.mem_get_info(device)[0]:
        return LatentsOnDevice(latents, device)
    return latents


def index_labels(labels: Mapping[str, Sequence[str | None]]) -> tuple[list[str], dict[str, list[int] | None]]:
    """Return the different labels of all splits, sorted, and the place of every text's label in that list, by split.

    A corpus without labels has an empty list, and None for every split.

    Args:
        labels: the label of every text, by split.

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
    """Return the numbers of `count` random training texts, from which as many new texts take their length and label.

    The number for text i depends on (seed, i) only. So lengths and labels are distributed as in the training set.

    Args:
        train_texts: how many training texts there are.
    """
    return [int(torch.randint(train_texts, (), generator=generator("cpu", seed, "length", i))) for i in range(count)]


def gaussian_latents(statistics: LatentStatistics, lengths: Sequence[int], seed: int) -> list[Floats]:
    """Return the control: what a diffusion that learned nothing would hand to the decoder.

    It is normal noise [length, latent_dim] for every length, with the mean and standard deviation of the training latents.
    """
    width = statistics.mean.shape[1]
    noise = [torch.randn(length, width, generator=generator("cpu", seed, "control", i)) for i, length in enumerate(lengths)]
    return [statistics.unnormalise(each).numpy() for each in noise]


def noised_latents(latents: Sequence[Floats], statistics: LatentStatistics, level: float, seed: int) -> list[Floats]:
    """Return latents [length, latent_dim] as the diffusion has them at a noise level, not normalised on the way in and out.

    They are sqrt(1 - level^2) z + level noise for normalised latents z: level 1 leaves nothing of the text. The noise of text i
    depends on (seed, i).
    """
    noisy = []
    for i, row in enumerate(latents):
        z = statistics.normalise(torch.from_numpy(row))
        noise = torch.randn(z.shape, generator=generator("cpu", seed, "noised", i))
        noisy.append(statistics.unnormalise((1 - level**2) ** 0.5 * z + level * noise).numpy())
    return noisy
