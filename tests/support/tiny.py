"""Texts and models small enough for tests, shared by several of them."""

import copy
import dataclasses
import json
import random
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ruamel.yaml import YAML
from tokenizers import ByteLevelBPETokenizer
from torch import nn
from transformers import AutoTokenizer, BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

from annealed_lm.annealing.settings import ScheduleSettings
from annealed_lm.annealing.weights import WeightSettings
from annealed_lm.autoencoder.latents import LatentSet
from annealed_lm.autoencoder.model import Autoencoder, LatentSettings, small_bart
from annealed_lm.autoencoder.tokenizer import tokenize, train_tokenizer
from annealed_lm.common.files import write_json, write_jsonl
from annealed_lm.common.padding import pad_ids
from annealed_lm.config.yaml_files import merge_preset
from annealed_lm.diffusion.denoiser import DenoiserSettings, DenoisingTransformer
from annealed_lm.diffusion.model import DiffusionModel, ProcessSettings
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.generation.sampling import SamplingSettings
from annealed_lm.trainers.autoencoder import AutoencoderTraining
from annealed_lm.trainers.language_model import small_gpt2

ROOT = Path(__file__).parents[2]
LAYOUTS = ("compressed", "per_token")
MAX_TOKENS = 12
LATENT_DIM = 4
CPU = torch.device("cpu")
WORDS = (("the", "a"), ("old", "red", "quiet", "rusty"), ("crown", "pub", "kettle", "garden"), ("is", "looks", "seems"))
ENDS = ("good", "bad", "cheap and good", "far from here", "empty")
COMPRESSED = LatentSettings(
    latent_layout="compressed",
    num_latents=3,
    latent_dim=8,
    max_tokens=MAX_TOKENS,
    resampler_layers=1,
    reconstruction_layers=1,
    latent_noise=0.5,
    adapter_layers=0,
    frozen_states=False,
)
DENOISER = DenoiserSettings(
    latent_dim=LATENT_DIM,
    max_length=6,
    tx_dim=8,
    tx_depth=1,
    tx_heads=2,
    tx_position="bias",
    dropout=0.0,
    scale_shift=True,
    self_condition=True,
    num_classes=0,
)
AUTOENCODER_TRAINING = AutoencoderTraining(
    seed=0,
    token_dropout=0.3,
    latent_noise=0.3,
    latent_noise_levels="uniform",
    full_noise_share=0.0,
    num_train_steps=8,
    batch_size=8,
    learning_rate=0.005,
    lr_warmup_steps=2,
    weight_decay=0.01,
)
SAMPLING = SamplingSettings(
    batch_size=8,
    mixed_precision="no",
    solver="ddim",
    spacing="trailing",
    sampling_timesteps=3,
    ddim_sampling_eta=1.0,
    decode_at=0.0,
    guidance_weight=1.0,
    autoguidance_weight=1.0,
)
SCHEDULE = ScheduleSettings(
    T_schedule="linear",
    power=2,
    total_steps=1000,
    timesteps=250,
    noise_schedule="cosine",
    tan_d=9,
    objective="pred_x0",
    start_fraction=0.2,
    anneal_fraction=0.5,
    range_in="t",
    range_start=0,
    base_schedule="linear",
    logit_normal_mean=0,
    logit_normal_std=1,
    laplace_mean=0,
    laplace_scale=0.5,
    speed_tau=0.7,
    speed_k=5,
    speed_lambda=0.6,
)
WEIGHTS = WeightSettings("pred_x0", "none", min_snr_gamma=5, p2_k=1, p2_gamma=1, sampling_weights="published")


def schedule_settings(**changes: Any) -> ScheduleSettings:
    return dataclasses.replace(SCHEDULE, **changes)


def weight_settings(**changes: Any) -> WeightSettings:
    return dataclasses.replace(WEIGHTS, **changes)


def make_texts(count: int = 300) -> list[str]:
    """Distinct texts of five to seven words."""
    draw = random.Random(0)
    texts = {" ".join([*(draw.choice(words) for words in WORDS), draw.choice(ENDS)]) for _ in range(10 * count)}
    return draw.sample(sorted(texts), count)


TEXTS = make_texts()


def make_tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, "word", 64, MAX_TOKENS)


def latent_settings(latent_layout: str = "compressed", **changes: Any) -> LatentSettings:
    return dataclasses.replace(COMPRESSED, latent_layout=latent_layout, **changes)


def make_autoencoder(latent_layout: str = "compressed", seed: int = 0, width: int = 16, **changes: Any) -> Autoencoder:
    """Untrained, from scratch."""
    torch.manual_seed(seed)
    tokenizer = make_tokenizer()
    bart = small_bart(tokenizer, width, 1, 2, MAX_TOKENS)
    return Autoencoder(bart, tokenizer, latent_settings(latent_layout, **changes)).eval()


def denoiser_settings(**changes: Any) -> DenoiserSettings:
    return dataclasses.replace(DENOISER, **changes)


