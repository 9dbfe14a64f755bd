"""Expected values are counted by hand on corpora of two or three sentences."""

import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annealed_lm.evaluation import text_metrics
from annealed_lm.evaluation.ngrams import TrainingNgrams, english_tokenizer, text_hashes, tokenise
from annealed_lm.evaluation.text_metrics import (
    distinct,
    doubled_word,
    empty,
    mean_words,
    memorization,
    repetition,
    seen_trigrams,
    token_entropy,
    unique_words,
    verbatim_train,
)

OF_TEXTS_ALONE = (repetition, distinct, doubled_word, empty, mean_words, token_entropy, unique_words, text_metrics.repetitions)
TRAINING = ("The cat sat on the mat .", "A dog ran .")
TWO_CATS = ("the cat sat on the mat", "the cat ran")  # 9 words, 6 of them different; 7 bigrams, 6 different


@pytest.fixture(scope="module")
def training() -> TrainingNgrams:
    return TrainingNgrams.of(tokenise(TRAINING))


def random_texts(seed: int) -> list[str]:
    """Up to five texts of few letters, some empty, so that n-grams repeat within and across them."""
    source = random.Random(seed)
    return ["".join(source.choices("ab .,'\n", k=source.randrange(13))) for _ in range(source.randrange(6))]


def words_of(text: str) -> list[str]:
    return [token.text for token in english_tokenizer()(text) if not token.is_space]


def ngram_lists(texts: tuple[str, ...], n: int) -> list[tuple[str, ...]]:
    """The definition, word for word."""
    lists = [words_of(text) for text in texts]
    return [tuple(words[i : i + n]) for words in lists for i in range(len(words) - n + 1)]


def test_words_are_those_of_spacys_rules() -> None:
    texts = tokenise(["It can't be  5.50,\n ok!"])
    assert words_of(texts.texts[0]) == ["It", "ca", "n't", "be", "5.50", ",", "ok", "!"]
    assert texts.word_counts.tolist() == [8]


def test_repetition_is_one_minus_unique_over_total_of_the_whole_set() -> None:
    texts = tokenise(TWO_CATS)
    assert repetition(texts, 2) == pytest.approx(1 - 6 / 7)
    assert repetition(texts, 3) == 0  # 5 trigrams, all different
    assert repetition(tokenise(["a b c d", "a b c d"]), 4) == 0.5


def test_diversity_is_the_product_over_n(training: TrainingNgrams) -> None:
    row = text_metrics.text_metrics(tokenise(["a b c d", "a b c e"]), training)
    # bigrams ab bc cd ab bc ce: 4 of 6; trigrams abc bcd abc bce: 3 of 4; 4-grams: 2 of 2
    assert (row["repetition_2"], row["repetition_3"], row["repetition_4"]) == pytest.approx((1 / 3, 1 / 4, 0))
    assert row["diversity"] == pytest.approx(2 / 3 * 3 / 4)
    assert text_metrics.repetitions(tokenise(["a b c d", "a b c e"])).items() <= row.items()


@pytest.mark.parametrize("texts", [[], [""], ["a"], ["a", "b", "c"], ["a b", "c d"], ["a b c", "d e f", ""], ["a", "a", "a b c"]])
def test_texts_too_short_for_ngrams_are_not_the_most_diverse(texts: list[str]) -> None:
    assert text_metrics.repetitions(texts)["diversity"] == 0
    assert text_metrics.repetitions([*texts, "a b c d"])["diversity"] > 0


def test_memorization_counts_occurrences_and_not_kinds(training: TrainingNgrams) -> None:
    # 4-grams: "The cat sat on" (seen) twice, "cat sat on me" (new) once
    assert memorization(tokenise(["The cat sat on", "The cat sat on me"]), training) == pytest.approx(2 / 3)


def test_case_counts_in_words_and_ngrams(training: TrainingNgrams) -> None:
    assert memorization(tokenise(["the cat sat on"]), training) == 0
    assert unique_words(tokenise(["The the", "cat"])) == 3


def test_unique_words_mean_words_and_distinct() -> None:
    texts = tokenise([*TWO_CATS, TWO_CATS[0]])
    assert unique_words(texts) == 6
    assert mean_words(texts) == (6 + 3 + 6) / 3
    assert distinct(texts) == 2 / 3


def test_verbatim_texts_agree_letter_for_letter(training: TrainingNgrams) -> None:
    assert verbatim_train(tokenise(["A dog ran .", "A dog ran.", "a dog ran .", "A dog"]), training) == 0.25


def test_seen_texts_have_only_trigrams_of_training(training: TrainingNgrams) -> None:
    texts = ["The cat sat on the mat", "The cat sat down", "A dog ran", "on the mat ."]
    assert [seen_trigrams(tokenise([text]), training) for text in texts] == [1, 0, 1, 1]
    assert seen_trigrams(tokenise(texts), training) == 0.75


@pytest.mark.parametrize("text", ["", " \n ", "The", "The cat"])
def test_texts_without_trigrams_do_not_count_as_seen(text: str, training: TrainingNgrams) -> None:
    assert seen_trigrams(tokenise([text, "A dog ran ."]), training) == 0.5


def test_a_trigram_does_not_cross_from_one_text_to_the_next(training: TrainingNgrams) -> None:
    texts = tokenise(["The cat", "sat on the mat"])
    assert len(texts.ngrams(3)[0]) == 2
    assert seen_trigrams(texts, training) == 0.5


