"""The scores of several sets of texts together, and of the texts of each label apart."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from annealed_lm.common.feature_sets import Features
from annealed_lm.common.files import LATENT_AGREEMENT
from annealed_lm.evaluation import scores as evaluation
from annealed_lm.evaluation.bootstrap import wilson_interval
from annealed_lm.evaluation.mauve_metric import SMALLEST_SET, MauveScore, mauve_score
from annealed_lm.evaluation.scores import SHARES, SetScores, summarise, summarise_labels
from annealed_lm.evaluation.uncertainty import INTERVALS
from support.scored import (
    CHEAP,
    LIKELIHOOD_METRICS,
    MAUVE_METRICS,
    MAUVE_TRAIN,
    MODERATE,
    OTHERS,
    RESAMPLED,
    SCALINGS,
    TEXTS,
    VALID,
    WITH_INTERVAL,
    draw_features,
    make_references,
    score_few,
    score_labels,
    score_set,
)

REAL = {
    "mauve_train": {"value": 0.9, "mauve_star": 0.95},
    "mauve_valid": {"value": 0.8, "mauve_star": 0.85},
    "mauve_lm_train": {"value": 0.7, "mauve_star": 0.75},
    "mauve_lm_valid": {"value": 0.6, "mauve_star": 0.65},
    "perplexity": {"value": 5.0},
    "grammatical": {"value": 1.0},
}


@pytest.fixture(scope="module")
def sets() -> list[SetScores]:
    """Scores of two sets of texts, of which 30 and 20 are grammatical."""
    texts = ([*VALID[:30], *(text.lower() for text in OTHERS[:10])], [*OTHERS[:20], *(text.lower() for text in VALID[:20])])
    return [score_set(each, draw_features(number), labels=["cheap"] * TEXTS, seed=number) for number, each in enumerate(texts)]


def test_the_value_is_the_mean_over_the_sets_and_std_their_deviation(sets: list[SetScores]) -> None:
    row = summarise(sets, REAL)
    assert set(row) == set(sets[0].values)
    assert row["grammatical"]["value"] == pytest.approx((30 / 40 + 20 / 40) / 2)
    assert row["grammatical"]["std"] == pytest.approx((30 / 40 - 20 / 40) / 2**0.5)
    for metric, entry in row.items():
        assert entry["value"] == pytest.approx(np.mean([each.values[metric] for each in sets]))
        assert entry["std"] == pytest.approx(np.std([each.values[metric] for each in sets], ddof=1))


def test_a_single_set_has_no_deviation_over_sets(sets: list[SetScores]) -> None:
    row = summarise(sets[:1], REAL)
    assert {metric: entry["value"] for metric, entry in row.items()} == pytest.approx(sets[0].values)
    assert not any("std" in entry for entry in row.values())


@pytest.mark.parametrize("count", [1, 2])
def test_the_score_of_real_texts_the_deviation_over_clusterings_and_mauve_star_stand_beside_each_mauve_and_only_there(
    sets: list[SetScores], count: int
) -> None:
    row = summarise(sets[:count], REAL)
    for beside in ("real", "real_mauve_star", "clustering_std", "mauve_star"):
        assert {metric for metric, entry in row.items() if beside in entry} == MAUVE_METRICS
    for metric in MAUVE_METRICS:
        assert (row[metric]["real"], row[metric]["real_mauve_star"]) == tuple(REAL[metric].values())
        scores = [each.mauve[metric] for each in sets[:count]]
        assert row[metric]["clustering_std"] == pytest.approx(np.mean([score.std for score in scores]))
        assert row[metric]["mauve_star"] == pytest.approx(np.mean([score.star for score in scores]))


def test_where_real_texts_have_no_such_mauve_none_is_stated(sets: list[SetScores]) -> None:
    row = summarise(sets, {"mauve_train": REAL["mauve_train"]})
    assert {metric for metric, entry in row.items() if "real" in entry} == {"mauve_train"}


def test_intervals_hold_their_value_and_are_narrower_for_two_sets_than_for_one(sets: list[SetScores]) -> None:
    one, other, both = summarise(sets[:1], REAL), summarise(sets[1:], REAL), summarise(sets, REAL)
    for row in (one, other, both):
        assert {metric for metric, entry in row.items() if "low" in entry} == WITH_INTERVAL
        assert {metric for metric, entry in row.items() if "high" in entry} == WITH_INTERVAL
        for metric in WITH_INTERVAL:
            assert row[metric]["low"] < row[metric]["value"] < row[metric]["high"]
    for metric in WITH_INTERVAL:
        widths = [row[metric]["high"] - row[metric]["low"] for row in (one, other, both)]
        assert widths[2] < 0.85 * np.mean(widths[:2])  # 0.71, but for the chance of the draws


def test_the_interval_of_a_share_is_that_of_so_many_texts_as_all_sets_hold(sets: list[SetScores]) -> None:
    assert set(SHARES) <= set(sets[0].values)
    for count in (1, 2):
        row = summarise(sets[:count], REAL)
        for metric in SHARES:
            share = np.mean([each.values[metric] for each in sets[:count]])
            assert (row[metric]["low"], row[metric]["high"]) == pytest.approx(wilson_interval(float(share), count * TEXTS))


def test_a_share_that_all_texts_have_has_an_interval_with_width() -> None:
    entry = summarise([score_set(VALID, {})], {})["grammatical"]
    assert entry == pytest.approx({"value": 1, "low": TEXTS / (TEXTS + 1.959964**2), "high": 1})


def test_a_metric_that_a_set_lacks_is_left_out(sets: list[SetScores]) -> None:
    empty = score_set([""] * TEXTS, draw_features(2), labels=["cheap"] * TEXTS)
    for both in ([sets[0], empty], [empty, sets[0]]):
        assert set(summarise(both, REAL)) == set(sets[0].values) - LIKELIHOOD_METRICS


@pytest.mark.parametrize("agreement", [[1.0] * TEXTS, [-1.0] * TEXTS, [0.9, -0.9] * (TEXTS // 2)])
def test_the_agreement_of_texts_with_their_latents_has_an_interval_among_the_cosines(agreement: list[float]) -> None:
    entry = summarise([score_set(VALID, {}, agreement=agreement)], {})[LATENT_AGREEMENT]
    assert entry["value"] == pytest.approx(np.mean(agreement))
    assert -1 <= entry["low"] <= entry["value"] <= entry["high"] <= 1


def test_every_metric_that_is_resampled_has_an_interval() -> None:
    scores = score_set(VALID, {}, agreement=[0.5] * TEXTS)
    assert scores.replicates.keys() == INTERVALS.keys() == RESAMPLED | {LATENT_AGREEMENT}


# By label


def test_metrics_of_a_label_are_those_of_its_texts() -> None:
    texts = [CHEAP, MODERATE, "", CHEAP.lower(), "aaaa aa"]
    labels = ["cheap", "cheap", "cheap", "moderate", "moderate"]
    scores = score_labels(texts, labels, {}, make_references(5))
    assert list(scores) == ["cheap", "moderate"]
    for label, chosen in (("cheap", texts[:3]), ("moderate", texts[3:])):
        expected = score_few(chosen, [label] * len(chosen))
        assert scores[label].values == pytest.approx(expected.values | {"texts": len(chosen)})
        assert scores[label].texts == len(chosen)
        assert set(scores[label].replicates) == RESAMPLED
        for metric in RESAMPLED:
            np.testing.assert_allclose(scores[label].replicates[metric].values, expected.replicates[metric].values)
    assert scores["cheap"].values["has_label"] == 1 / 3
    assert scores["cheap"].values["grammatical"] == 2 / 3


def test_a_label_without_tokens_has_no_perplexity() -> None:
    scores = score_labels([CHEAP, ""], ["cheap", "moderate"], {}, make_references(2))
    assert set(scores["cheap"].values) - set(scores["moderate"].values) == LIKELIHOOD_METRICS


def shuffled(**counts: int) -> list[str]:
    return random.Random(0).sample([label for label, count in counts.items() for _ in range(count)], sum(counts.values()))


def places_of(label: str, labels: Sequence[str]) -> list[int]:
    return [place for place, each in enumerate(labels) if each == label]


def mauve_of(scores: SetScores) -> dict[str, float]:
    return {name: value for name, value in scores.values.items() if name.startswith("mauve")}


def test_mauve_of_a_label_compares_the_first_texts_of_that_label_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, real = shuffled(cheap=26, moderate=24, expensive=21), shuffled(cheap=24, moderate=21, expensive=26)
    count = len(asked)
    places = dict.fromkeys(SCALINGS, np.arange(count, dtype=np.float32))  # in the place of features
    references = make_references(count, real, label_texts=22)
    references = replace(references, features={kind: {"train": places[kind]} for kind in SCALINGS})
    calls: list[tuple[list[float], list[float], float, int]] = []

    def stand_in(tested: Features, reference: Features, scaling: float, seeds: int) -> MauveScore:
        calls.append((tested.tolist(), reference.tolist(), scaling, seeds))
        return MauveScore(scaling / 10, scaling / 100, scaling / 9)

    monkeypatch.setattr(evaluation, "mauve_score", stand_in)
    scores = score_labels([CHEAP] * count, asked, places, references)
    compared = places_of("cheap", asked)[:22], places_of("cheap", real)[:22]
    assert calls == [(*compared, 8, 2), (*compared, 5, 2)]  # 21 real moderate and 21 generated expensive ones are too few
    expected = {"cheap": {"mauve_train": 0.8, "mauve_lm_train": 0.5}, "expensive": {}, "moderate": {}}
    assert {label: mauve_of(each) for label, each in scores.items()} == expected
    assert scores["cheap"].mauve == {"mauve_train": (0.8, 0.08, 8 / 9), "mauve_lm_train": (0.5, 0.05, 5 / 9)}
    assert {label: each.values["texts"] for label, each in scores.items()} == {"cheap": 26, "expensive": 21, "moderate": 24}


@pytest.mark.parametrize(
    ("generated", "real", "label_texts", "compared"),
    [
        (24, 24, 24, True),
        (30, 24, 24, True),
        (24, 30, 24, True),
        (30, 23, 24, False),
        (23, 30, 24, False),
        (30, 0, 24, False),
        (30, 30, SMALLEST_SET, True),
        (30, 30, SMALLEST_SET - 1, False),
        (30, 30, 0, False),
    ],
)
def test_a_label_has_mauve_of_one_number_of_texts_or_none(generated: int, real: int, label_texts: int, compared: bool) -> None:
    asked, labels = shuffled(cheap=generated, moderate=50 - generated), shuffled(cheap=real, expensive=50 - real)
    features, references = draw_features(2, count=50), make_references(50, labels, label_texts)
    scores = score_labels([CHEAP] * 50, asked, features, references)["cheap"]
    assert scores.values["texts"] == generated
    assert set(mauve_of(scores)) == set(scores.mauve) == (MAUVE_TRAIN if compared else set())
    if compared:
        chosen, reference = places_of("cheap", asked)[:label_texts], places_of("cheap", labels)[:label_texts]
        expected = mauve_score(features["sentence"][chosen], references.features["sentence"]["train"][reference], 8, 2)
        assert scores.mauve["mauve_train"] == expected
        assert scores.values["mauve_train"] == expected.mean


@pytest.fixture(scope="module")
def labelled() -> list[dict[str, SetScores]]:
    """Scores by label of two sets of texts: cheap ones in both, enough for MAUVE; moderate and expensive ones in one each."""
    references = make_references(50, shuffled(cheap=25, moderate=25), label_texts=SMALLEST_SET)
    sets = []
    for number, labels in enumerate((shuffled(cheap=30, moderate=20), shuffled(cheap=40, expensive=10))):
        texts = [text.lower() if place % (3 + number) else text for place, text in enumerate((VALID + OTHERS)[:50])]
        sets.append(score_labels(texts, labels, draw_features(number, count=50), references))
    return sets


def test_scores_of_each_label_are_summarised_over_the_sets_that_have_its_texts(labelled: list[dict[str, SetScores]]) -> None:
    one = {"mauve_train": REAL["mauve_train"]}
    real = {"cheap": one | {"grammatical": {"value": 1.0}}, "moderate": one, "free": one}
    first, second = labelled
    rows = summarise_labels(labelled, real)
    assert list(rows) == ["cheap", "expensive", "moderate"]
    assert rows["cheap"] == summarise([first["cheap"], second["cheap"]], real["cheap"])
    assert rows["moderate"] == summarise([first["moderate"]], real["moderate"])
    assert rows["expensive"] == summarise([second["expensive"]], {})


def test_a_score_of_a_label_has_beside_it_what_a_score_of_a_set_has(labelled: list[dict[str, SetScores]]) -> None:
    row = summarise_labels(labelled, {"cheap": REAL})["cheap"]
    assert row["texts"]["value"] == 35
    assert row["mauve_train"]["real"] == 0.9
    assert {metric for metric, entry in row.items() if "clustering_std" in entry} == MAUVE_TRAIN
    assert {metric for metric, entry in row.items() if "low" in entry} == WITH_INTERVAL
    assert row["grammatical"]["low"] < row["grammatical"]["value"] < row["grammatical"]["high"]
    assert all("std" in entry for entry in row.values())


def test_a_label_that_has_mauve_in_one_set_alone_has_none_over_the_sets(labelled: list[dict[str, SetScores]]) -> None:
    few = {"cheap": labelled[1]["expensive"]}
    for sets in ([labelled[0], few], [few, labelled[0]]):
        row = summarise_labels(sets, {})["cheap"]
        assert not MAUVE_TRAIN & set(row)
        assert set(row) >= WITH_INTERVAL


def test_without_labels_nothing_is_summarised() -> None:
    assert summarise_labels([], {"cheap": REAL}) == {}
