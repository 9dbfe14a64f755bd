"""How well the autoencoder gives texts back, clean and from noisy latents, and what its decoder writes from noise alone."""

from collections.abc import Sequence
from typing import Any

from annealed_lm.autoencoder.encoding import encode_ids
from annealed_lm.autoencoder.latents import gaussian_latents, noised_latents
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.generation.decoding import DecodingSettings, decode_latents

NOISE_LEVELS = (0.0, 0.3, 0.5, 0.7)
TEXTS = 500
BATCH_SIZE = 250
SHOWN_TEXTS = 10
PLAIN_GREEDY = DecodingSettings(num_beams=1, top_p=1.0, min_length=0, no_repeat_ngram_size=0, repetition_penalty=1.0)


def share_in_place(expected: Sequence[int], found: Sequence[int]) -> float:
    """Return the share of the expected tokens that stand in their place."""
    return sum(a == b for a, b in zip(expected, found, strict=False)) / len(expected)


def reconstruction_report(autoencoder: Autoencoder, texts: Sequence[str], seed: int) -> dict[str, Any]:
    """Measure how well the first `TEXTS` texts come back by greedy decoding.

    Returns:
        For every noise level, by its name ("noise_0.5"), `exact`, the share of texts given back to the letter (those that the
            tokenizer cannot represent or truncates count as failures), and `token`, the mean share of tokens in their place; and
            `pure_noise_texts`, the first texts that the decoder writes from Gaussian latents, its own language model.
    """
    texts = list(texts[:TEXTS])
    max_tokens = autoencoder.settings.max_tokens
    ids = tokenize(autoencoder.tokenizer, texts, max_tokens)
    latents = encode_ids(autoencoder, ids, BATCH_SIZE)
    per_position = autoencoder.settings.latent_layout == "compressed"
    statistics = LatentStatistics.of(latents, per_position)
    report: dict[str, Any] = {}
    for level in NOISE_LEVELS:
        decoded = decode_latents(
            autoencoder, noised_latents(latents, statistics, level, seed), "greedy", PLAIN_GREEDY, seed, BATCH_SIZE
        )
        decoded_ids = tokenize(autoencoder.tokenizer, decoded, max_tokens)
        report[f"noise_{level}"] = {
            "exact": sum(a == b for a, b in zip(texts, decoded, strict=True)) / len(texts),
            "token": sum(map(share_in_place, ids, decoded_ids)) / len(texts),
        }
    noise = gaussian_latents(statistics, [len(each) for each in latents[:SHOWN_TEXTS]], seed)
    return report | {"pure_noise_texts": decode_latents(autoencoder, noise, "greedy", PLAIN_GREEDY, seed, BATCH_SIZE)}
