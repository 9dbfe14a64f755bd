"""What is measured: models of four sizes with random weights, on texts with the lengths of real ones.

No experiment has to be run before: what is computed, and so how long it takes, does not depend on the values of weights and
latents.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast

from annealed_lm.autoencoder.latents import LatentSet
from annealed_lm.autoencoder.model import Autoencoder, LatentSettings, small_bart
from annealed_lm.autoencoder.tokenizer import train_tokenizer
from annealed_lm.config.config import Config, parse_config, settings_from
from annealed_lm.config.yaml_files import merge_preset, read_yaml
from annealed_lm.trainers.assembly import LatentShape
from annealed_lm.training.batching import WINDOW_BATCHES

SMALL_BART = {"initialisation": "scratch", "d_model": 64, "layers": 2, "heads": 2, "vocab_size": 512, "tokenizer": "word"}
BART_BASE = {"d_model": 768, "layers": 6, "heads": 12, "vocab_size": 50265}
SMALL_DENOISER = {"tx_dim": 128, "tx_depth": 4, "tx_heads": 4, "scale_shift": True, "self_condition": 0.5, "dropout": 0}


@dataclass(frozen=True)
class Size:
    """What to measure, and how much of it on a CPU.

    Attributes:
        changes: of the base, that make the size.
        presets: put on the base first, one after the other.
        cpu_batch_size: of training, where there is no GPU; None: the same as there.
        steps: of training.
        sampling_steps, sampled_texts: of drawing latents; 0 texts: none is measured.
        decoded_texts: the same of decoding.
    """

    changes: Mapping[str, str | Mapping[str, Any]]
    presets: tuple[str, ...] = ()
    cpu_batch_size: int | None = None
    steps: int = 30
    sampling_steps: int = 0
    sampled_texts: int = 0
    decoded_texts: int = 0


E2E_TOKENS = (
    *(4, 12, 13, 14, 15, 15, 16, 16, 17, 17, 18, 18, 19, 19, 20, 20, 20, 21, 21, 22, 22, 22, 23, 23, 24, 24, 25, 25),
    *(25, 26, 26, 27, 27, 28, 28, 29, 29, 30, 30, 31, 32, 32, 33, 34, 35, 36, 37, 39, 40, 44, 64),
)
"""Every second percentile, from the shortest to the longest, of the tokens of E2E's 42,061 training texts under a byte-level BPE
of 1,500 entries trained on them (`train_tokenizer(texts, "bpe", 1500, 64)`); their mean is 25.1."""
BASE = "restaurants"
"""The preset with a value for every parameter: what is measured is the same whatever params.yaml says by now."""
GPU_FACTOR = 10
"""How many times as many steps and texts a GPU is given."""
COMPRESSED = {"latent_layout": "compressed", "num_latents": 8, "latent_dim": 32, "max_tokens": 32}
PER_TOKEN = {"latent_layout": "per_token", "latent_dim": 64, "max_tokens": 64}
SIZES: dict[str, Size] = {
    "default": Size(
        {
            "optimizer": "muon",
            "train_autoencoder": SMALL_BART | COMPRESSED,
            "train_diffusion": SMALL_DENOISER | {"train_batch_size": 128},
            "sample_texts": {"sampling_timesteps": 50},
        },
        sampling_steps=50,
        sampled_texts=500,
        decoded_texts=500,
    ),
    "default per token": Size(
        {
            "optimizer": "muon",
            "train_autoencoder": SMALL_BART | PER_TOKEN,
            "train_diffusion": SMALL_DENOISER | {"train_batch_size": 64},
        },
        steps=20,
    ),
    "medium": Size(
        {
            "train_autoencoder": BART_BASE,
            "train_diffusion": {"tx_dim": 384, "tx_depth": 8, "tx_heads": 6, "dropout": 0, "train_batch_size": 32},
        },
        presets=("thesis",),
        steps=4,
    ),
    "thesis": Size(
        {"train_autoencoder": BART_BASE},
        presets=("thesis",),
        cpu_batch_size=16,
        steps=3,
        sampling_steps=1,
        sampled_texts=128,
        decoded_texts=4,
    ),
}


def merged_presets(presets: Path, *names: str) -> dict[str, Any]:
    """Return the values of `BASE` with these presets on top of it, one after the other.

    Args:
        presets: the folder presets/.
    """
    values: dict[str, Any] = read_yaml(presets / f"{BASE}.yaml")
    for name in names:
        merge_preset(values, read_yaml(presets / f"{name}.yaml"))
    return values


def config_of(size: Size, presets: Path, device: torch.device, training: Mapping[str, Any] | None = None) -> Config:
    """Return the parameters of this size, with `training` in the section train_diffusion; see `merged_presets`."""
    values = merged_presets(presets, *size.presets)
    merge_preset(values, size.changes)
    if size.cpu_batch_size is not None and device.type == "cpu":
        values["train_diffusion"]["train_batch_size"] = size.cpu_batch_size
    merge_preset(values, {"train_diffusion": training or {}})
    return parse_config(values)


def text_lengths(count: int, max_tokens: int) -> list[int]:
    """Return the numbers of tokens of texts as long as those of E2E."""
    percents = 100 * np.random.default_rng(0).random(count)
    drawn = np.interp(percents, np.linspace(0, 100, len(E2E_TOKENS)), E2E_TOKENS).round()
    return [int(length) for length in drawn.clip(max=max_tokens)]


def number_tokenizer(vocab_size: int, max_tokens: int) -> PreTrainedTokenizerFast:
    """Return a tokenizer with a vocabulary of this size, of numbers."""
    return train_tokenizer([" ".join(map(str, range(vocab_size)))], "word", vocab_size, max_tokens)


def make_autoencoder(config: Config) -> Autoencoder:
    """Return an autoencoder with random weights that nothing trains."""
    section = config.train_autoencoder
    tokenizer = number_tokenizer(section.vocab_size, section.max_tokens)
    bart = small_bart(tokenizer, section.d_model, section.layers, section.heads, section.max_tokens)
    frozen = section.initialisation == "pretrained" and section.latent_layout == "per_token"
    autoencoder = Autoencoder(bart, tokenizer, settings_from(section, LatentSettings, frozen_states=frozen))
    return autoencoder.requires_grad_(False).eval()


def latent_shape(config: Config) -> LatentShape:
    """Return what the denoiser is made for, without labels."""
    latents = settings_from(config.train_autoencoder, LatentSettings, frozen_states=False)
    return LatentShape(latents.latent_dim, latents.max_length, num_classes=0)


@dataclass(frozen=True)
class RandomTexts:
    """One window of batches (`training.batching`) of texts that mean nothing and are as long as `text_lengths` says."""

    token_ids: Sequence[Sequence[int]]
    latents: LatentSet = field(repr=False)


def latent_lengths(config: Config, tokens: Sequence[int]) -> list[int]:
    """Return the numbers of latent vectors of texts of so many tokens."""
    settings = settings_from(config.train_autoencoder, LatentSettings, frozen_states=False)
    return [settings.length(length) for length in tokens]


def lengths_vary(config: Config) -> bool:
    """Whether texts differ in how many latent vectors they have: then there is padding to save."""
    return config.train_autoencoder.latent_layout == "per_token"


def random_texts(config: Config) -> RandomTexts:
    section, random = config.train_autoencoder, np.random.default_rng(0)
    tokens = text_lengths(WINDOW_BATCHES * config.train_diffusion.train_batch_size, section.max_tokens)
    lengths = latent_lengths(config, tokens)
    vectors = random.standard_normal((sum(lengths), section.latent_dim), dtype=np.float32)
    rows = np.split(vectors, np.cumsum(lengths)[:-1])
    return RandomTexts([random.integers(4, section.vocab_size, length).tolist() for length in tokens], LatentSet.from_rows(rows))
