from collections import Counter

import pytest

from annealed_lm.common.words import count_words, most_frequent, unknown_share, vocabulary_for

COUNTS = Counter({" a": 5, " b": 3, " c": 1, " d": 1})
SPECIAL = 4


def test_words_have_the_space_before_them_and_joined_they_are_the_text() -> None:
    text = "The pub, by the river: it's  cheap."
    words = count_words([text])
    assert words.total() == 12
    assert words["Ġthe"] == 1
    assert sum(len(word) * times for word, times in words.items()) == len(text)


def test_the_most_frequent_words_make_the_vocabulary() -> None:
    assert most_frequent(COUNTS, SPECIAL + 3) == [" a", " b", " c"]


@pytest.mark.parametrize(("words", "share"), [(1, 0.5), (2, 0.2), (3, 0.1), (4, 0), (9, 0)])
def test_what_the_vocabulary_lacks_is_unknown(words: int, share: float) -> None:
    assert unknown_share(COUNTS, SPECIAL + words) == pytest.approx(share)


@pytest.mark.parametrize(("share", "words"), [(0.6, 1), (0.5, 1), (0.49, 2), (0.1, 3), (0.05, 4), (0, 4)])
def test_a_vocabulary_for_a_share_is_the_smallest(share: float, words: int) -> None:
    assert vocabulary_for(COUNTS, share) == SPECIAL + words
