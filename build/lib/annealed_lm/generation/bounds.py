"""Between what the texts of a diffusion lie.

The decoder of the latents also writes from noise (control), and from latents of real texts as they are at the same noise level
(ceiling). A strong decoder is fluent by itself: only what the diffusion adds to the control, and lacks to the ceiling, is the
diffusion's.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from annealed_lm.autoencoder.encoding import encode_ids
from annealed_lm.autoencoder.latents import Floats, LatentIndex, draw_training_rows, gaussian_latents, noised_latents
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.generation.agreement import latent_agreement
from annealed_lm.generation.decoding import DecodingSettings, decode_latents


class DecodedTexts(NamedTuple):
    """Texts, and the agreement of each with the latents that it was decoded from (`latent_agreement`)."""

    texts: list[str]
    agreement: list[float]


class Bounds:
    """Latents of control and ceiling, and the texts that they are decoded to.

    Args:
        train: of the latents of the training texts, whose lengths are those of the control's.
        held_out: real texts that training has not seen.
        seed: of lengths, of all noise, and of decoding.
    """

    def __init__(
        self,
        autoencoder: Autoencoder,
        statistics: LatentStatistics,
        train: LatentIndex,
        held_out: Sequence[str],
        seed: int,
        batch_size: int,
    ) -> None:
        self.autoencoder = autoencoder
        self.statistics = statistics
        self.lengths = [int(train.lengths[row]) for row in draw_training_rows(len(train), len(held_out), seed)]
        self.seed = seed
        self.batch_size = batch_size
        ids = tokenize(autoencoder.tokenizer, held_out, autoencoder.settings.max_tokens)
        self.real = encode_ids(autoencoder, ids, batch_size)

    def latents(self, level: float) -> dict[str, list[Floats]]:
        """Return the latents of control and ceiling at a noise level, not normalised."""
        return {
            "control": gaussian_latents(self.statistics, self.lengths, self.seed),
            "ceiling": noised_latents(self.real, self.statistics, level, self.seed) if level else self.real,
        }

    def decoded(self, level: float, strategy: str, settings: DecodingSettings) -> Mapping[str, DecodedTexts]:
        """Return the texts of control and ceiling where the decoder takes over at a noise level."""
        decoded = {}
        for bound, latents in self.latents(level).items():
            texts = decode_latents(self.autoencoder, latents, strategy, settings, self.seed, self.batch_size, level)
            agreement = latent_agreement(self.autoencoder, self.statistics, latents, texts, self.batch_size)
            decoded[bound] = DecodedTexts(texts, agreement)
        return decoded
