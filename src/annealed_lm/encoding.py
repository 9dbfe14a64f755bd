"""Texts to latents with the autoencoder's encoder."""

from collections.abc import Sequence

import torch
from tqdm import tqdm

from annealed_lm.autoencoder import Autoencoder
from annealed_lm.latents import Floats
from annealed_lm.padding import pad_ids


@torch.inference_mode()
def encode_ids(autoencoder: Autoencoder, token_ids: Sequence[Sequence[int]], batch_size: int) -> list[Floats]:
    """Latents [length, latent_dim] of each text, given as token ids."""
    device = autoencoder.bart.device
    order = sorted(range(len(token_ids)), key=lambda i: len(token_ids[i]))
    latents: dict[int, Floats] = {}
    for start in tqdm(range(0, len(order), batch_size), desc="encoding", disable=None):
        indices = order[start : start + batch_size]
        ids, mask = pad_ids([token_ids[i] for i in indices], autoencoder.tokenizer.pad_token_id)
        encoded, real = autoencoder.encode(ids.to(device), mask.to(device))
        for i, row, row_mask in zip(indices, encoded.float().cpu(), real.cpu(), strict=True):
            latents[i] = row[row_mask].numpy()
    return [latents[i] for i in range(len(token_ids))]
