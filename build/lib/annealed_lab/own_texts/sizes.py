"""What a run on texts of one's own should have in params.yaml, as far as their number and their lengths decide it.

Rules of thumb, each stated beside its value, to be changed where the result says so.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from annealed_lm.common.errors import InputError
from annealed_lm.common.token_ids import token_ids
from annealed_lm.common.words import count_words, unknown_share, vocabulary_for
from annealed_lm.corpora.readers import LabelledText

FEWEST_TEXTS = 500
MOST_WORDS = 128
"""Of a text: a few vectors made by a small model hold no more."""
MOST_TOKENS = 256
LOOKED_AT = 50_000
"""So many texts tell the vocabulary and the lengths in tokens of all."""
LARGEST_VOCABULARY = 2000
"""Of whole words; where it leaves more than `UNKNOWN` of the words, the tokenizer is BPE."""
UNKNOWN = 0.01


class Choice(NamedTuple):
    """A value of params.yaml, and why it is this one."""

    value: Any
    reason: str


def multiple(number: float, of: int) -> int:
    """Return the next multiple of `of`."""
    return of * math.ceil(number / of)


def most_words(texts: Sequence[LabelledText]) -> int:
    """Return how many words the texts to be kept may have: 99.5 % of those here have no more, unless that is above `MOST_WORDS`.

    Raises:
        InputError: there is no word.
    """
    lengths = [words for row in texts if (words := len(row.text.split()))]
    if not lengths:
        raise InputError("there is no text: every row is blank")
    return min(multiple(float(np.quantile(lengths, 0.995)), 4), MOST_WORDS)


def choose_texts(texts: int) -> dict[str, Choice]:
    """Return the sizes of the splits and of the sets of samples.

    Raises:
        InputError: there are too few texts.
    """
    if texts < FEWEST_TEXTS:
        raise InputError(f"{texts} different texts are left after cleaning, and training needs at least {FEWEST_TEXTS}")
    held_out = min(max(texts // 10, 50), 1000)
    return {
        "prepare_data.train_texts": Choice(texts - 2 * held_out, "all others"),
        "prepare_data.valid_texts": Choice(held_out, "a tenth, from 50 to 1,000"),
        "prepare_data.test_texts": Choice(held_out, "as many"),
        "sample_texts.num_samples": Choice(min(500, held_out), "as many validation texts, at most 500"),
    }


def choose_vocabulary(texts: Sequence[str], count: int) -> tuple[Choice, Choice]:
    """Return the kind of tokenizer and its vocab_size, for `count` texts of which these are some.

    Words that will be unknown are those beyond the vocabulary and, of texts to come, about as many new ones as there are words
    that came once (Good 1953, Biometrika 40).
    """
    counts = count_words(texts)
    new = sum(times == 1 for times in counts.values()) / counts.total()
    unknown = unknown_share(counts, LARGEST_VOCABULARY) + new
    if unknown <= UNKNOWN:
        vocab_size = min(multiple(vocabulary_for(counts, 0), 8), LARGEST_VOCABULARY)
        return Choice("word", f"{unknown:.1%} of the words to come would be unknown"), Choice(vocab_size, "all words, or nearly")
    reason = f"of {LARGEST_VOCABULARY} whole words, {unknown:.1%} would be unknown"
    return Choice("bpe", reason), Choice(2000 if count < 100_000 else 4000, "by the number of texts")


def token_lengths(texts: Sequence[str], tokenizer: str, vocab_size: int) -> list[int]:
    """Return how many tokens every text has, by a tokenizer that is trained on them."""
    from annealed_lm.autoencoder.tokenizer import train_tokenizer  # it takes seconds to import: only once the texts are read

    trained = train_tokenizer(texts, tokenizer, vocab_size, MOST_TOKENS)
    return [len(row) for row in token_ids(trained, texts, truncation=False, verbose=False)]


def choose_tokens(lengths: Sequence[int]) -> tuple[Choice, Choice]:
    """Return max_tokens and num_latents for texts of these lengths in tokens.

    Raises:
        InputError: more than 1 % of the texts are too long.
    """
    too_long = float(np.mean(np.array(lengths) > MOST_TOKENS))
    if too_long > 0.01:
        raise InputError(f"{too_long:.0%} of the texts have more than {MOST_TOKENS} tokens: cut them into shorter ones")
    longest = min(multiple(float(np.quantile(lengths, 0.999)), 8), MOST_TOKENS)
    usual = float(np.quantile(lengths, 0.95))
    vectors = min(max(multiple(usual / 8, 4), 4), 16)
    return (
        Choice(longest, "99.9% have no more, others are truncated"),
        Choice(vectors, f"one for eight of the usual {usual:.0f} tokens, 4 to 16"),
    )


def choose_steps(texts: int) -> dict[str, Choice]:
    """Return how long the three models train, and how often the diffusion is looked at."""
    steps = min(max(multiple(1000 * math.sqrt(texts / 1000), 100), 1000), 8000)
    reason = "1,000 x root of the thousands of texts, to 8,000"
    return {
        "train_autoencoder.num_train_steps": Choice(steps, reason),
        "train_language_model.num_train_steps": Choice(steps // 4, "a quarter of that"),
        "train_diffusion.num_train_steps": Choice(3 * steps, "three times as many, and cheaper ones"),
        "train_diffusion.validate_every": Choice(3 * steps // 10, "ten points of a curve"),
        "train_diffusion.evaluate_every": Choice(multiple(3 * steps / 4, 1), "four averaged models"),
    }


def choose_sizes(texts: Sequence[LabelledText], max_words: int) -> dict[str, Choice]:
    """Return all that the texts decide, by dotted key of params.yaml.

    Args:
        texts: cleaned, and different from each other.
        max_words: that they have at most.

    Raises:
        InputError: they are too few, or too long.
    """
    chosen = choose_texts(len(texts))
    every = max(len(texts) // LOOKED_AT, 1)
    some = [row.text for row in texts[::every]]
    tokenizer, vocab_size = choose_vocabulary(some, len(texts))
    max_tokens, num_latents = choose_tokens(token_lengths(some, tokenizer.value, vocab_size.value))
    chosen |= {"prepare_data.max_words": Choice(max_words, f"99.5% have no more; at most {MOST_WORDS}")}
    for section in ("train_autoencoder", "train_language_model"):
        chosen |= {f"{section}.tokenizer": tokenizer, f"{section}.vocab_size": vocab_size, f"{section}.max_tokens": max_tokens}
    labelled = any(row.label is not None for row in texts)
    return chosen | {
        "train_autoencoder.num_latents": num_latents,
        **choose_steps(len(texts)),
        "train_diffusion.class_conditional": Choice(
            labelled, "the texts have labels" if labelled else "the texts have no labels"
        ),
    }
