"""The metrics as evaluate calls them: expected values are counted by hand, or those of the pipeline's plain functions."""

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import evaluate  # type: ignore[import-untyped]
import numpy as np
import pytest
import torch

from annealed_lm.common.errors import InputError
from annealed_lm.evaluation.evaluate_interface import (
    Mauve,
    Memorization,
    Perplexity,
    Repetition,
    TextMetric,
    UniqueWords,
    shuffled_halves,
)
from annealed_lm.evaluation.features import FeatureModel
from annealed_lm.evaluation.mauve_metric import mauve_score
from annealed_lm.evaluation.ngrams import TrainingNgrams, tokenise
from annealed_lm.evaluation.text_metrics import text_metrics
from annealed_lm.generation.language_model import LanguageModel
from support.tiny import CPU, TEXTS, make_tokenizer, save_feature_model, save_language_model

TESTED, REAL = TEXTS[:60], TEXTS[60:120]
SCALING, SEEDS, UNION_SEED = 8.0, 3, 7
TRAINING = ["The cat sat on the mat .", "A dog ran ."]
VOCABULARY = len(make_tokenizer())


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = tmp_path_factory.mktemp("models") / "judge"
    save_language_model(folder)
    return LanguageModel.load(folder, CPU)


@pytest.fixture(scope="module")
def feature_model(tmp_path_factory: pytest.TempPathFactory) -> FeatureModel:
    folder = tmp_path_factory.mktemp("models") / "sentences"
    save_feature_model(folder)
    return FeatureModel.load(CPU, folder)


@pytest.fixture
def metrics(language_model: LanguageModel, feature_model: FeatureModel) -> list[TextMetric]:
    """One of each."""
    mauve = Mauve(feature_model, SCALING, SEEDS, UNION_SEED)
    return [Perplexity(language_model), mauve, Repetition(), Memorization(), UniqueWords()]


def inputs_of(metric: TextMetric) -> dict[str, list[str]]:
    return {name: {"predictions": TESTED, "references": REAL}[name] for name in metric.features}


def test_repetition_and_diversity_of_two_sentences() -> None:
    # bigrams ab bc cd ab bc ce: 4 of 6; trigrams abc bcd abc bce: 3 of 4; 4-grams: 2 of 2
    scores = Repetition().compute(predictions=["a b c d", "a b c e"])
    assert scores == pytest.approx({"repetition_2": 1 / 3, "repetition_3": 1 / 4, "repetition_4": 0, "diversity": 1 / 2})


@pytest.mark.parametrize("training", [TRAINING, TRAINING[:1], [*TRAINING, "The", "cat sat on you"]])
def test_memorization_of_two_sentences_against_any_number_of_training_texts(training: list[str]) -> None:
    # 4-grams: "The cat sat on" (seen) twice, "cat sat on me" (new) once
    scores = Memorization().compute(predictions=["The cat sat on", "The cat sat on me"], references=training)
    assert scores == pytest.approx({"memorization": 2 / 3})


def test_unique_words_of_two_sentences() -> None:
    assert UniqueWords().compute(predictions=["the cat sat", "The cat ran"]) == {"unique_words": 5}


def test_perplexity_of_a_model_that_knows_nothing_is_the_size_of_its_vocabulary(
    language_model: LanguageModel, tmp_path: Path
) -> None:
    language_model.save(tmp_path / "ignorant", {})
    ignorant = LanguageModel.load(tmp_path / "ignorant", CPU)
    with torch.no_grad():
        ignorant.model.get_output_embeddings().weight.zero_()
    scores = Perplexity(ignorant).compute(predictions=["the old pub", "a red crown is good"])
    assert scores["perplexity"] == pytest.approx(VOCABULARY, rel=1e-5)
    assert scores["perplexity_corpus"] == pytest.approx(VOCABULARY, rel=1e-5)
    assert scores["perplexity_settings"] == {"model": "ignorant", "sha256": ignorant.description.sha256}


def test_texts_without_a_token_have_no_perplexity(language_model: LanguageModel) -> None:
    scores = Perplexity(language_model).compute(predictions=["", ""])
    assert (scores["perplexity"], scores["perplexity_corpus"]) == (None, None)


