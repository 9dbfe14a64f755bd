"""Intervals hold what they should hold, as often as they should."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from annealed_lm.corpora.restaurants import make_corpus
from annealed_lm.evaluation.bootstrap import (
    Interval,
    Replicates,
    centred_interval,
    diversity_replicates,
    diversity_without_each,
    mean_replicates,
    positive_interval,
    ratio_replicates,
    resample_weights,
    share_interval,
    wilson_interval,
)
from annealed_lm.evaluation.ngrams import tokenise
from annealed_lm.evaluation.text_metrics import repetitions


def diversity(texts: list[str]) -> float:
    return repetitions(texts)["diversity"]


def test_each_draw_has_as_many_texts_as_there_are() -> None:
    weights = resample_weights(7, 50, seed=0)
    assert weights.shape == (50, 7)
    assert (weights.sum(1) == 7).all()
    assert np.array_equal(weights, resample_weights(7, 50, seed=0))
    assert not np.array_equal(weights, resample_weights(7, 50, seed=1))


def test_replicates_of_a_ratio_are_the_ratios_of_the_drawn_texts() -> None:
    weights = np.array([[1, 1, 1], [0, 3, 0], [2, 0, 1]])
    replicates = ratio_replicates(weights, [1, 2, 3], [1, 4, 5])
    assert (replicates.value, replicates.texts) == (pytest.approx(6 / 10), 3)
    assert replicates.values == pytest.approx([6 / 10, 6 / 12, 5 / 7])
    residuals = [np.array([1, 2, 3]) - 0.6 * np.array([1, 4, 5]), np.zeros(3), np.array([1, 1, 3]) - 5 / 7 * np.array([1, 1, 5])]
    expected = [np.linalg.norm(each) / total for each, total in zip(residuals, (10, 12, 7), strict=True)]
    assert replicates.errors == pytest.approx(expected)
    assert replicates.error == pytest.approx(expected[0])


def test_the_error_of_a_mean_is_its_standard_error_at_any_scale() -> None:
    values = np.random.default_rng(0).random(50)
    weights = resample_weights(50, 20, 0)
    for scale in (1e-200, 1, 1e200):
        replicates = ratio_replicates(weights, scale * values, np.ones(50))
        assert replicates.error == pytest.approx(scale * values.std() / 50**0.5)
        assert replicates.errors / scale == pytest.approx(ratio_replicates(weights, values, np.ones(50)).errors)


def test_a_draw_of_texts_that_do_not_count_has_no_ratio() -> None:
    replicates = ratio_replicates(np.array([[2, 0], [1, 1]]), [0, 3], [0, 4])
    assert replicates.values == pytest.approx([np.nan, 0.75], nan_ok=True)
    assert (replicates.value, replicates.texts) == (0.75, 1)


def test_a_ratio_of_nothing_is_zero() -> None:
    replicates = ratio_replicates(np.array([[2, 0], [1, 1]]), [0, 0], [0, 0])
    assert (replicates.value, replicates.error, replicates.texts) == (0, 0, 0)


def test_the_mean_over_sets_has_the_error_of_a_mean() -> None:
    values = np.random.default_rng(9).random((2, 400))
    one, other = (ratio_replicates(resample_weights(400, 500, seed), values[seed], np.ones(400)) for seed in range(2))
    both = mean_replicates([one, other])
    assert (both.value, both.texts) == (pytest.approx(values.mean()), 800)
    assert both.values == pytest.approx((one.values + other.values) / 2)
    assert both.error == pytest.approx(values.std() / 800**0.5, rel=0.01)
    assert both.errors.mean() == pytest.approx(both.values.std(), rel=0.1)
    alone = mean_replicates([one])
    assert (alone.value, alone.error, alone.texts) == pytest.approx((one.value, one.error, 400))


def test_diversity_without_a_text_is_the_diversity_of_the_others() -> None:
    texts = ["a b c d e", "a b c d f", "x y z", "a b c d e", "", "x y x y x y"]
    expected = [diversity(texts[:i] + texts[i + 1 :]) for i in range(len(texts))]
    assert diversity_without_each(tokenise(texts)) == pytest.approx(expected)


@pytest.mark.parametrize("texts", [["a", "", "b"], ["a b", "c"], ["a b c d", "e f"]])
def test_without_the_only_ngrams_there_is_no_diversity(texts: list[str]) -> None:
    expected = [diversity(texts[:i] + texts[i + 1 :]) for i in range(len(texts))]
    assert diversity_without_each(tokenise(texts)) == pytest.approx(expected)
    assert expected[0] == 0


def test_intervals_hold_the_mean_of_other_sets_about_as_often_as_they_say() -> None:
    count, sets = 200, 80
    drawn = [[restaurant.text for restaurant in each] for each in make_corpus([count] * sets, seed=3)]
    values = [diversity(texts) for texts in drawn]
    shares = [np.array([text.endswith("?") or "," in text for text in texts]) for texts in drawn]
    lengths = [np.array([len(text) for text in texts]) for texts in drawn]
    held = np.zeros(3)
    for number, texts in enumerate(drawn):
        weights = resample_weights(count, 300, seed=number)
        low, high = centred_interval(diversity_replicates(weights, tokenise(texts)))
        held[0] += low <= np.mean(values) <= high
        low, high = share_interval(ratio_replicates(weights, shares[number], np.ones(count)))
        held[1] += low <= np.mean(shares) <= high
        low, high = positive_interval(ratio_replicates(weights, lengths[number], np.ones(count)))
        held[2] += low <= np.mean(lengths) <= high
    assert (held / sets >= 0.88).all()


@pytest.mark.parametrize("interval", [positive_interval, share_interval, centred_interval])
def test_an_interval_is_narrower_with_more_texts(interval: Callable[[Replicates], Interval]) -> None:
    def width(count: int) -> float:
        values = np.random.default_rng(1).random(count)  # with the seed of the draws, they would depend on it
        low, high = interval(ratio_replicates(resample_weights(count, 500, 0), values, np.ones(count)))
        return high - low

    assert 0 < width(4000) < width(1000) / 1.6


# Bounds

OUTLIERS = (1e1, 65_000, 1e12, 1e300)


@pytest.mark.parametrize("outlier", OUTLIERS)
@pytest.mark.parametrize("count", [1, 2, 20, 500])
@pytest.mark.parametrize("sets", [1, 3])
def test_a_perplexity_is_at_least_one_and_its_interval_within_the_resamples(outlier: float, count: int, sets: int) -> None:
    each = []
    for number in range(sets):
        perplexities = np.random.default_rng(9 + number).lognormal(1, 0.3, count).clip(1)
        perplexities[0] = outlier
        each.append(ratio_replicates(resample_weights(count, 200, number), perplexities, np.ones(count)))
    replicates = mean_replicates(each)
    low, high = positive_interval(replicates)
    assert 1 <= min(replicates.values.min(), replicates.value) * (1 - 1e-12) <= low <= replicates.value <= high
    assert high <= max(replicates.values.max(), replicates.value) * (1 + 1e-12)


def test_texts_that_are_all_alike_have_an_interval_at_their_perplexity() -> None:
    for perplexity in (1.0, 7.0):
        low, high = positive_interval(ratio_replicates(resample_weights(20, 100, 0), np.full(20, perplexity), np.ones(20)))
        assert (low, high) == pytest.approx((perplexity, perplexity))
        assert low >= 1


def test_draws_without_a_text_that_is_judged_draw_no_bound_to_nothing() -> None:
    judged = np.arange(50) < 2  # a third of the draws hold neither
    replicates = ratio_replicates(resample_weights(50, 300, 0), np.where(np.arange(50) < 1, 3.0, 5.0) * judged, judged)
    assert np.isnan(replicates.values).any()
    low, high = positive_interval(replicates)
    assert 3 <= low <= 4 <= high <= 5


def test_a_perplexity_too_large_for_a_number_has_no_interval_but_itself() -> None:
    assert positive_interval(ratio_replicates(np.ones((3, 2)), [1000, 1000], [1, 1]).exp()) == (math.inf, math.inf)


@pytest.mark.parametrize("count", [1, 2, 20, 500])
@pytest.mark.parametrize("share", [0, 0.002, 0.5, 0.999, 1])
def test_shares_of_ngrams_lie_between_none_and_all_and_have_width_even_at_the_ends(count: int, share: float) -> None:
    draw = np.random.default_rng(0)
    ngrams = draw.poisson(9, count) + 1
    known = draw.binomial(ngrams, share)
    for sets in (1, 3):
        replicates = mean_replicates([ratio_replicates(resample_weights(count, 200, i), known, ngrams) for i in range(sets)])
        low, high = share_interval(replicates)
        assert 0 <= low <= replicates.value <= high <= 1
        assert low < high


def test_of_texts_without_ngrams_any_share_may_be_true() -> None:
    assert share_interval(ratio_replicates(resample_weights(5, 20, 0), np.zeros(5), np.zeros(5))) == (0, 1)


@pytest.mark.parametrize("texts", [["a b c d"], ["a b c d", "e f g h"], ["a b c d"] * 30, ["a b c d", "a b c d e", *["x"] * 30]])
def test_a_diversity_has_an_interval_between_none_and_all(texts: list[str]) -> None:
    value = diversity(texts)
    low, high = centred_interval(diversity_replicates(resample_weights(len(texts), 100, 0), tokenise(texts)))
    assert 0 <= low <= value <= high <= 1


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
@pytest.mark.parametrize("texts", [0, 0.5, 1, 3, 23.7, 500])
def test_a_share_of_no_whole_number_of_texts_lies_in_its_interval_between_those_of_the_numbers_beside(
    share: float, texts: float
) -> None:
    low, high = wilson_interval(share, texts)
    assert 0 <= low <= share <= high <= 1
    assert wilson_interval(share, texts + 1).low >= low
    assert wilson_interval(share, texts + 1).high <= high


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
