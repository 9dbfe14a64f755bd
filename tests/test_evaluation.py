from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from annealed_lm.errors import InputError
from annealed_lm.evaluation import References, choose_references, format_rows, score_references, score_texts
from annealed_lm.language_model import LanguageModel
from annealed_lm.language_model_training import small_gpt2
from annealed_lm.mauve_metric import mauve_score
from annealed_lm.ngrams import TrainingNgrams, tokenise
from annealed_lm.restaurants import make_corpus
from annealed_lm.tokenizer import train_tokenizer

TEXTS = 40
TRAIN, VALID = ([restaurant.text for restaurant in split] for split in make_corpus([2 * TEXTS, TEXTS], seed=0))
MODEL_METRICS = {"perplexity", "perplexity_corpus"}
MAUVE_TRAIN, MAUVE_VALID = {"mauve_train", "mauve_train_std"}, {"mauve_valid", "mauve_valid_std"}
TEXT_METRICS = {
    "repetition_2",
    "repetition_3",
    "repetition_4",
    "diversity",
    "memorization",
    "unique_words",
    "distinct",
    "verbatim_train",
    "mean_words",
    "seen_trigrams",
    "doubled_word",
    "empty",
}


def draw_features(seed: int, shift: float = 0.0) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(TEXTS, 8)) + 3 * np.eye(8)[0]
    features[:, 1] += shift
    return features.astype(np.float32)


@pytest.fixture(scope="module")
def language_model() -> LanguageModel:
    return small_gpt2(train_tokenizer(TRAIN, "word", 512, 32), 16, 1, 2, 32, seed=0)


@pytest.fixture(scope="module")
def references() -> References:
    return References(
        train_features=draw_features(0),
        valid_features=draw_features(1, shift=1),
        training=TrainingNgrams.of(tokenise(TRAIN)),
        dataset_name="restaurants",
        mauve_scaling=8.0,
        mauve_seeds=2,
    )


def test_reference_sets_are_disjoint_and_drawn_by_the_seed() -> None:
    choice = choose_references(100, 50, 30, seed=0)
    assert [len(set(rows)) for rows in choice] == [30, 30, 30]
    assert not set(choice.train) & set(choice.second_train)
    assert set(choice.train) | set(choice.second_train) <= set(range(100))
    assert set(choice.valid) <= set(range(50))
    assert choice == choose_references(100, 50, 30, seed=0)
    assert all(rows != others for rows, others in zip(choice, choose_references(100, 50, 30, seed=1), strict=True))
    assert choice.valid != sorted(choice.valid)  # the first texts of a file may be alike


@pytest.mark.parametrize(("train_texts", "valid_texts"), [(59, 30), (60, 29)])
def test_too_few_texts_to_compare_with_are_refused(train_texts: int, valid_texts: int) -> None:
    assert choose_references(60, 30, 30, seed=0)
    expected = f"needs 30 validation texts and 60 training texts to compare with; the corpus has {valid_texts} and {train_texts}"
    with pytest.raises(InputError, match=expected):
        choose_references(train_texts, valid_texts, 30, seed=0)


def test_a_row_holds_every_metric(references: References, language_model: LanguageModel) -> None:
    texts = [*VALID[:-2], "", "Zizzi Zizzi is cheap."]
    row = score_texts(texts, draw_features(2), references, language_model)
    assert set(row) == {"grammatical"} | MODEL_METRICS | MAUVE_TRAIN | MAUVE_VALID | TEXT_METRICS
    assert row["grammatical"] == (TEXTS - 2) / TEXTS
    assert row["empty"] == 1 / TEXTS
    assert row["doubled_word"] == 1 / TEXTS
    assert row["mauve_train"] == mauve_score(draw_features(2), references.train_features, 8, 2).mean
    assert row["mauve_valid"] == mauve_score(draw_features(2), references.valid_features, 8, 2).mean
    assert row["mauve_train"] != row["mauve_valid"]
    assert row["perplexity"] == pytest.approx(language_model.likelihoods(texts, 8).perplexity)


def test_only_a_corpus_with_a_recogniser_has_a_grammatical_share(references: References, language_model: LanguageModel) -> None:
    row = score_texts(VALID, draw_features(2), replace(references, dataset_name="e2e"), language_model)
    assert set(row) == MODEL_METRICS | MAUVE_TRAIN | MAUVE_VALID | TEXT_METRICS


def test_real_texts_are_grammatical_and_training_texts_are_memorized(
    references: References, language_model: LanguageModel
) -> None:
    features = {
        "train_train": draw_features(2),
        "train_valid": references.valid_features,
        "control/greedy": draw_features(3, shift=20),
    }
    texts = {"train_train": TRAIN[TEXTS:], "train_valid": VALID, "control/greedy": [""] * TEXTS}
    rows = score_references(texts, features, references, language_model)
    assert [row["grammatical"] for row in rows.values()] == [1, 1, 0]
    assert [rows["train_train"][metric] for metric in ("memorization", "verbatim_train", "seen_trigrams")] == [1, 1, 1]
    assert rows["train_valid"]["verbatim_train"] == 0
    assert rows["train_train"]["mauve_train"] > rows["control/greedy"]["mauve_train"]
    assert set(rows["train_train"]) >= MAUVE_VALID
    assert set(rows["train_train"]) - set(rows["train_valid"]) == MAUVE_VALID  # not with itself


def test_sets_of_another_size_are_refused(references: References, language_model: LanguageModel) -> None:
    with pytest.raises(InputError, match=f"there are {TEXTS - 1} texts to score, but each reference set holds {TEXTS}"):
        score_texts(VALID[:-1], draw_features(2)[:-1], references, language_model)


def test_references_survive_the_disk(references: References, language_model: LanguageModel, tmp_path: Path) -> None:
    references.save(tmp_path)
    loaded = References.load(tmp_path)
    expected = score_texts(VALID, draw_features(2), references, language_model)
    assert score_texts(VALID, draw_features(2), loaded, language_model) == expected
    assert (loaded.dataset_name, loaded.mauve_scaling, loaded.mauve_seeds) == ("restaurants", 8.0, 2)


def test_a_folder_without_references_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no references"):
        References.load(tmp_path)


def test_the_table_shows_every_metric_and_a_dash_for_none() -> None:
    table = format_rows({"generated": {"mauve_train": 0.81234, "distinct": 1.0}, "ceiling/nucleus": {"distinct": 0.5}})
    header, mauve, distinct = (line.split() for line in table.splitlines())
    assert header == ["generated", "ceiling/nucleus"]
    assert mauve == ["mauve_train", "0.8123", "-"]
    assert distinct == ["distinct", "1", "0.5"]
    assert len({len(line) for line in table.splitlines()}) == 1
