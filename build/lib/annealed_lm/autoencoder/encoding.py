"""From texts to latents with the autoencoder's encoder: all of them once, or those of a batch when training needs them."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from annealed_lm.autoencoder.latents import Floats, LatentIndex
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.padding import pad_ids


@torch.inference_mode()
def encoded_rows(autoencoder: Autoencoder, token_ids: Sequence[Sequence[int]], batch_size: int) -> Iterator[tuple[int, Floats]]:
    """Yield the number of every text and its latents [length, latent_dim], short texts first.

    Args:
        token_ids: of every text.
    """
    device = autoencoder.bart.device
    order = sorted(range(len(token_ids)), key=lambda i: len(token_ids[i]))
    for start in tqdm(range(0, len(order), batch_size), desc="encoding", disable=None):
        texts = order[start : start + batch_size]
        ids, mask = pad_ids([token_ids[i] for i in texts], autoencoder.tokenizer.pad_token_id)
        encoded, real = autoencoder.encode(ids.to(device), mask.to(device))
        for i, row, row_mask in zip(texts, encoded.float().cpu().numpy(), real.cpu().numpy(), strict=True):
            yield i, row[row_mask]


def encode_ids(autoencoder: Autoencoder, token_ids: Sequence[Sequence[int]], batch_size: int) -> list[Floats]:
    """Return the latents [length, latent_dim] of every text, in the order of the texts.

    Args:
        token_ids: of every text.
    """
    latents = dict(encoded_rows(autoencoder, token_ids, batch_size))
    return [latents[i] for i in range(len(token_ids))]


class EncodedTexts:
    """Texts that are encoded whenever a batch needs them: for corpora whose latents do not fit on a disk.

    Their latents are those that `encoded_rows` yields, up to rounding: they too pass through half precision.

    Args:
        token_ids: of every text.
        index: of their latents.
        autocast: returns a context of the precision to encode in.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        token_ids: Sequence[Sequence[int]],
        index: LatentIndex,
        autocast: Callable[[], AbstractContextManager[object]],
    ) -> None:
        self.autoencoder = autoencoder
        self.token_ids = token_ids
        self.index = index
        self.autocast = autocast

    def padded_tokens(self, length: int | None) -> int | None:
        """Return how many tokens a batch is padded to so that it has `length` latents a text; None: as many as its longest
        text."""
        return length if self.autoencoder.settings.latent_layout == "per_token" else None

    @torch.no_grad()
    def batch(self, texts: npt.NDArray[np.int64], length: int | None = None) -> tuple[Tensor, Tensor]:
        """Encode a batch, as `LatentSource.batch` says, on the autoencoder's device."""
        device = self.autoencoder.bart.device
        rows = [self.token_ids[i] for i in texts]
        ids, mask = pad_ids(rows, self.autoencoder.tokenizer.pad_token_id, self.padded_tokens(length))
        with self.autocast():
            encoded, real = self.autoencoder.encode(ids.to(device), mask.to(device))
        encoded, real = encoded[:, :length], real[:, :length]
        return encoded.half().float() * real[:, :, None], real
