"""Words and n-grams of a set of texts, as 64-bit numbers that are the same in every process.

Words are those of spaCy's English tokenizer (its rules only, no model); tokens of white space alone are dropped, punctuation
marks are words. A word is spaCy's 64-bit MurmurHash of it, an n-gram a hash of its words' hashes. Among a million different
n-grams, two share a number by chance with probability 1e6^2 / 2^65 = 3e-8.
"""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annealed_lm.common.files import atomic_path, read_array

Hashes = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.int64]

TRIGRAMS, FOURGRAMS, TEXTS = "trigrams.npy", "fourgrams.npy", "texts.npy"


@dataclass(frozen=True)
class TokenisedTexts:
    """Texts and their words, tokenised once for every metric.

    Attributes:
        texts: as they came, n of them.
        words: hash of each word [total words], text after text.
        lowered: hash of each word in lower case [total words].
        text_of_word: number of the text that each word stands in [total words], non-decreasing.
    """

    texts: tuple[str, ...]
    words: Hashes
    lowered: Hashes
    text_of_word: Counts

    @property
    def word_counts(self) -> Counts:
        """Words of each text [n]."""
        return np.bincount(self.text_of_word, minlength=len(self.texts)).astype(np.int64)

    def ngrams(self, n: int) -> tuple[Hashes, Counts]:
        """Return the hash of every n-gram occurrence and the number of its text; no n-gram crosses from one text to the next."""
        last = max(len(self.words) - n + 1, 0)
        within = self.text_of_word[:last] == self.text_of_word[len(self.words) - last :]
        hashes = np.zeros(last, dtype=np.uint64)
        for position in range(n):
            hashes = mixed(hashes) + self.words[position : position + last]
        return mixed(hashes)[within], self.text_of_word[:last][within]


def mixed(values: Hashes) -> Hashes:
    """Scramble 64-bit numbers one to one, so that sums of hashes depend on order (splitmix64, Steele et al. 2014)."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


@cache
def english_tokenizer() -> Callable[[str], Any]:
    import spacy  # takes seconds: only where words are wanted

    return spacy.blank("en").tokenizer


def tokenise(texts: TokenisedTexts | Sequence[str]) -> TokenisedTexts:
    """Return the words of `texts`, which may be empty, as may any text. What is tokenised already is given back."""
    if isinstance(texts, TokenisedTexts):
        return texts
    tokenizer = english_tokenizer()
    rows = [tokenizer(text).to_array(["ORTH", "LOWER", "IS_SPACE"]) for text in texts]
    table = np.concatenate([np.zeros((0, 3), dtype=np.uint64), *rows])
    text_of_token = np.repeat(np.arange(len(rows)), [len(row) for row in rows])
    is_word = table[:, 2] == 0
    return TokenisedTexts(tuple(texts), table[is_word, 0], table[is_word, 1], text_of_token[is_word])


def text_hashes(texts: Sequence[str]) -> Hashes:
    """Return a hash of every text, letter for letter [n]."""
    digests = b"".join(hashlib.blake2b(text.encode(), digest_size=8).digest() for text in texts)
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


@dataclass(frozen=True)
class TrainingNgrams:
    """What the training texts hold: sorted hashes, each once, of their 3-grams, 4-grams and texts."""

    trigrams: Hashes
    fourgrams: Hashes
    texts: Hashes

    @classmethod
    def of(cls, training: "TrainingNgrams | TokenisedTexts | Sequence[str]") -> "TrainingNgrams":
        """Count the n-grams of the training texts; what was counted already is given back."""
        if isinstance(training, TrainingNgrams):
            return training
        training = tokenise(training)
        return cls(np.unique(training.ngrams(3)[0]), np.unique(training.ngrams(4)[0]), np.unique(text_hashes(training.texts)))

    def save(self, folder: Path) -> None:
        """Write the three tables to `folder`, eight bytes an entry."""
        with atomic_path(folder) as partial:
            partial.mkdir()
            for name, table in ((TRIGRAMS, self.trigrams), (FOURGRAMS, self.fourgrams), (TEXTS, self.texts)):
                np.save(partial / name, table)

    @classmethod
    def load(cls, folder: Path) -> "TrainingNgrams":
        return cls(*(read_array(folder / name) for name in (TRIGRAMS, FOURGRAMS, TEXTS)))