def test_perplexity_is_the_language_models(language_model: LanguageModel) -> None:
    likelihoods = language_model.likelihoods(TESTED, 8)
    scores = Perplexity(language_model, batch_size=8).compute(predictions=TESTED)
    assert scores["perplexity"] == likelihoods.perplexity
    assert scores["perplexity_corpus"] == likelihoods.perplexity_corpus
    assert likelihoods.perplexity != likelihoods.perplexity_corpus


def test_mauve_is_that_of_the_features_and_states_its_settings(feature_model: FeatureModel) -> None:
    features = feature_model.features([*TESTED, *REAL])
    expected = mauve_score(features[:60], features[60:], SCALING, SEEDS)
    scores = Mauve(feature_model, SCALING, SEEDS, UNION_SEED).compute(predictions=TESTED, references=REAL)
    assert (scores["mauve"], scores["mauve_std"], scores["mauve_star"]) == expected
    assert scores["mauve_settings"] == {
        "n": 60,
        "buckets": 6,
        "scaling": SCALING,
        "seeds": SEEDS,
        "union_seed": UNION_SEED,
        "model": "sentences",
        "sha256": feature_model.description.sha256,
        "dimension": 8,
    }


def test_mauve_of_a_language_model_is_on_its_last_states(language_model: LanguageModel) -> None:
    features = language_model.features([*TESTED, *REAL], 16)
    expected = mauve_score(features[:60], features[60:], 5, 1)
    scores = Mauve(language_model, scaling=5, seeds=1, batch_size=16).compute(predictions=TESTED, references=REAL)
    assert scores["mauve"] == expected.mean
    assert (scores["mauve_settings"]["model"], scores["mauve_settings"]["dimension"]) == ("judge", 16)


def test_the_control_is_high_where_the_sets_are_of_two_kinds(feature_model: FeatureModel) -> None:
    strangers = [f"good bad {text} empty empty" for text in REAL]
    scores = Mauve(feature_model, SCALING, SEEDS).compute(predictions=TESTED, references=strangers)
    assert scores["mauve"] < 0.3
    assert scores["mauve_shuffled_union"] > 0.8


def test_the_control_is_mauve_of_the_halves_of_the_union(feature_model: FeatureModel) -> None:
    halves = shuffled_halves(feature_model.features([*TESTED, *REAL]), UNION_SEED)
    scores = Mauve(feature_model, SCALING, SEEDS, UNION_SEED).compute(predictions=TESTED, references=REAL)
    names = ("mauve_shuffled_union", "mauve_shuffled_union_std", "mauve_star_shuffled_union")
    assert tuple(scores[name] for name in names) == mauve_score(*halves, SCALING, SEEDS)
    assert scores["mauve_shuffled_union"] != scores["mauve"]


def test_a_shuffled_union_keeps_n_and_every_text() -> None:
    union = np.arange(40, dtype=np.float32).reshape(20, 2)
    first, second = shuffled_halves(union, 0)
    assert first.shape == second.shape == (10, 2)
    assert sorted(np.concatenate([first, second]).tolist()) == union.tolist()
    assert 0 < sum(row in union[:10].tolist() for row in first.tolist()) < 10  # texts of both sets in each half
    np.testing.assert_array_equal(first, shuffled_halves(union, 0)[0])
    assert not np.array_equal(first, shuffled_halves(union, 1)[0])


def test_combined_streamed_and_single_metrics_have_the_numbers_of_the_plain_functions(
    metrics: list[TextMetric], language_model: LanguageModel, feature_model: FeatureModel
) -> None:
    single = {name: value for metric in metrics for name, value in metric.compute(**inputs_of(metric)).items()}
    assert evaluate.combine(metrics).compute(predictions=TESTED, references=REAL) == single

    streamed = evaluate.combine(metrics)
    for first in range(0, 60, 25):
        streamed.add_batch(predictions=TESTED[first : first + 25], references=REAL[first : first + 25])
    assert streamed.compute() == single
    for prediction, reference in zip(TESTED, REAL, strict=True):
        streamed.add(prediction=prediction, reference=reference)
    assert streamed.compute() == single

    plain: dict[str, Any] = text_metrics(tokenise(TESTED), TrainingNgrams.of(tokenise(REAL)))
    plain |= {"perplexity": language_model.likelihoods(TESTED, 32).perplexity}
    shared = plain.keys() & single.keys()
    assert len(shared) == 7
    assert {name: single[name] for name in shared} == {name: plain[name] for name in shared}


