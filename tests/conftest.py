from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from annealed_lm.autoencoder.model import Autoencoder

# The tensors of tests are tiny: threads would only wait for each other. Read when torch is imported, so set before.
os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def trained_autoencoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Autoencoder]:
    """By latent layout; they give most of `tiny.TEXTS` back. Tests leave them as they are."""
    # Imported here: tests that need no model start without the model libraries.
    from annealed_lm.autoencoder.tokenizer import tokenize
    from annealed_lm.trainers.autoencoder import train_autoencoder
    from annealed_lm.training.checkpoints import CheckpointStore
    from support import tiny

    training = dataclasses.replace(
        tiny.AUTOENCODER_TRAINING, num_train_steps=100, batch_size=32, learning_rate=0.01, lr_warmup_steps=5
    )
    trained = {}
    for latent_layout in tiny.LAYOUTS:
        autoencoder = tiny.make_autoencoder(latent_layout, width=32)
        token_ids = tokenize(autoencoder.tokenizer, tiny.TEXTS, tiny.MAX_TOKENS)
        store = CheckpointStore(tmp_path_factory.mktemp("resume"))
        train_autoencoder(autoencoder, token_ids, training, store, tiny.CPU)
        trained[latent_layout] = autoencoder
    return trained
