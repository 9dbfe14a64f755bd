"""What the diffusion says and the decoder keeps: latents beside those of the text that was decoded from them."""

from collections.abc import Sequence

import torch

from annealed_lm.autoencoder.encoding import encode_ids
from annealed_lm.autoencoder.latents import Floats
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.diffusion.normalization import LatentStatistics


def latent_agreement(
    autoencoder: Autoencoder, statistics: LatentStatistics, latents: Sequence[Floats], texts: Sequence[str], batch_size: int
) -> list[float]:
    """Return, for every text, the cosine between the latents it was decoded from and its own, both normalised by dimension.

    Where the decoder keeps all that it reads, noise of level l on the latents of real texts leaves about sqrt(1 - l^2). A decoder
    that writes from habit leaves about 0, however fluent it is. Of latents of two lengths, vectors that the other one lacks agree
    with nothing.

    Args:
        latents: [length, latent_dim] each, not normalised.
    """
    own = encode_ids(autoencoder, tokenize(autoencoder.tokenizer, texts, autoencoder.settings.max_tokens), batch_size)
    agreement = []
    for given, written in zip(latents, own, strict=True):
        one, other = (statistics.normalise(torch.from_numpy(each)).double() for each in (given, written))
        shared = min(len(one), len(other))
        agreement.append(float((one[:shared] * other[:shared]).sum() / (one.norm() * other.norm())))
    return agreement
