"""Intervals hold what they should hold, as often as they should."""

import math

import numpy as np
import pytest

from annealed_lm.bootstrap import diversity_replicates, diversity_without_each, interval, ratio_replicates, resample_weights
from annealed_lm.ngrams import tokenise
from annealed_lm.restaurants import make_corpus
from annealed_lm.text_metrics import repetition


def diversity(texts: list[str]) -> float:
    return math.prod(1 - repetition(tokenise(texts), n) for n in (2, 3, 4))


def test_each_draw_has_as_many_texts_as_there_are() -> None:
    weights = resample_weights(7, 50, seed=0)
    assert weights.shape == (50, 7)
    assert (weights.sum(1) == 7).all()
    assert np.array_equal(weights, resample_weights(7, 50, seed=0))
    assert not np.array_equal(weights, resample_weights(7, 50, seed=1))


def test_replicates_of_a_ratio_are_the_ratios_of_the_drawn_texts() -> None:
    weights = np.array([[1, 1, 1], [0, 3, 0], [2, 0, 1]])
    assert ratio_replicates(weights, [1, 2, 3], [1, 4, 5]) == pytest.approx([6 / 10, 6 / 12, 5 / 7])


def test_a_ratio_of_nothing_is_zero() -> None:
    assert ratio_replicates(np.array([[2, 0], [1, 1]]), [0, 3], [0, 4]) == pytest.approx([0, 0.75])


def test_diversity_without_a_text_is_the_diversity_of_the_others() -> None:
    texts = ["a b c d e", "a b c d f", "x y z", "a b c d e", "", "x y x y x y"]
    expected = [diversity(texts[:i] + texts[i + 1 :]) for i in range(len(texts))]
    assert diversity_without_each(tokenise(texts)) == pytest.approx(expected)


def test_texts_without_ngrams_have_diversity_one() -> None:
    assert diversity_without_each(tokenise(["a", "", "b"])) == pytest.approx([1, 1, 1])


def test_intervals_hold_the_mean_of_other_sets_about_as_often_as_they_say() -> None:
    count, sets = 200, 80
    drawn = [[restaurant.text for restaurant in each] for each in make_corpus([count] * sets, seed=3)]
    values = [diversity(texts) for texts in drawn]
    shares = [np.array([text.endswith("?") or "," in text for text in texts]) for texts in drawn]
    held_diversity, held_share = 0, 0
    for number, texts in enumerate(drawn):
        weights = resample_weights(count, 300, seed=number)
        low, high = interval(values[number], diversity_replicates(weights, tokenise(texts)))
        held_diversity += low <= np.mean(values) <= high
        low, high = interval(shares[number].mean(), ratio_replicates(weights, shares[number], np.ones(count)))
        held_share += low <= np.mean(shares) <= high
    assert held_diversity / sets >= 0.88
    assert held_share / sets >= 0.88


def test_an_interval_is_narrower_with_more_texts() -> None:
    def width(count: int) -> float:
        values = np.random.default_rng(0).random(count)
        low, high = interval(values.mean(), ratio_replicates(resample_weights(count, 500, 0), values, np.ones(count)))
        return high - low

    assert 0 < width(4000) < width(1000) / 1.6
