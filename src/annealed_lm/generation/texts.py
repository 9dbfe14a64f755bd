"""From a trained diffusion to texts: how many vectors a text gets, which label, its latents, its words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from annealed_lm.autoencoder.latents import Floats, LatentIndex, draw_training_rows
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import LATENT_AGREEMENT
from annealed_lm.diffusion.model import DiffusionModel
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.generation.agreement import latent_agreement
from annealed_lm.generation.decoding import DecodingSettings, decode_latents
from annealed_lm.generation.sampling import SamplingSettings, sample_latents


@dataclass(frozen=True)
class Outline:
    """What is decided of every text before its latents are sampled.

    Attributes:
        lengths: how many latent vectors every text has.
        labels: the label of every text; None if the model is unconditional.
    """

    lengths: list[int]
    labels: list[str] | None


class TextSampler:
    """A trained diffusion and the decoder of its latents. Text i of a set depends on (seed, i), not on the batch size."""

    def __init__(self, model: DiffusionModel, latents: Path, autoencoder: Autoencoder, device: torch.device) -> None:
        self.model = model
        self.train = LatentIndex.load(latents, "train")
        self.latent_statistics = LatentStatistics.load(latents)
        normalised = model.process.normalize_latent
        self.statistics = self.latent_statistics if normalised else self.latent_statistics.changing_nothing()
        self.autoencoder = autoencoder.to(device)
        for network in filter(None, (model.denoiser, model.guide)):
            network.to(device)
        self.device = device

    def outline(self, count: int, seed: int) -> Outline:
        """Return the outline of `count` texts: lengths, and the labels of a conditional model, as in the training set."""
        rows = draw_training_rows(len(self.train), count, seed)
        return self.outline_of(rows)

    def outline_of_label(self, label: str, count: int, seed: int) -> Outline:
        """Return the outline of `count` texts of one label, which the model knows: lengths as those of its training texts.

        Raises:
            InputError: no training text has the label, so that nothing is known of its lengths.
        """
        assert self.train.labels is not None  # a conditional model was trained on labels
        of_label = np.flatnonzero(self.train.labels == self.model.labels.index(label))
        if not len(of_label):
            raise InputError(f"no training text has the label {label}, so the diffusion model has learned nothing of it")
        return self.outline_of([int(of_label[row]) for row in draw_training_rows(len(of_label), count, seed)])

    def require_labels(self, labels: Sequence[str]) -> None:
        """Check that the model knows these labels.

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
        """Return the outline of texts like the training texts of these numbers."""
        lengths = [int(self.train.lengths[row]) for row in rows]
        if not self.model.labels:
            return Outline(lengths, None)
        assert self.train.labels is not None  # a conditional model was trained on labels
        return Outline(lengths, [self.model.labels[self.train.labels[row]] for row in rows])

    def latents(self, outline: Outline, seed: int, settings: SamplingSettings) -> list[Floats]:
        """Sample the latents [length, latent_dim] of every text, not normalised.

        Raises:
            InputError: guidance of a model without classes, autoguidance without a guide, or the device cannot compute in
                this precision.
        """
        class_ids = None if outline.labels is None else [self.model.labels.index(label) for label in outline.labels]
        return sample_latents(
            self.model.process.diffusion(self.device, self.statistics.rms),
            self.model.denoiser,
            self.statistics,
            outline.lengths,
            class_ids,
            settings,
            seed,
            self.model.guide,
        )

    def texts(
        self, latents: Sequence[Floats], strategy: str, settings: DecodingSettings, seed: int, batch_size: int, level: float
    ) -> list[str]:
        """Return the text of every latent, written by a decoding strategy; an empty text keeps its place.

        Args:
            level: of the noise on the latents: `SamplingSettings.decode_at`.

        Raises:
            InputError: the device cannot compute in this precision, or the decoder does not know noise of this level.
        """
        require_known_level(self.autoencoder, level)
        return decode_latents(self.autoencoder, latents, strategy, settings, seed, batch_size, level)

    def agreement(self, latents: Sequence[Floats], texts: Sequence[str], batch_size: int) -> list[float]:
        """Return the agreement of every text with the latents that it was decoded from (`latent_agreement`)."""
        return latent_agreement(self.autoencoder, self.latent_statistics, latents, texts, batch_size)


def require_known_level(autoencoder: Autoencoder, level: float) -> None:
    """Check that the decoder has learned to read latents of this noise level.

    Raises:
        InputError: it has learned less noise.
    """
    if level > autoencoder.highest_level:
        raise InputError(
            f"decode_at = {level:g} is more noise than the decoder has learned to read: it should be at most "
            f"{autoencoder.highest_level:g}"
        )


def text_rows(texts: Sequence[str], labels: Sequence[str] | None, agreement: Sequence[float]) -> list[dict[str, Any]]:
    """Return the rows of a file: every text, with the label that it was to have, if any, and its latent agreement."""
    rows = [{"text": text, LATENT_AGREEMENT: each} for text, each in zip(texts, agreement, strict=True)]
    if labels is None:
        return rows
    return [row | {"label": label} for row, label in zip(rows, labels, strict=True)]
