"""The scores of several sets of texts together, and of the texts of each label apart."""

import random
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from annealed_lm import evaluation
from annealed_lm.evaluation import Row, SetScores, mean_rows, score_by_label, score_texts, summarise
from annealed_lm.feature_sets import Features
from annealed_lm.mauve_metric import SMALLEST_SET, MauveScore, mauve_score
from scored import (
    CHEAP,
    JUDGE,
    LIKELIHOOD_METRICS,
    MAUVE_TRAIN,
    MAUVE_VALID,
    MODERATE,
    OTHERS,
    REFERENCES,
    SCALINGS,
    TEXTS,
    VALID,
    WITH_INTERVAL,
    draw_features,
    make_references,
    score_few,
)

REAL = {
    "mauve_train": 0.9,
    "mauve_valid": 0.8,
    "mauve_lm_train": 0.7,
    "mauve_lm_valid": 0.6,
    "perplexity": 5.0,
    "grammatical": 1.0,
}


@pytest.fixture(scope="module")
def sets() -> list[SetScores]:
    """Scores of two sets of texts, of which 30 and 20 are grammatical."""
    texts = ([*VALID[:30], *(text.lower() for text in OTHERS[:10])], [*OTHERS[:20], *(text.lower() for text in VALID[:20])])
    return [
        score_texts(each, draw_features(number), REFERENCES, JUDGE, labels=["cheap"] * TEXTS, seed=number)
        for number, each in enumerate(texts)
    ]


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
def test_the_score_of_real_texts_and_the_deviation_over_clusterings_stand_beside_each_mauve_and_only_there(
    sets: list[SetScores], count: int
) -> None:
    row = summarise(sets[:count], REAL)
    assert {metric for metric, entry in row.items() if "real" in entry} == MAUVE_TRAIN | MAUVE_VALID
    assert {metric for metric, entry in row.items() if "clustering_std" in entry} == MAUVE_TRAIN | MAUVE_VALID
    for metric in MAUVE_TRAIN | MAUVE_VALID:
        assert row[metric]["real"] == REAL[metric]
        deviations = [each.clustering_std[metric] for each in sets[:count]]
        assert row[metric]["clustering_std"] == pytest.approx(np.mean(deviations))


def test_where_real_texts_have_no_such_mauve_none_is_stated(sets: list[SetScores]) -> None:
    row = summarise(sets, {"mauve_train": 0.9})
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


def test_a_share_that_all_texts_have_has_an_interval_without_width() -> None:
    entry = summarise([score_texts(VALID, {}, REFERENCES, JUDGE)], {})["grammatical"]
    assert entry == pytest.approx({"value": 1, "low": 1, "high": 1})


def test_a_metric_that_a_set_lacks_is_left_out(sets: list[SetScores]) -> None:
    empty = score_texts([""] * TEXTS, draw_features(2), REFERENCES, JUDGE, labels=["cheap"] * TEXTS)
    for both in ([sets[0], empty], [empty, sets[0]]):
        assert set(summarise(both, REAL)) == set(sets[0].values) - LIKELIHOOD_METRICS


# By label


def test_metrics_of_a_label_are_those_of_its_texts() -> None:
    texts = [CHEAP, MODERATE, "", CHEAP.lower(), "aaaa aa"]
    labels = ["cheap", "cheap", "cheap", "moderate", "moderate"]
    rows = score_by_label(texts, labels, {}, make_references(5), JUDGE.likelihoods(texts, 32))
    assert list(rows) == ["cheap", "moderate"]
    for label, chosen in (("cheap", texts[:3]), ("moderate", texts[3:])):
        expected = score_few(chosen, [label] * len(chosen)).values | {"texts": len(chosen)}
        assert rows[label] == pytest.approx(expected)
    assert rows["cheap"]["has_label"] == 1 / 3
    assert rows["cheap"]["grammatical"] == 2 / 3


def test_a_label_without_tokens_has_no_perplexity() -> None:
    row = score_by_label([CHEAP, ""], ["cheap", "moderate"], {}, make_references(2), JUDGE.likelihoods([CHEAP, ""], 32))
    assert set(row["cheap"]) - set(row["moderate"]) == LIKELIHOOD_METRICS


def shuffled(**counts: int) -> list[str]:
    return random.Random(0).sample([label for label, count in counts.items() for _ in range(count)], sum(counts.values()))


def places_of(label: str, labels: Sequence[str]) -> list[int]:
    return [place for place, each in enumerate(labels) if each == label]


def test_mauve_of_a_label_compares_as_many_texts_of_that_label_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked, real = shuffled(cheap=24, moderate=22, expensive=19), shuffled(cheap=30, moderate=15, expensive=20)
    count = len(asked)
    places = dict.fromkeys(SCALINGS, np.arange(count, dtype=np.float32))  # in the place of features
    references = replace(make_references(count, real), features={kind: {"train": places[kind]} for kind in SCALINGS})
    calls: list[tuple[list[float], list[float], float, int]] = []

    def stand_in(tested: Features, reference: Features, scaling: float, seeds: int) -> MauveScore:
        calls.append((tested.tolist(), reference.tolist(), scaling, seeds))
        return MauveScore(scaling / 10, 0.0)

    monkeypatch.setattr(evaluation, "mauve_score", stand_in)
    rows = score_by_label([CHEAP] * count, asked, places, references, JUDGE.likelihoods([CHEAP] * count, 32))
    compared = places_of("cheap", asked), places_of("cheap", real)[:24]
    assert calls == [(*compared, 8, 2), (*compared, 5, 2)]  # 15 real moderate and 19 generated expensive ones are too few
    found = {label: {name: value for name, value in row.items() if name.startswith("mauve")} for label, row in rows.items()}
    assert found == {"cheap": {"mauve_texts": 24, "mauve_train": 0.8, "mauve_lm_train": 0.5}, "expensive": {}, "moderate": {}}


@pytest.mark.parametrize(("generated", "real"), [(30, SMALLEST_SET), (SMALLEST_SET, 30), (30, SMALLEST_SET - 1), (19, 30)])
def test_a_label_of_too_few_texts_on_a_side_has_no_mauve(generated: int, real: int) -> None:
    asked, labels = shuffled(cheap=generated, moderate=50 - generated), shuffled(cheap=real, expensive=50 - real)
    features, references = draw_features(2, count=50), make_references(50, labels)
    row = score_by_label([CHEAP] * 50, asked, features, references, JUDGE.likelihoods([CHEAP] * 50, 32))["cheap"]
    size = min(generated, real)
    assert row["texts"] == generated
    if size < SMALLEST_SET:
        assert not any(name.startswith("mauve") for name in row)
    else:
        chosen, reference = places_of("cheap", asked)[:size], places_of("cheap", labels)[:size]
        expected = mauve_score(features["sentence"][chosen], references.features["sentence"]["train"][reference], 8, 2)
        assert (row["mauve_texts"], row["mauve_train"]) == (size, expected.mean)


def test_rows_of_several_sets_are_averaged_by_label_and_metric() -> None:
    rows: list[dict[str, Row]] = [
        {"cheap": {"texts": 10, "perplexity": 3}, "moderate": {"texts": 5}},
        {"cheap": {"texts": 20}, "expensive": {"texts": 7}},
    ]
    assert mean_rows(rows) == {"cheap": {"texts": 15, "perplexity": 3}, "expensive": {"texts": 7}, "moderate": {"texts": 5}}
    assert mean_rows([]) == {}
