"""What a finished run leaves of its models, made at once from models that are at hand."""

from pathlib import Path

import torch
from torch import nn

from annealed_lm.autoencoder.encoding import encode_ids
from annealed_lm.autoencoder.latents import LatentSet
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.common.files import write_jsonl
from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.diffusion.model import DiffusionModel, ProcessSettings
from annealed_lm.diffusion.normalization import LatentStatistics
from support.tiny import MAX_TOKENS, TEXTS, denoiser_settings, label_of, write_params

PROCESS = ProcessSettings("cosine", 50, 9, "pred_x0", "l2", normalize_latent=True, first_timestep=0)
LABELS = tuple(sorted({label_of(text) for text in TEXTS}))


def simple_denoiser(autoencoder: Autoencoder, num_classes: int) -> DenoisingTransformer:
    """A network that takes the direction of x_t, moved by the class, for that of x_start: noise becomes all sorts of texts."""
    torch.manual_seed(0)
    settings = autoencoder.settings
    sizes = denoiser_settings(
        latent_dim=settings.latent_dim, tx_dim=settings.latent_dim, max_length=settings.max_length, num_classes=num_classes
    )
    denoiser = DenoisingTransformer(sizes).eval()
    for parameter in denoiser.parameters():
        nn.init.zeros_(parameter)
    for matrix in (denoiser.input.weight, denoiser.time_to_input.weight, denoiser.output.weight):
        nn.init.eye_(matrix)
    nn.init.ones_(denoiser.norm.weight)
    if denoiser.class_embedding is not None:
        nn.init.normal_(denoiser.class_embedding.weight)
    return denoiser


def write_checkout(folder: Path, autoencoder: Autoencoder, labelled: bool = False) -> Path:
    """A checkout with params.yaml and what TextGenerator reads: models of `TEXTS`, the denoiser a simple one.

    Returns:
        the folder.
    """
    latents, prepared = folder / "data" / "latents", folder / "data" / "prepared"
    latents.mkdir(parents=True)
    write_params(folder / "params.yaml", {})
    write_jsonl(prepared / "train.jsonl", ({"text": text} for text in TEXTS))
    rows = encode_ids(autoencoder, tokenize(autoencoder.tokenizer, TEXTS, MAX_TOKENS), 100)
    train = LatentSet.from_rows(rows, [LABELS.index(label_of(text)) for text in TEXTS] if labelled else None)
    train.save(latents, "train")
    per_position = autoencoder.settings.latent_layout == "compressed"
    LatentStatistics.of(train, per_position).save(latents)
    autoencoder.save(folder / "models" / "autoencoder", "0123456789abcdef", "text")
    labels = LABELS if labelled else ()
    denoiser, guide = (simple_denoiser(autoencoder, len(labels)) for _ in range(2))
    nn.init.normal_(guide.output.weight)
    DiffusionModel(denoiser, PROCESS, labels, guide).save(folder / "models" / "diffusion")
    return folder