@pytest.mark.parametrize(
    ("text", "doubled"), [("the the cat", 1), ("The the cat", 1), ("the cat the", 0), ("well,, yes", 1), ("the", 0), ("", 0)]
)
def test_a_doubled_word_stands_beside_itself_case_aside(text: str, doubled: int) -> None:
    assert doubled_word(tokenise([text])) == doubled


def test_a_word_that_ends_one_text_and_starts_the_next_is_not_doubled() -> None:
    assert doubled_word(tokenise(["the cat", "cat sat"])) == 0


def test_texts_of_white_space_are_empty() -> None:
    assert empty(tokenise(["", " \n", "a", "."])) == 0.5


@pytest.mark.parametrize("texts", [[], [""], ["", ""], ["a"], ["a b"]])
def test_short_and_empty_sets_have_values(texts: list[str], training: TrainingNgrams) -> None:
    row = text_metrics.text_metrics(tokenise(texts), training)
    assert (row["repetition_4"], row["diversity"], row["memorization"], row["seen_trigrams"]) == (0, 0, 0, 0)
    assert row["distinct"] == (len(set(texts)) / len(texts) if texts else 0)


def test_an_empty_training_set_has_seen_nothing() -> None:
    row = text_metrics.text_metrics(tokenise(["The cat sat on the mat ."]), TrainingNgrams.of(tokenise([])))
    assert (row["memorization"], row["seen_trigrams"], row["verbatim_train"]) == (0, 0, 0)


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_hashed_ngrams_are_as_many_and_as_different_as_the_words_say(n: int) -> None:
    total = 0
    for seed in range(100):
        texts = random_texts(seed)
        hashes, text_of_ngram = tokenise(texts).ngrams(n)
        expected = ngram_lists(tuple(texts), n)
        assert len(hashes) == len(expected)
        assert len(np.unique(hashes)) == len(set(expected))
        assert np.bincount(text_of_ngram, minlength=len(texts)).tolist() == [len(ngram_lists((text,), n)) for text in texts]
        total += len(expected)
    assert total > 100


def test_what_was_trained_on_is_memorized_seen_and_verbatim() -> None:
    for texts in filter(None, map(random_texts, range(100))):
        tokenised = tokenise(texts)
        training = TrainingNgrams.of(tokenised)
        assert verbatim_train(tokenised, training) == 1
        assert seen_trigrams(tokenised, training) == pytest.approx((tokenised.word_counts >= 3).mean())
        assert memorization(tokenised, training) == (tokenised.word_counts >= 4).any()


def test_the_order_of_words_tells_ngrams_apart() -> None:
    assert len(np.unique(tokenise(["a b c", "c b a", "b a c", "a a b", "a b a"]).ngrams(3)[0])) == 5


def test_training_tables_survive_the_disk(training: TrainingNgrams, tmp_path: Path) -> None:
    training.save(tmp_path / "ngrams")
    loaded = TrainingNgrams.load(tmp_path / "ngrams")
    for saved, read in zip(vars(training).values(), vars(loaded).values(), strict=True):
        assert saved.dtype == np.uint64
        assert len(saved) > 0
        np.testing.assert_array_equal(saved, read)
        assert bool((np.diff(read.astype(object)) > 0).all())  # sorted, each once


def test_hashes_are_the_same_in_every_process() -> None:
    program = (
        "from annealed_lm.evaluation.ngrams import *; t = tokenise(['The cat sat on the mat .']); "
        "print([*t.ngrams(3)[0].tolist(), *text_hashes(t.texts).tolist()])"
    )
    environment = {"PYTHONHASHSEED": "1", "PYTHONPATH": str(Path(text_metrics.__file__).parents[2])}
    elsewhere = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, check=True, text=True
    ).stdout
    here = tokenise(["The cat sat on the mat ."])
    assert elsewhere == f"{[*here.ngrams(3)[0].tolist(), *text_hashes(here.texts).tolist()]}\n"


@pytest.mark.parametrize("metric", OF_TEXTS_ALONE)
def test_lists_of_strings_do_as_well(metric: Callable[..., object]) -> None:
    options = {"n": 2} if metric is repetition else {}
    assert metric(list(TWO_CATS), **options) == metric(tokenise(TWO_CATS), **options)


@pytest.mark.parametrize("metric", [memorization, verbatim_train, seen_trigrams, text_metrics.text_metrics])
def test_lists_of_strings_do_as_well_for_training_texts(metric: Callable[..., object], training: TrainingNgrams) -> None:
    assert metric(list(TRAINING), list(TRAINING)) == metric(tokenise(TRAINING), training)
    assert metric(TWO_CATS, TRAINING) == metric(tokenise(TWO_CATS), tokenise(TRAINING))


def test_entropy_is_that_of_the_words_of_a_text() -> None:
    assert token_entropy(["a b c d", "a a a a"]) == pytest.approx((2 + 0) / 2)
    twice, once = 2 / 6, 1 / 6
    expected = -2 * (twice * np.log2(twice) + once * np.log2(once))
    assert token_entropy(["the cat saw the cat sit"]) == pytest.approx(expected)
    assert token_entropy(["", "a b"]) == pytest.approx(1 / 2)
    assert token_entropy([]) == 0
