"""Small sets of texts to score: references, features, and a stand-in for the language model that judges."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from annealed_lm.common.model_description import ModelDescription
from annealed_lm.corpora.restaurants import make_corpus
from annealed_lm.evaluation.ngrams import TrainingNgrams, tokenise
from annealed_lm.evaluation.references import EvaluationSettings, References
from annealed_lm.evaluation.scores import FeaturesByKind, SetScores, score_by_label, score_texts
from annealed_lm.generation.language_model import LanguageModel, TextLikelihoods

TEXTS = 40
DIMENSION = 8
SCALINGS = {"sentence": 8, "language_model": 5}
TRAIN, VALID, OTHERS = ([restaurant.text for restaurant in split] for split in make_corpus([2 * TEXTS, TEXTS, TEXTS], seed=0))
CHEAP, MODERATE = "Sesame is cheap, but it is not open all night.", "Sesame is reasonable, but it is not open all night."
LIKELIHOOD_METRICS = {"perplexity", "perplexity_corpus"}
MAUVE_TRAIN = {"mauve_train", "mauve_lm_train"}
MAUVE_METRICS = MAUVE_TRAIN | {"mauve_valid", "mauve_lm_valid"}
RESAMPLED = LIKELIHOOD_METRICS | {"diversity", "memorization"}
WITH_INTERVAL = {"grammatical", "has_label"} | RESAMPLED
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
    "token_entropy",
    "seen_trigrams",
    "doubled_word",
    "empty",
}


class Judge:
    """Stands for a language model: a word of k letters has probability 1 / k."""

    description = ModelDescription("judge", "a" * 64, DIMENSION)

    def likelihoods(self, texts: Sequence[str], batch_size: int) -> TextLikelihoods:
        words = [[len(word) for word in text.split()] for text in texts]
        nll = np.array([np.log(row).sum() if row else 0.0 for row in words])
        return TextLikelihoods(nll, np.array([len(row) for row in words], dtype=np.int64))


JUDGE = cast(LanguageModel, Judge())


def draw_features(seed: int, shift: float = 0.0, count: int = TEXTS) -> FeaturesByKind:
    """Features of both kinds, which differ."""
    result = {}
    for number, kind in enumerate(SCALINGS):
        features = np.random.default_rng([seed, number]).normal(size=(count, DIMENSION)) + 3 * np.eye(DIMENSION)[0]
        features[:, 1] += shift
        result[kind] = features.astype(np.float32)
    return result


def make_references(num_samples: int = TEXTS, train_labels: Sequence[str | None] = (), label_texts: int = 0) -> References:
    sets = {"train": draw_features(0, count=num_samples), "valid": draw_features(1, 1, num_samples)}
    return References(
        features={kind: {name: features[kind] for name, features in sets.items()} for kind in SCALINGS},
        train_labels=list(train_labels) or [None] * num_samples,
        training=TrainingNgrams.of(tokenise(TRAIN)),
        settings=EvaluationSettings(
            dataset_name="restaurants",
            fingerprint="0123456789abcdef",
            reference_seed=0,
            held_out="valid",
            num_samples=num_samples,
            label_texts=label_texts,
            mauve={
                kind: {"name": kind, "sha256": "b" * 64, "dimension": DIMENSION, "scaling": SCALINGS[kind]} for kind in SCALINGS
            },
            mauve_seeds=2,
            mauve_buckets=num_samples // 10,
            perplexity={"name": "judge", "sha256": "a" * 64},
            bootstrap_samples=200,
        ),
    )


REFERENCES = make_references()


def score_set(texts: list[str], features: FeaturesByKind, **options: Any) -> SetScores:
    """Scores of as many texts as `REFERENCES` are for."""
    return score_texts(texts, features, REFERENCES, JUDGE, **options)


def score_few(texts: list[str], labels: list[str | None] | None = None) -> SetScores:
    """Scores of any number of texts, without MAUVE."""
    return score_texts(texts, {}, make_references(len(texts)), JUDGE, labels=labels)


def score_labels(texts: list[str], labels: list[str], features: FeaturesByKind, references: References) -> dict[str, SetScores]:
    return score_by_label(texts, labels, features, references, JUDGE.likelihoods(texts, 32))
