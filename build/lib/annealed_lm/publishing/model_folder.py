"""Where the parts of a trained model lie: in one exported folder, or where the stages of a checkout put them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import ValidationError
from transformers.utils import logging

from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, read_texts
from annealed_lm.config.config import load_config
from annealed_lm.config.sections import SampleTexts
from annealed_lm.diffusion.model import DiffusionModel
from annealed_lm.generation.texts import TextSampler

DESCRIPTION = "model.json"
"""The file of an exported folder that says what it holds."""
FORMAT = 2
WORDS = "train_words.npy"
"""The file of an exported folder with the number of words of every training text, uint16 [texts]."""


@contextmanager
def without_progress_bars() -> Iterator[None]:
    """Keep transformers from showing how far it is, which is done in a moment."""
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


@dataclass(frozen=True)
class ModelFolder:
    """The parts of a trained model.

    Attributes:
        latents: the folder of their statistics, and of the lengths and labels of the training texts.
        words: the file that tells how many words every training text has: `WORDS`, or the texts themselves.
        section: how the run sampled and decoded.
    """

    autoencoder: Path
    diffusion: Path
    latents: Path
    words: Path
    section: SampleTexts

    @classmethod
    def find(cls, folder: Path) -> "ModelFolder":
        """Return the parts of the model in an exported folder, a checkout or its folder models.

        Raises:
            InputError: it is none of these, or its run has not come to an end, or another version exported it.
        """
        if (folder / DESCRIPTION).is_file():
            return cls.exported(folder)
        for root in (folder.parent, folder):
            if (root / "params.yaml").is_file() and (root / "models").is_dir() and folder in (root, root / "models"):
                return cls.of_checkout(root)
        raise InputError(
            f"{folder} holds no model: it should be a folder that `make export` wrote (with {DESCRIPTION}), a checkout in which "
            "a run has finished, or the folder models of one"
        )

    @classmethod
    def exported(cls, folder: Path) -> "ModelFolder":
        """Return the parts of the model in a folder that `make export` wrote.

        Raises:
            InputError: another version wrote it.
        """
        description = read_json(folder / DESCRIPTION)
        try:
            section = SampleTexts.model_validate(description["sample_texts"])
        except (ValidationError, KeyError) as error:
            raise InputError(
                f"{folder / DESCRIPTION} is of another version of annealed_lm (format {description.get('format')}, "
                f"and this one reads {FORMAT}): export the model again"
            ) from error
        return cls(folder / "autoencoder", folder / "diffusion", folder / "latents", folder / "latents" / WORDS, section)

    @classmethod
    def of_checkout(cls, root: Path) -> "ModelFolder":
        """Return the parts of the model where the stages put them.

        Raises:
            InputError: params.yaml cannot be read.
        """
        section = load_config(root / "params.yaml").sample_texts
        models, data = root / "models", root / "data"
        return cls(models / "autoencoder", models / "diffusion", data / "latents", data / "prepared" / "train.jsonl", section)

    def sampler(self) -> TextSampler:
        """Load the model, on the first GPU or the CPU.

        Raises:
            InputError: a part is missing.
        """
        with without_progress_bars():
            autoencoder = Autoencoder.load(self.autoencoder)
        return TextSampler(DiffusionModel.load(self.diffusion), self.latents, autoencoder, default_device())

    def training_words(self) -> npt.NDArray[np.int64]:
        """Return how many words every training text has, [texts].

        Raises:
            InputError: the file that tells it is missing.
        """
        if not self.words.is_file():
            raise InputError(f"{self.words} is not there, which tells how long the training texts are")
        if self.words.name == WORDS:
            return np.asarray(np.load(self.words), dtype=np.int64)
        return np.array([len(text.split()) for text in read_texts(self.words)], dtype=np.int64)
