"""Intervals hold what they should hold, as often as they should."""

import math

import numpy as np
import pytest

from annealed_lm.corpora.restaurants import make_corpus
from annealed_lm.evaluation.bootstrap import (
    diversity_replicates,
    diversity_without_each,
    interval,
    ratio_replicates,
    resample_weights,
    wilson_interval,
)
from annealed_lm.evaluation.ngrams import tokenise
from annealed_lm.evaluation.text_metrics import repetition


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


# Shares


@pytest.mark.parametrize(
    ("count", "texts", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),  # the examples of Newcombe 1998, table I, method 3
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
        (0, 500, 0, 1.959964**2 / (500 + 1.959964**2)),
        (500, 500, 500 / (500 + 1.959964**2), 1),
    ],
)
def test_the_interval_of_a_share_is_wilsons(count: int, texts: int, low: float, high: float) -> None:
    assert wilson_interval(count / texts, texts) == pytest.approx((low, high), abs=6e-5)


@pytest.mark.parametrize("texts", [1, 2, 3, 7, 20, 500, 10**6])
def test_the_interval_of_a_share_has_width_holds_the_share_and_stays_in_range(texts: int) -> None:
    for count in sorted({0, 1, texts // 3, texts // 2, texts - 1, texts}):
        low, high = wilson_interval(count / texts, texts)
        assert 0 <= low <= count / texts <= high <= 1
        assert low < high
        assert wilson_interval(1 - count / texts, texts) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("share", [0.001, 0.1, 1 / 3, 0.617, 0.999])
@pytest.mark.parametrize("texts", [1, 3, 23, 500])
def test_a_mean_of_shares_counts_as_the_nearest_whole_number_of_texts_and_lies_in_its_interval(share: float, texts: int) -> None:
    low, high = wilson_interval(share, texts)
    nearest = wilson_interval(round(share * texts) / texts, texts)
    assert low <= share <= high
    assert (low, high) == (min(nearest.low, share), max(nearest.high, share))


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_interval_of_a_share_is_narrower_with_more_texts(share: float) -> None:
    widths = [high - low for low, high in (wilson_interval(share, texts) for texts in (100, 200, 1000, 10000))]
    assert widths == sorted(widths, reverse=True)
    assert widths[1] < 0.8 * widths[0]


@pytest.mark.parametrize("truth", [0.01, 0.1, 0.5, 0.97])
def test_intervals_of_a_share_hold_the_truth_about_as_often_as_they_say(truth: float) -> None:
    drawn = np.random.default_rng(0).binomial(500, truth, size=2000)
    intervals = [wilson_interval(count / 500, 500) for count in drawn.tolist()]
    assert np.mean([low <= truth <= high for low, high in intervals]) == pytest.approx(0.95, abs=0.025)
