"""A trained model in one folder that needs nothing but this package: laid out as the Hugging Face hub takes it."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path, read_json, write_json
from annealed_lm.diffusion.model import GUIDE
from annealed_lm.publishing.model_folder import DESCRIPTION, FORMAT, WORDS, ModelFolder

CARD = "README.md"
PARTS = {CARD, DESCRIPTION, "autoencoder", "diffusion", "latents"}
"""What an exported folder holds."""
LATENTS = ("mean.npy", "std.npy", "train_offsets.npy", "train_labels.npy")
"""What sampling needs of the folder of latents: statistics, lengths, labels where there are any; not the latents."""
FILE_MODE, FOLDER_MODE = 0o644, 0o755
"""As in any checkout: some libraries write weights that only their owner may read."""


def require_free(folder: Path) -> None:
    """Check that a model can be written to `folder`.

    Raises:
        InputError: there is something else than an exported model, such as the .git of a clone.
    """
    if not folder.exists():
        return
    names = {path.name for path in folder.iterdir()} if folder.is_dir() else {folder.name}
    if names and not is_exported(folder):
        raise InputError(f"{folder} is there and is no exported model: name a folder that is not there, or an empty one")
    if others := sorted(names - PARTS):
        raise InputError(f"{folder} holds more than an exported model ({', '.join(others)}): name a folder that is not there")


def is_exported(folder: Path) -> bool:
    """Return whether `export_model` wrote the folder, in this version or another one."""
    try:
        description = read_json(folder / DESCRIPTION)
    except (OSError, ValueError):
        return False
    return isinstance(description, dict) and {"format", "sample_texts"} <= description.keys()


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
    unread = shutil.ignore_patterns(GUIDE) if parts.section.autoguidance_weight == 1 else None
    with atomic_path(folder) as partial:
        shutil.copytree(parts.autoencoder, partial / "autoencoder", copy_function=shutil.copyfile)
        shutil.copytree(parts.diffusion, partial / "diffusion", ignore=unread, copy_function=shutil.copyfile)
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
