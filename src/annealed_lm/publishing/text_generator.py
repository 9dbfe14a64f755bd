"""The door from Python: texts from a trained model, and what its latents can do."""

import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from os import PathLike
from pathlib import Path

import numpy as np
import numpy.typing as npt

from annealed_lm.autoencoder.encoding import encode_ids
from annealed_lm.autoencoder.latents import Floats, draw_training_rows
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.common.errors import InputError
from annealed_lm.common.seeds import derive_seed
from annealed_lm.config.config import settings_from
from annealed_lm.generation.decoding import STRATEGIES, DecodingSettings
from annealed_lm.generation.sampling import SamplingSettings
from annealed_lm.generation.texts import TextSampler
from annealed_lm.publishing.model_folder import ModelFolder
from annealed_lm.publishing.variations import vary_latents

MOST_CANDIDATES = 100
"""Texts that are sampled for each one of a wanted length, at most."""


class TextGenerator:
    """A trained latent diffusion language model. Every bad argument ends in one `InputError` that says what is allowed.

    It samples and decodes as its run did, but for what an argument says. Text i of a call depends on the arguments and on
    (seed, i), not on how many are sampled with it.
    """

    def __init__(self, sampler: TextSampler, parts: ModelFolder) -> None:
        self._sampler = sampler
        self._parts = parts

    @classmethod
    def from_pretrained(cls, folder: str | PathLike[str]) -> "TextGenerator":
        """Load the model in a folder that `make export` wrote, in a checkout in which a run has finished, or in its models/.

        Raises:
            InputError: there is none, or a part of it is missing.
        """
        parts = ModelFolder.find(Path(folder).expanduser().resolve())
        return cls(parts.sampler(), parts)

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels that the model knows; none if it is unconditional."""
        return self._sampler.model.labels

    @cached_property
    def words(self) -> npt.NDArray[np.int64]:
        """How many words every training text has, [texts]."""
        return self._parts.training_words()

    def sample(
        self,
        n: int,
        seed: int = 0,
        label: str | None = None,
        length: int | None = None,
        steps: int | None = None,
        strategy: str | None = None,
    ) -> list[str]:
        """Return `n` texts, written from noise. Any of them may be empty, as any string may.

        Args:
            label: that they are to have; None: labels are as frequent as in the training set, where there are any.
            length: how many words, separated by spaces, each of them has. Texts are sampled until there are `n` of this length,
                so a rare one takes long; None: lengths are as the model writes them.
            steps: of sampling; None: as many as the run took.
            strategy: of decoding: greedy, beam or nucleus; None: the run's first.

        Raises:
            InputError: an argument is not allowed, or too few of the sampled texts have the length.
        """
        require_at_least("n", n, 1)
        settings, strategy = self._sampling(steps), self._strategy(strategy)
        if label is not None:
            self._sampler.require_labels([label])
        if length is None:
            outline = self._sampler.outline(n, seed) if label is None else self._sampler.outline_of_label(label, n, seed)
            return self._decoded(self._sampler.latents(outline, seed, settings), strategy, seed, settings.decode_at)
        return self._of_length(length, n, seed, self._rows_of_length(length, label), settings, strategy)

    def latents(self, texts: Sequence[str]) -> list[Floats]:
        """Return the latents of every text, float32 [vectors, latent_dim], as the encoder gives them.

        Raises:
            InputError: these are no texts, or one has more tokens than the model reads.
        """
        if isinstance(texts, str) or not all(isinstance(text, str) for text in texts):
            raise InputError("texts should be a list of strings")
        autoencoder = self._sampler.autoencoder
        ids = tokenize(autoencoder.tokenizer, texts, max_tokens := autoencoder.settings.max_tokens)
        whole = tokenize(autoencoder.tokenizer, texts, max_tokens + 1)
        for number, row in enumerate(whole):
            if len(row) > max_tokens:
                raise InputError(f"text {number} has more than the {max_tokens} tokens that the model reads: shorten it")
        if unknown := sum(row.count(autoencoder.tokenizer.unk_token_id) for row in ids):
            warnings.warn(f"{unknown} words of these texts are not in the vocabulary and are lost", stacklevel=2)
        return encode_ids(autoencoder, ids, self._parts.section.batch_size)

    def reconstruct(self, texts: Sequence[str], strategy: str = "greedy") -> list[str]:
        """Return every text as the decoder writes it from its latents: what can be written at best.

        Raises:
            InputError: as of `latents`, or the strategy is unknown.
        """
        return self._decoded(self.latents(texts), self._strategy(strategy), seed=0, level=0)

    def interpolate(self, text_a: str, text_b: str, n: int, strategy: str = "greedy") -> list[str]:
        """Return `n` texts from evenly spaced points between the latents of two texts, both ends among them.

        Raises:
            InputError: `n` is less than 2; the texts have different numbers of vectors, as only a per-token layout has.
        """
        require_at_least("n", n, 2)
        strategy = self._strategy(strategy)
        first, last = self.latents([text_a, text_b])
        if len(first) != len(last):
            raise InputError(
                f"the texts have {len(first)} and {len(last)} tokens, and this model has a latent vector for every token: "
                "interpolate between texts of equally many, or with a model of latent_layout: compressed"
            )
        points = [(1 - share) * first + share * last for share in np.linspace(0, 1, n, dtype=np.float32)]
        return self._decoded(points, strategy, seed=0, level=0)

    def variations(
        self,
        text: str,
        n: int,
        noise_level: float = 0.8,
        seed: int = 0,
        steps: int | None = None,
        strategy: str | None = None,
    ) -> list[str]:
        """Return `n` variations of a text: its latents are noised to a level, and denoised again (SDEdit, arXiv 2108.01073).

        Args:
            noise_level: standard deviation of the noise, between 0 and 1: little leaves the text, much leaves nothing of it.
            steps: of the whole way from pure noise, of which those below the level are taken; None: as many as the run took.

        Raises:
            InputError: an argument is not allowed.
        """
        require_at_least("n", n, 1)
        strategy = self._strategy(strategy)
        if not 0 < noise_level < 1:
            raise InputError(f"noise_level = {noise_level}: it should be between 0 and 1")
        (latents,) = self.latents([text])
        varied = vary_latents(self._sampler, latents, n, noise_level, seed, self._sampling(steps))
        return self._decoded(varied, strategy, seed, self._parts.section.decode_at)

    def _sampling(self, steps: int | None) -> SamplingSettings:
        """Return how the run sampled, in so many steps; None: in as many as the run took.

        Raises:
            InputError: the model has not so many.
        """
        settings = settings_from(self._parts.section, SamplingSettings)
        if steps is None:
            return settings
        timesteps = self._sampler.model.process.timesteps
        if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= timesteps:
            raise InputError(f"steps = {steps}: it should be a whole number from 1 to the model's {timesteps} timesteps")
        return replace(settings, sampling_timesteps=steps)

    def _strategy(self, strategy: str | None) -> str:
        """Return the name of a decoding strategy; of None the run's first.

        Raises:
            InputError: there is none of that name.
        """
        if strategy is None:
            return self._parts.section.strategies[0]
        if strategy not in STRATEGIES:
            raise InputError(f"strategy = {strategy!r}: it should be one of {', '.join(STRATEGIES)}")
        return strategy

    def _rows_of_length(self, length: int, label: str | None) -> npt.NDArray[np.int64]:
        """Return the numbers of the training texts with so many words, and with the label, if any.

        Raises:
            InputError: there are none.
        """
        require_at_least("length", length, 1)
        of_length = self.words == length
        if label is not None:
            of_length &= self._sampler.train.labels == self.labels.index(label)
        if not of_length.any():
            raise InputError(
                f"no training text{'' if label is None else f' with the label {label}'} has {length} words: they have from "
                f"{self.words.min()} to {self.words.max()}, mostly {np.bincount(self.words).argmax()}"
            )
        return np.flatnonzero(of_length)

    def _of_length(
        self, length: int, n: int, seed: int, rows: npt.NDArray[np.int64], settings: SamplingSettings, strategy: str
    ) -> list[str]:
        """Return the first `n` texts of a length in words, of many that are sampled like training texts of this length, `rows`.

        Raises:
            InputError: too few of `MOST_CANDIDATES` times as many have it.
        """
        at_once = min(max(round(4 * len(self.words) / len(rows)), 16), settings.batch_size)  # about four of this length
        turns = max(MOST_CANDIDATES * n // at_once, 1)
        found: list[str] = []
        for turn in range(turns):
            own = derive_seed(seed, "length", turn)
            outline = self._sampler.outline_of([int(rows[i]) for i in draw_training_rows(len(rows), at_once, own)])
            texts = self._decoded(self._sampler.latents(outline, own, settings), strategy, own, settings.decode_at)
            found += [text for text in texts if len(text.split()) == length]
            if len(found) >= n:
                return found[:n]
        raise InputError(
            f"of {turns * at_once} sampled texts {len(found)} have {length} words, and n = {n}: ask for fewer, or for a more "
            f"frequent length ({len(rows)} of {len(self.words)} training texts have this one)"
        )

    def _decoded(self, latents: Sequence[Floats], strategy: str, seed: int, level: float) -> list[str]:
        """Return the text of every latent; `level` is that of the noise on them."""
        decoding = settings_from(self._parts.section, DecodingSettings)
        return self._sampler.texts(latents, strategy, decoding, seed, self._parts.section.batch_size, level)


def require_at_least(name: str, value: int, least: int) -> None:
    """Check a whole number.

    Raises:
        InputError: it is none, or too small.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise InputError(f"{name} = {value!r}: it should be a whole number of at least {least}")