def test_two_mauves_are_told_apart_by_the_names_that_combine_gives_them(
    language_model: LanguageModel, feature_model: FeatureModel
) -> None:
    both = {"sentence": Mauve(feature_model, SCALING, 1), "language_model": Mauve(language_model, 5, 1)}
    scores = evaluate.combine(both).compute(predictions=TESTED, references=REAL)
    for name, metric in both.items():
        assert scores[f"{name}_mauve"] == metric.compute(predictions=TESTED, references=REAL)["mauve"]


def test_each_metric_says_what_it_is(metrics: list[TextMetric]) -> None:
    assert [metric.name for metric in metrics] == ["perplexity", "mauve", "repetition", "memorization", "unique_words"]
    for metric in metrics:
        assert metric.description
        assert metric.citation.startswith("@")
        assert {name: kind.dtype for name, kind in metric.features.items()} == dict.fromkeys(inputs_of(metric), "string")
        assert all(f"    {name}: list of str" in metric.inputs_description for name in inputs_of(metric))
        scores = metric.compute(**inputs_of(metric))
        assert all(name in metric.inputs_description for name in scores)


@pytest.mark.parametrize("call", ["compute", "add_batch"])
@pytest.mark.parametrize(("predictions", "references"), [(TESTED, REAL[:59]), (TESTED[:59], REAL), (TESTED, None)])
def test_sets_of_unequal_size_are_refused_and_leave_nothing_behind(
    feature_model: FeatureModel, call: str, predictions: list[str], references: list[str] | None
) -> None:
    mauve = Mauve(feature_model, SCALING, 1)
    counts = f"{len(predictions)} predictions and {len(references or ())} references"
    with pytest.raises(InputError, match=f"MAUVE compares sets of one size, not {counts}"):
        getattr(mauve, call)(predictions=predictions, references=references)
    assert mauve.compute(predictions=TESTED, references=REAL)["mauve_settings"]["n"] == 60


def test_sets_too_small_for_mauve_are_refused(feature_model: FeatureModel) -> None:
    with pytest.raises(InputError, match="at least 20 predictions and as many references, not 19"):
        Mauve(feature_model, SCALING, 1).compute(predictions=TESTED[:19], references=REAL[:19])


def test_memorization_without_training_texts_is_refused() -> None:
    with pytest.raises(InputError, match="needs the training texts"):
        Memorization().compute(predictions=TESTED)


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (Repetition, {"repetition_2": 0, "repetition_3": 0, "repetition_4": 0, "diversity": 0}),
        (UniqueWords, {"unique_words": 0}),
        (Memorization, {"memorization": 0}),
    ],
)
def test_no_texts_have_a_value_as_in_the_plain_functions(make: Callable[[], TextMetric], expected: dict[str, float]) -> None:
    metric = make()
    references = {"references": TRAINING} if "references" in metric.features else {}
    assert metric.compute(predictions=[], **references) == expected


def test_neither_network_nor_cache_is_used_and_no_file_is_left(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    language_model: LanguageModel,
    feature_model: FeatureModel,
) -> None:
    def refuse(*_: object) -> NoReturn:
        raise OSError("there is no network")

    for name in ("socket.connect", "socket.bind", "getaddrinfo"):
        monkeypatch.setattr(f"socket.{name}", refuse)
    with pytest.raises(OSError, match="no network"):
        socket.create_connection(("127.0.0.1", 9))
    (tmp_path / "file").touch()
    # No one, not even root, can write below a file. HF_HOME itself, read when evaluate is imported, is test_score_files.py's.
    monkeypatch.setattr(evaluate.config, "HF_METRICS_CACHE", tmp_path / "file" / "metrics")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    built = [Perplexity(language_model), Mauve(feature_model, SCALING, 1), Repetition(), Memorization(), UniqueWords()]
    combined = evaluate.combine(built)
    combined.add_batch(predictions=TESTED, references=REAL)
    assert len(combined.compute()) == 3 + 7 + 4 + 1 + 1
    assert list(tmp_path.iterdir()) == [tmp_path / "file"]
