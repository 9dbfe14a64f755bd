"""From a trained diffusion to texts: how many vectors each text gets, which label, its latents, its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from annealed_lm.autoencoder.latents import Floats, LatentIndex, draw_training_rows
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.errors import InputError
from annealed_lm.diffusion.model import DiffusionModel
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.generation.decoding import DecodingSettings, decode_latents
from annealed_lm.generation.solvers import SamplingSettings, sample_latents


@dataclass(frozen=True)
class Outline:
    """What is decided of each text before it is sampled.

    Attributes:
        lengths: latent vectors of each text.
        labels: of each text, None if the model is unconditional.
    """

    lengths: list[int]
    labels: list[str] | None


class TextSampler:
    """A trained diffusion and the decoder of its latents. Text i of a set depends on (seed, i), not on the batch size."""

    def __init__(self, model: DiffusionModel, latents: Path, autoencoder: Autoencoder, device: torch.device) -> None:
        self.model = model
        self.train = LatentIndex.load(latents, "train")
        width = model.denoiser.settings.latent_dim
        self.statistics = LatentStatistics.load(latents) if model.process.normalize_latent else LatentStatistics.identity(width)
        self.autoencoder = autoencoder.to(device)
        self.device = device

    def outline(self, count: int, seed: int) -> Outline:
        """Lengths, and labels of a conditional model, as those of `count` random training texts: in their proportions."""
        rows = draw_training_rows(len(self.train), count, seed)
        return self.outline_of(rows)

    def outline_of_label(self, label: str, count: int, seed: int) -> Outline:
        """The same for `count` texts of one label, which the model knows.

        Raises:
            InputError: no training text has it, so that nothing is known of its lengths.
        """
        assert self.train.labels is not None  # a conditional model was trained on labels
        of_label = np.flatnonzero(self.train.labels == self.model.labels.index(label))
        if not len(of_label):
            raise InputError(f"no training text has the label {label}, so the diffusion model has learned nothing of it")
        return self.outline_of([int(of_label[row]) for row in draw_training_rows(len(of_label), count, seed)])

    def require_labels(self, labels: Sequence[str]) -> None:
        """Check that the model can be asked for these labels.

        Raises:
            InputError: the model is unconditional, or knows other labels.
        """
        known = self.model.labels
        if not known:
            raise InputError(
                "the diffusion model knows no labels: it was trained with class_conditional: false (of train_diffusion)"
            )
        for label in labels:
            if label not in known:
                raise InputError(f"the diffusion model does not know the label {label}: its labels are {', '.join(known)}")

    def outline_of(self, rows: Sequence[int]) -> Outline:
        lengths = [int(self.train.lengths[row]) for row in rows]
        if not self.model.labels:
            return Outline(lengths, None)
        assert self.train.labels is not None  # a conditional model was trained on labels
        return Outline(lengths, [self.model.labels[self.train.labels[row]] for row in rows])

    def latents(self, outline: Outline, seed: int, settings: SamplingSettings) -> list[Floats]:
        """Latents [length, latent_dim] of each text, not normalised."""
        class_ids = None if outline.labels is None else [self.model.labels.index(label) for label in outline.labels]
        return sample_latents(
            self.model.process.diffusion(self.device),
            self.model.denoiser.to(self.device),
            self.statistics,
            outline.lengths,
            class_ids,
            settings,
            seed,
        )

    def texts(
        self, latents: Sequence[Floats], strategy: str, settings: DecodingSettings, seed: int, batch_size: int
    ) -> list[str]:
        """The text of each latent, by a decoding strategy; an empty text keeps its place."""
        return decode_latents(self.autoencoder, latents, strategy, settings, seed, batch_size)


def text_rows(texts: Sequence[str], labels: Sequence[str] | None) -> list[dict[str, str]]:
    """Rows for a file: each text, and the label that it was asked to have."""
    if labels is None:
        return [{"text": text} for text in texts]
    return [{"text": text, "label": label} for text, label in zip(texts, labels, strict=True)]
