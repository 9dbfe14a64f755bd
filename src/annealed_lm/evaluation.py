"""The metrics of a set of generated texts, and the references that make its numbers readable.

Every set is scored against two sets of real texts of its own size: A, drawn from the training texts, and validation texts. The
reference rows score real texts in the same way: `train_train`, a second training set B, disjoint from A, and `train_valid`, the
validation texts. B is in training, so its memorization, verbatim_train and (very short texts aside) seen_trigrams are 1.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from annealed_lm.errors import InputError
from annealed_lm.files import read_json, write_json
from annealed_lm.language_model import LanguageModel
from annealed_lm.mauve_metric import Features, MauveScore, mauve_score
from annealed_lm.ngrams import TrainingNgrams, tokenise
from annealed_lm.restaurants import is_grammatical
from annealed_lm.text_metrics import text_metrics

Row = dict[str, float]
Rows = Mapping[str, Mapping[str, float]]

RECOGNISERS: dict[str, Callable[[str], bool]] = {"restaurants": is_grammatical}
"""By corpus: whether a text belongs to its language. Only an embedded grammar can tell."""
REFERENCE_SETS = ("train", "valid")
SCORING_BATCH_SIZE = 32
REFERENCE_ROWS = "rows.json"
TRAIN_FEATURES, VALID_FEATURES, NGRAMS, SETTINGS = "train_features.npy", "valid_features.npy", "ngrams", "settings.json"


class ReferenceChoice(NamedTuple):
    """Row numbers [n] of the reference sets: A and B of the training texts, disjoint, and of the validation texts."""

    train: list[int]
    second_train: list[int]
    valid: list[int]


def choose_references(train_texts: int, valid_texts: int, num_samples: int, seed: int) -> ReferenceChoice:
    """Draw reference sets of `num_samples` texts each, without replacement.

    Raises:
        InputError: there are too few texts.
    """
    if train_texts < 2 * num_samples or valid_texts < num_samples:
        raise InputError(
            f"sample_texts.num_samples = {num_samples} needs {num_samples} validation texts and {2 * num_samples} training texts "
            f"to compare with; the corpus has {valid_texts} and {train_texts}"
        )
    train = np.random.default_rng([seed, 0]).permutation(train_texts).tolist()
    valid = np.random.default_rng([seed, 1]).permutation(valid_texts).tolist()
    return ReferenceChoice(train[:num_samples], train[num_samples : 2 * num_samples], valid[:num_samples])


@dataclass(frozen=True)
class References:
    """What texts are compared with.

    Attributes:
        train_features: of the training set A, [n, 384].
        valid_features: of the validation set, [n, 384].
        training: n-grams of all training texts.
        dataset_name: of the corpus, which decides whether there is a recogniser.
        mauve_scaling: the scaling factor of MAUVE.
        mauve_seeds: clusterings over which each MAUVE is averaged.
    """

    train_features: Features
    valid_features: Features
    training: TrainingNgrams
    dataset_name: str
    mauve_scaling: float
    mauve_seeds: int

    def save(self, folder: Path) -> None:
        """Write to `folder`, which exists. The settings are kept with the data, so that all sets are scored alike."""
        np.save(folder / TRAIN_FEATURES, self.train_features)
        np.save(folder / VALID_FEATURES, self.valid_features)
        self.training.save(folder / NGRAMS)
        settings = {"dataset_name": self.dataset_name, "mauve_scaling": self.mauve_scaling, "mauve_seeds": self.mauve_seeds}
        write_json(folder / SETTINGS, settings)

    @classmethod
    def load(cls, folder: Path) -> "References":
        """Read what `save` wrote.

        Raises:
            InputError: `folder` holds no references.
        """
        if not (folder / SETTINGS).exists():
            raise InputError(f"{folder} holds no references ({SETTINGS} is missing); the stage prepare_references writes them")
        return cls(
            train_features=np.load(folder / TRAIN_FEATURES),
            valid_features=np.load(folder / VALID_FEATURES),
            training=TrainingNgrams.load(folder / NGRAMS),
            **read_json(folder / SETTINGS),
        )

    def mauve(self, features: Features, name: str) -> Row:
        """MAUVE(p = the texts of `features`, q = the reference set `name`) and its deviation."""
        reference = {"train": self.train_features, "valid": self.valid_features}[name]
        score: MauveScore = mauve_score(features, reference, self.mauve_scaling, self.mauve_seeds)
        return {f"mauve_{name}": score.mean, f"mauve_{name}_std": score.std}


def score_texts(
    texts: Sequence[str],
    features: Features,
    references: References,
    language_model: LanguageModel,
    compared_with: Sequence[str] = REFERENCE_SETS,
) -> Row:
    """Every metric of `texts`, n of them, as many as a reference set holds.

    Args:
        features: of the texts, [n, 384].
        compared_with: reference sets for MAUVE; a set is not compared with itself.

    Raises:
        InputError: there are more or fewer texts than a reference set holds.
    """
    expected = len(references.train_features)
    if len(texts) != expected:
        raise InputError(
            f"there are {len(texts)} texts to score, but each reference set holds {expected}; run the stage prepare_references"
        )
    recogniser = RECOGNISERS.get(references.dataset_name)
    likelihoods = language_model.likelihoods(texts, SCORING_BATCH_SIZE)
    row: Row = {} if recogniser is None else {"grammatical": sum(map(recogniser, texts)) / len(texts)}
    row |= {"perplexity": likelihoods.perplexity, "perplexity_corpus": likelihoods.perplexity_corpus}
    for name in compared_with:
        row |= references.mauve(features, name)
    return row | text_metrics(tokenise(texts), references.training)


def score_references(
    texts: Mapping[str, Sequence[str]], features: Mapping[str, Features], references: References, language_model: LanguageModel
) -> dict[str, Row]:
    """`score_texts` of every set by name; `train_valid`, the validation texts, are not compared with themselves."""
    compared_with = {name: REFERENCE_SETS[:1] if name == "train_valid" else REFERENCE_SETS for name in texts}
    return {name: score_texts(texts[name], features[name], references, language_model, compared_with[name]) for name in texts}


def format_rows(rows: Rows) -> str:
    """Sets of texts as columns, metrics as lines, a dash where a set has no such metric."""
    metrics = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    first, width = max(map(len, metrics)), max(8, *map(len, rows)) + 2
    lines = [" " * first + "".join(f"{name:>{width}}" for name in rows)]
    for metric in metrics:
        cells = (f"{row[metric]:.4g}" if metric in row else "-" for row in rows.values())
        lines.append(f"{metric:<{first}}" + "".join(f"{cell:>{width}}" for cell in cells))
    return "\n".join(lines)
