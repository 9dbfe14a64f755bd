"""A trained model in one folder that needs nothing but this package: laid out as the Hugging Face hub takes it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path, write_json
from annealed_lm.publishing.model_folder import DESCRIPTION, FORMAT, WORDS, ModelFolder

CARD = "README.md"
LATENTS = ("mean.npy", "std.npy", "train_offsets.npy", "train_labels.npy")
"""What sampling needs of the folder of latents: statistics, lengths, labels where there are any; not the latents."""
FILE_MODE, FOLDER_MODE = 0o644, 0o755
"""As in any checkout: some libraries write weights that only their owner may read."""


def require_free(folder: Path) -> None:
    """Check that a model can be written to `folder`.

    Raises:
        InputError: there is something else than an exported model.
    """
    if folder.exists() and not (folder / DESCRIPTION).is_file() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"{folder} is there and is no exported model: name a folder that is not there, or an empty one")


def export_model(parts: ModelFolder, folder: Path, card: str, about: Mapping[str, Any]) -> None:
    """Write a model to `folder`, in the place of one that was exported there before.

    Args:
        card: the model card.
        about: what else `DESCRIPTION` is to say.

    Raises:
        InputError: `folder` holds something else, or a part of the model is missing.
    """
    require_free(folder)
    words = parts.training_words()
    with atomic_path(folder) as partial:
        shutil.copytree(parts.autoencoder, partial / "autoencoder", copy_function=shutil.copyfile)
        shutil.copytree(parts.diffusion, partial / "diffusion", copy_function=shutil.copyfile)
        (partial / "latents").mkdir()
        for name in LATENTS:
            if (parts.latents / name).exists():
                shutil.copyfile(parts.latents / name, partial / "latents" / name)
        np.save(partial / "latents" / WORDS, words.astype(np.uint16))
        description = {"format": FORMAT, **about, "sample_texts": parts.section.model_dump()}
        write_json(partial / DESCRIPTION, description)
        (partial / CARD).write_text(card, encoding="utf-8")
        partial.chmod(FOLDER_MODE)
        for path in partial.rglob("*"):
            path.chmod(FOLDER_MODE if path.is_dir() else FILE_MODE)
