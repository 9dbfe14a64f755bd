"""Metrics of a set of texts that need no model: its own variety, and what it shares with the training texts.

Texts and training texts are lists of strings, or, for many metrics of the same texts, what `ngrams.tokenise` and
`TrainingNgrams.of` make of them. A share of nothing (no texts, no n-grams) is 0, so no set of texts, however short or empty, is
refused.
"""

import math
from collections.abc import Sequence

import numpy as np

from annealed_lm.evaluation.ngrams import Counts, Flags, TokenisedTexts, TrainingNgrams, text_hashes, tokenise

Texts = TokenisedTexts | Sequence[str]
Training = TrainingNgrams | TokenisedTexts | Sequence[str]
NGRAM_SIZES = (2, 3, 4)
"""Of the n-grams whose repetition counts."""


def share(flags: Flags) -> float:
    """Return the share of True among `flags`, 0 where there are none."""
    return float(flags.mean()) if len(flags) else 0.0


def unique_share(texts: Texts, n: int) -> float:
    """Return unique / total n-grams over the whole set; 0 where it has none."""
    ngrams, _ = tokenise(texts).ngrams(n)
    return len(np.unique(ngrams)) / len(ngrams) if len(ngrams) else 0.0


def repetition(texts: Texts, n: int) -> float:
    """Return 1 - unique / total n-grams over the whole set (Su et al. 2022, arXiv 2202.06417, section 4.1); 0 without n-grams."""
    return repeated(unique_share(texts, n))


def repeated(unique: float) -> float:
    """Return the repetition that goes with a share of unique n-grams, which is 0 only where there are none."""
    return 1 - unique if unique else 0.0


def repetitions(texts: Texts) -> dict[str, float]:
    """Return `repetition_n` for n = 2, 3, 4, and `diversity`, the product of the shares of unique n-grams.

    That is the product of 1 - repetition where texts have n-grams of every n. Texts too short for that are not the most diverse
    of all but have a diversity of 0, a share of nothing.
    """
    texts = tokenise(texts)
    unique = {n: unique_share(texts, n) for n in NGRAM_SIZES}
    return {**{f"repetition_{n}": repeated(share) for n, share in unique.items()}, "diversity": math.prod(unique.values())}


def memorization(texts: Texts, training: Training) -> float:
    """Return the share of 4-gram occurrences that occur in the training texts."""
    texts, training = tokenise(texts), TrainingNgrams.of(training)
    ngrams, _ = texts.ngrams(4)
    return share(np.isin(ngrams, training.fourgrams))


def unique_words(texts: Texts) -> int:
    """Count the different words, case counting."""
    texts = tokenise(texts)
    return len(np.unique(texts.words))


def distinct(texts: Texts) -> float:
    """Return the number of different texts over the number of texts."""
    texts = tokenise(texts)
    return len(set(texts.texts)) / len(texts.texts) if texts.texts else 0.0


def verbatim_train(texts: Texts, training: Training) -> float:
    """Return the share of texts that are, letter for letter, training texts."""
    texts, training = tokenise(texts), TrainingNgrams.of(training)
    return share(np.isin(text_hashes(texts.texts), training.texts))


def mean_words(texts: Texts) -> float:
    """Return the mean number of words of a text."""
    texts = tokenise(texts)
    return len(texts.words) / len(texts.texts) if texts.texts else 0.0


def seen_trigrams(texts: Texts, training: Training) -> float:
    """Return the share of texts all of whose trigrams occur in training. Texts of fewer than three words have none and do
    not count as seen."""
    texts, training = tokenise(texts), TrainingNgrams.of(training)
    ngrams, text_of_ngram = texts.ngrams(3)
    trigrams = per_text(text_of_ngram, texts)
    seen = per_text(text_of_ngram[np.isin(ngrams, training.trigrams)], texts)
    return share((trigrams > 0) & (seen == trigrams))


def doubled_word(texts: Texts) -> float:
    """Return the share of texts with the same word, or punctuation mark, twice in a row, case aside."""
    texts = tokenise(texts)
    doubled = (texts.lowered[1:] == texts.lowered[:-1]) & (texts.text_of_word[1:] == texts.text_of_word[:-1])
    return share(per_text(texts.text_of_word[1:][doubled], texts) > 0)


def token_entropy(texts: Texts) -> float:
    """Return the mean over texts of the entropy of their words, in bits: how evenly a text uses its words, case counting.

    It is reported beside perplexity, which texts of few words, said again and again, make small (Zheng et al. 2025, arXiv
    2409.02908, section 4). A text without words has none.
    """
    texts = tokenise(texts)
    pairs = np.stack([texts.text_of_word.astype(np.uint64), texts.words])
    (numbers, _), counts = np.unique(pairs, axis=1, return_counts=True)
    shares = counts / np.maximum(texts.word_counts, 1)[numbers.astype(np.int64)]
    return float(-(shares * np.log2(shares)).sum()) / len(texts.texts) if texts.texts else 0.0


def empty(texts: Texts) -> float:
    """Return the share of texts without a word."""
    texts = tokenise(texts)
    return share(texts.word_counts == 0)


def per_text(text_numbers: Counts, texts: TokenisedTexts) -> Counts:
    """Count how often each text's number occurs, [n]."""
    return np.bincount(text_numbers, minlength=len(texts.texts)).astype(np.int64)


def text_metrics(texts: Texts, training: Training) -> dict[str, float]:
    """Return every metric of this module by name."""
    texts, training = tokenise(texts), TrainingNgrams.of(training)
    return {
        **repetitions(texts),
        "memorization": memorization(texts, training),
        "unique_words": unique_words(texts),
        "distinct": distinct(texts),
        "verbatim_train": verbatim_train(texts, training),
        "mean_words": mean_words(texts),
        "token_entropy": token_entropy(texts),
        "seen_trigrams": seen_trigrams(texts, training),
        "doubled_word": doubled_word(texts),
        "empty": empty(texts),
    }
