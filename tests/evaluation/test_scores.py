"""The scores of one set of texts."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.common.feature_sets import Features
from annealed_lm.common.model_description import ModelDescription
from annealed_lm.evaluation.features import FeatureModel
from annealed_lm.evaluation.judges import Judges
from annealed_lm.evaluation.mauve_metric import mauve_score
from annealed_lm.evaluation.references import References
from annealed_lm.evaluation.scores import format_rows, recognised, score_alone, score_texts, summarise, values_of
from support.scored import (
    CHEAP,
    DIMENSION,
    JUDGE,
    LIKELIHOOD_METRICS,
    MAUVE_METRICS,
    MAUVE_TRAIN,
    MODERATE,
    OTHERS,
    REFERENCES,
    RESAMPLED,
    SCALINGS,
    TEXT_METRICS,
    TEXTS,
    TRAIN,
    VALID,
    Judge,
    draw_features,
    score_few,
    score_set,
)


def of_corpus(name: str) -> References:
    return replace(REFERENCES, settings=replace(REFERENCES.settings, dataset_name=name))


# One set


def test_a_row_holds_every_metric_and_nothing_else() -> None:
    scores = score_set(VALID, draw_features(2))
    assert set(scores.values) == {"grammatical"} | LIKELIHOOD_METRICS | MAUVE_METRICS | TEXT_METRICS
    assert set(scores.mauve) == MAUVE_METRICS
    assert set(scores.replicates) == RESAMPLED
    assert scores.texts == TEXTS
    assert {len(each.values) for each in scores.replicates.values()} == {REFERENCES.settings.bootstrap_samples}


def test_values_of_a_tiny_set_by_hand() -> None:
    values = score_few(["aa", "aaaa aaaa", "", CHEAP]).values
    probabilities = [6, 2, 6, 3, 2, 2, 3, 4, 3, 6]  # of the words of CHEAP, with their commas and stops
    own = float(np.prod(probabilities)) ** (1 / len(probabilities))
    assert values["grammatical"] == 1 / 4
    assert values["empty"] == 1 / 4
    assert values["distinct"] == 1
    assert values["perplexity"] == pytest.approx((2 + 4 + own) / 3)
    assert values["perplexity_corpus"] == pytest.approx((2 * 4**2 * own ** len(probabilities)) ** (1 / (3 + len(probabilities))))


@pytest.mark.parametrize(
    ("texts", "labels", "grammatical", "has_label"),
    [
        ([CHEAP, MODERATE], ["cheap", "moderate"], 1, 1),
        ([CHEAP, MODERATE], ["cheap", "cheap"], 1, 1 / 2),
        ([CHEAP, "Sesame Sesame is cheap.", ""], ["cheap", "cheap", "cheap"], 1 / 3, 1 / 3),
        ([CHEAP, ""], ["expensive", None], 1 / 2, 0),  # no text states no label
    ],
)
def test_a_text_has_its_label_if_it_states_it(
    texts: list[str], labels: list[str | None], grammatical: float, has_label: float
) -> None:
    values = score_few(texts, labels).values
    assert (values["grammatical"], values["has_label"]) == (grammatical, has_label)


def test_each_mauve_compares_the_features_of_its_kind_with_its_set() -> None:
    tested = draw_features(2)
    scores = score_set(VALID, tested)
    names = {
        ("sentence", "train"): "mauve_train",
        ("sentence", "valid"): "mauve_valid",
        ("language_model", "train"): "mauve_lm_train",
        ("language_model", "valid"): "mauve_lm_valid",
    }
    for (kind, name), metric in names.items():
        expected = mauve_score(tested[kind], REFERENCES.features[kind][name], SCALINGS[kind], 2)
        assert (scores.values[metric], scores.mauve[metric]) == (expected.mean, expected)
    assert len({scores.values[metric] for metric in names.values()}) == 4


def test_a_set_is_not_compared_with_itself() -> None:
    scores = score_set(VALID, draw_features(2), compared_with=["train"])
    assert {name for name in scores.values if name.startswith("mauve")} == MAUVE_TRAIN
    assert set(scores.mauve) == MAUVE_TRAIN


class Known:
    """Stands for a model of features that it knows by heart."""

    def __init__(self, texts: Sequence[str], features: Features) -> None:
        self.known = dict(zip(texts, features, strict=True))

    def features_of_sets(self, sets: Mapping[str, Sequence[str]]) -> dict[str, Features]:
        return {name: np.stack([self.known[text] for text in texts]) for name, texts in sets.items()}


def test_a_set_whose_features_are_not_at_hand_is_scored_alike() -> None:
    features = draw_features(2)
    judges = Judges(JUDGE, {kind: cast(FeatureModel, Known(VALID, each)) for kind, each in features.items()})
    labels = ["cheap"] * TEXTS
    alone = score_alone(VALID, REFERENCES, judges, labels=labels, seed=3)
    expected = score_set(VALID, features, labels=labels, seed=3)
    assert alone.values == expected.values
    assert {"has_label"} | MAUVE_METRICS <= set(alone.values)
    assert alone.mauve == expected.mauve
    np.testing.assert_array_equal(alone.likelihoods.nll, expected.likelihoods.nll)
    for metric in RESAMPLED:
        np.testing.assert_array_equal(alone.replicates[metric].values, expected.replicates[metric].values)


def test_only_a_corpus_with_a_recogniser_has_grammatical_texts_and_texts_of_their_label() -> None:
    labels = ["cheap"] * TEXTS
    with_recogniser = score_set(VALID, draw_features(2), labels=labels)
    without = score_texts(VALID, draw_features(2), of_corpus("e2e"), JUDGE, labels=labels)
    assert set(with_recogniser.values) - set(without.values) == {"grammatical", "has_label"}
    assert recognised(VALID, labels, of_corpus("e2e")) == {}


def test_texts_without_tokens_have_no_perplexity() -> None:
    scores = score_set([""] * TEXTS, draw_features(2))
    assert set(scores.values) == {"grammatical"} | MAUVE_METRICS | TEXT_METRICS
    assert set(scores.replicates) == {"diversity", "memorization"}
    assert not set(summarise([scores], {})) & LIKELIHOOD_METRICS


def test_real_texts_are_grammatical_and_training_texts_are_memorized() -> None:
    second = score_set(TRAIN[TEXTS:], draw_features(2)).values
    held_out = score_set(VALID, draw_features(3), compared_with=["train"]).values
    unlike = score_set([""] * TEXTS, draw_features(4, shift=20)).values
    assert [row["grammatical"] for row in (second, held_out, unlike)] == [1, 1, 0]
    assert [second[metric] for metric in ("memorization", "verbatim_train", "seen_trigrams")] == [1, 1, 1]
    assert held_out["verbatim_train"] == 0
    assert 0 < held_out["memorization"] < 1
    assert second["mauve_train"] > unlike["mauve_train"]


@pytest.mark.parametrize("count", [TEXTS - 1, TEXTS + 1])
def test_sets_of_another_size_are_refused(count: int) -> None:
    expected = f"^there are {count} texts to score, but each reference set holds {TEXTS}: scores of unequal numbers of texts .*$"
    with pytest.raises(InputError, match=expected):
        score_set((VALID + OTHERS)[:count], draw_features(2, count=count))


def test_another_judge_than_that_of_the_references_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Judge, "description", ModelDescription("judge", "d" * 64, DIMENSION))
    expected = r"^the references were judged by judge \(a{12}\), not by this language model \(d{12}\); run .* prepare_references$"
    with pytest.raises(InputError, match=expected):
        score_set(VALID, draw_features(2))


# Bootstrap


def test_replicates_spread_around_the_value_whose_they_are() -> None:
    mixed = [*VALID[: TEXTS // 2], *(text.lower() for text in OTHERS[: TEXTS // 2])]
    scores = score_set(mixed, {})
    assert set(scores.replicates) == RESAMPLED
    for metric, drawn in scores.replicates.items():
        assert drawn.value == pytest.approx(scores.values[metric])
        assert drawn.values.mean() == pytest.approx(drawn.value, abs=drawn.values.std() / 3)
        assert drawn.error == pytest.approx(drawn.values.std(), rel=0.2)


def test_the_seed_of_the_resampling_changes_replicates_and_no_value() -> None:
    one, same, other = (score_set(VALID, {}, seed=seed) for seed in (0, 0, 1))
    assert one.values == same.values == other.values
    for metric in RESAMPLED:
        assert np.array_equal(one.replicates[metric].values, same.replicates[metric].values)
        assert not np.array_equal(one.replicates[metric].values, other.replicates[metric].values)


def test_texts_without_tokens_weigh_nothing_in_the_replicates_of_the_perplexity() -> None:
    scores = score_few(["", "aaaa aaaa", "", "aaaa"] * 10)
    for metric in LIKELIHOOD_METRICS:
        assert scores.values[metric] == pytest.approx(4)
        assert scores.replicates[metric].values == pytest.approx(4)


# Output


def test_the_values_of_a_row_stand_alone() -> None:
    row: dict[str, Any] = {"mauve_train": {"value": 0.5, "real": 0.9}, "empty": {"value": 0.0, "std": 0.1}}
    assert values_of(row) == {"mauve_train": 0.5, "empty": 0.0}


def test_the_table_shows_every_metric_and_a_dash_for_none() -> None:
    table = format_rows({"generated": {"mauve_train": 0.81234, "distinct": 1.0}, "ceiling/nucleus": {"distinct": 0.5}})
    header, mauve, distinct = (line.split() for line in table.splitlines())
    assert header == ["generated", "ceiling/nucleus"]
    assert mauve == ["mauve_train", "0.8123", "-"]
    assert distinct == ["distinct", "1", "0.5"]
    assert len({len(line) for line in table.splitlines()}) == 1