def make_diffusion_model(labels: tuple[str, ...] = (), normalize_latent: bool = True) -> DiffusionModel:
    """Untrained, with a guide, of latents as `write_latents` makes them; without labels, it is unconditional."""
    torch.manual_seed(0)
    denoiser, guide = (DenoisingTransformer(denoiser_settings(num_classes=len(labels))).eval() for _ in range(2))
    for parameter in (*denoiser.parameters(), *guide.parameters()):
        nn.init.normal_(parameter, std=0.3)
    return DiffusionModel(denoiser, ProcessSettings("cosine", 10, 9, "pred_x0", "l2", normalize_latent, 0), labels, guide)


def encode(autoencoder: Autoencoder, texts: list[str]) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids and mask of a batch."""
    return pad_ids(tokenize(autoencoder.tokenizer, texts, MAX_TOKENS), autoencoder.tokenizer.pad_token_id)


def save_bart(folder: Path, width: int = 16) -> None:
    """An untrained BART in the files, with the tokens and the way of starting, of facebook/bart-base."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(TEXTS, 300, special_tokens=["<s>", "<pad>", "</s>", "<unk>"], show_progress=False)
    tokenizer.save_model(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text())
    (folder / "vocab.json").write_text(json.dumps(vocabulary | {"<mask>": len(vocabulary)}))
    torch.manual_seed(0)
    config = BartConfig(
        vocab_size=len(vocabulary) + 1,
        d_model=width,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=2 * width,
        decoder_ffn_dim=2 * width,
        max_position_embeddings=64,
        init_std=width**-0.5,
    )
    BartForConditionalGeneration(config).save_pretrained(folder)
    (folder / "generation_config.json").unlink()
    settings = json.loads((folder / "config.json").read_text())
    settings |= {"forced_bos_token_id": 0, "forced_eos_token_id": 2, "no_repeat_ngram_size": 3, "num_beams": 4}
    (folder / "config.json").write_text(json.dumps(settings | {"early_stopping": True, "decoder_start_token_id": 2}))


def save_language_model(folder: Path, width: int = 16, seed: int = 0) -> None:
    """An untrained GPT-2."""
    small_gpt2(make_tokenizer(), width, 1, 2, MAX_TOKENS, seed).save(folder, {})


def save_feature_model(folder: Path, width: int = 8) -> None:
    """A sentence-transformers model: the mean of so many random numbers a word."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = make_tokenizer()
    weights = np.random.default_rng(0).standard_normal((len(tokenizer), width)).astype(np.float32)
    words = StaticEmbedding(tokenizer.backend_tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[words], device="cpu").save_pretrained(str(folder))


def load_bart(folder: Path, settings: LatentSettings) -> Autoencoder:
    """What `save_bart` wrote, as a frozen autoencoder."""
    bart = BartForConditionalGeneration.from_pretrained(folder)
    autoencoder = Autoencoder(bart, AutoTokenizer.from_pretrained(folder), settings)
    autoencoder.freeze_bart(but_decoder=False)
    return autoencoder.eval()


def yaml_of(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return values


@cache
def tiny_params() -> dict[str, Any]:
    values = yaml_of(ROOT / "params.yaml")
    merge_preset(values, yaml_of(ROOT / "presets" / "tiny.yaml"))
    return values


def write_params(path: Path, changes: dict[str, Any]) -> None:
    """The project's params.yaml, with presets/tiny.yaml and `changes` in it."""
    values = copy.deepcopy(tiny_params())
    merge_preset(values, changes)
    write_json(path, values)  # which is YAML too


def label_of(text: str) -> str:
    """The adjective, one of four, as the label of one of `TEXTS`."""
    return text.split()[1]


def write_prepared(folder: Path, labelled: bool = False) -> None:
    """What prepare_data leaves of `TEXTS`, labelled by `label_of` or not at all."""
    folder.mkdir(parents=True)
    for name, texts in (("train", TEXTS[:200]), ("valid", TEXTS[200:250]), ("test", TEXTS[250:])):
        rows = ({"text": text, "label": label_of(text)} if labelled else {"text": text} for text in texts)
        write_jsonl(folder / f"{name}.jsonl", rows)
    write_json(folder / "statistics.json", {"dataset_name": "text", "fingerprint": "0123456789abcdef"})


def write_latents(folder: Path, labels: Sequence[str] = ()) -> Path:
    """What encode_latents leaves: ragged latents of three well separated kinds, 60 for training and 20 for validation.

    Args:
        labels: the names of the three kinds, sorted; without them the latents have no labels.

    Returns:
        the folder.
    """
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    centres = 3 * draw.standard_normal((3, LATENT_DIM))
    rows = [centres[i % 3] + draw.standard_normal((length, LATENT_DIM)) for i, length in enumerate(draw.integers(2, 7, 80))]
    kinds = [i % 3 for i in range(80)] if labels else None
    train = LatentSet.from_rows(rows[:60], kinds and kinds[:60])
    valid = LatentSet.from_rows(rows[60:], kinds and kinds[60:])
    train.save(folder, "train")
    valid.save(folder, "valid")
    LatentStatistics.of(train, per_position=False).save(folder)
    write_json(folder / "latents.json", {"latent_dim": LATENT_DIM, "max_length": 6, "labels": list(labels)})
    return folder
