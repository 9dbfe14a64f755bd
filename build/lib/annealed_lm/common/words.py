"""Texts as words, split as the tokenizers that are trained here split them, and how many of them a vocabulary would not know."""

from collections import Counter
from collections.abc import Iterable

from tokenizers import pre_tokenizers

SPECIAL_TOKENS = {"bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
"""In the order of BART's vocabulary, ids 0 to 3."""


def word_splitter() -> pre_tokenizers.PreTokenizer:
    """Return what cuts a text into words with the space before them and punctuation, so that joining restores the text."""
    return pre_tokenizers.ByteLevel(add_prefix_space=False)


def count_words(texts: Iterable[str]) -> Counter[str]:
    """Count the words of all texts, as `word_splitter` cuts them."""
    splitter = word_splitter()
    return Counter(word for text in texts for word, _ in splitter.pre_tokenize_str(text))


def most_frequent(counts: Counter[str], vocab_size: int) -> list[str]:
    """Return the words of a vocabulary of at most `vocab_size` entries, beside the special tokens: the most frequent first."""
    return sorted(counts, key=lambda word: (-counts[word], word))[: vocab_size - len(SPECIAL_TOKENS)]


def unknown_share(counts: Counter[str], vocab_size: int) -> float:
    """Return the share of all words that such a vocabulary does not hold."""
    known = sum(counts[word] for word in most_frequent(counts, vocab_size))
    return 1 - known / counts.total()


def vocabulary_for(counts: Counter[str], largest_share: float) -> int:
    """Return the smallest `vocab_size` with which at most `largest_share` of all words are unknown."""
    allowed = largest_share * counts.total()
    unknown = counts.total()
    for size, count in enumerate(sorted(counts.values(), reverse=True), start=1):
        unknown -= count
        if unknown <= allowed:
            return size + len(SPECIAL_TOKENS)
    return len(counts) + len(SPECIAL_TOKENS)
