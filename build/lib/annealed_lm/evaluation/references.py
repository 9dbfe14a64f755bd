"""What generated texts are compared with, computed once: features of real texts, n-grams of the training texts, settings.

Every set of texts is scored against two sets of real texts of its own size: A, drawn from the training texts, and held-out texts
(validation; test in a test report). A second training set B, disjoint from A, gives the real-versus-real scores.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from annealed_lm.common.errors import InputError
from annealed_lm.common.feature_sets import Features
from annealed_lm.common.files import read_array, read_json, write_json
from annealed_lm.evaluation.ngrams import TrainingNgrams

NGRAMS, SETTINGS, TRAIN_LABELS = "ngrams", "settings.json", "train_labels.json"
REFERENCE_ROWS, RECONSTRUCTION = "rows.json", "reconstruction.json"


class ReferenceChoice(NamedTuple):
    """Row numbers [n] of the reference sets: A and B of the training texts, disjoint, and of the held-out texts."""

    train: list[int]
    second_train: list[int]
    held_out: list[int]


def choose_references(train_texts: int, held_out_texts: int, held_out: str, num_samples: int, seed: int) -> ReferenceChoice:
    """Draw reference sets of `num_samples` texts each, without replacement.

    Raises:
        InputError: there are too few texts.
    """
    if train_texts < 2 * num_samples or held_out_texts < num_samples:
        raise InputError(
            f"sample_texts.num_samples = {num_samples} needs {num_samples} texts of the split {held_out} and {2 * num_samples} "
            f"training texts to compare with; the corpus has {held_out_texts} and {train_texts}"
        )
    train = np.random.default_rng([seed, 0]).permutation(train_texts).tolist()
    rows = np.random.default_rng([seed, 1]).permutation(held_out_texts).tolist()
    return ReferenceChoice(train[:num_samples], train[num_samples : 2 * num_samples], rows[:num_samples])


@dataclass(frozen=True)
class EvaluationSettings:
    """All that a score depends on beside the texts: scores are comparable only where this is equal.

    Attributes:
        dataset_name: of the corpus, which decides whether there is a recogniser.
        fingerprint: of the prepared texts.
        reference_seed: of the choice of reference texts.
        held_out: the split that stands for unseen texts, "valid" or "test".
        num_samples: texts of every set.
        label_texts: texts a side of MAUVE by label, the same for every label and set; 0 without labels.
        mauve: by kind of features ("sentence", "language_model"): name of the model, sha256 of its weights, dimension, scaling.
        mauve_seeds: clusterings over which each MAUVE is averaged.
        mauve_buckets: clusters of each.
        perplexity: the language model that judges: name, sha256.
        bootstrap_samples: resamplings behind each confidence interval.
    """

    dataset_name: str
    fingerprint: str
    reference_seed: int
    held_out: str
    num_samples: int
    label_texts: int
    mauve: Mapping[str, Mapping[str, Any]]
    mauve_seeds: int
    mauve_buckets: int
    perplexity: Mapping[str, Any]
    bootstrap_samples: int


@dataclass(frozen=True)
class References:
    """What texts are compared with.

    Attributes:
        features: by kind, then by set ("train": A, and the held-out one), [n, d] each.
        train_labels: of the texts of A, None each where the corpus has no labels.
        training: n-grams of all training texts.
        settings: of every score against these references.
    """

    features: Mapping[str, Mapping[str, Features]]
    train_labels: list[str | None]
    training: TrainingNgrams
    settings: EvaluationSettings

    @property
    def sets(self) -> tuple[str, str]:
        """The names of the two sets of real texts."""
        return "train", self.settings.held_out

    def save(self, folder: Path) -> None:
        """Write to `folder`, which exists."""
        for kind, sets in self.features.items():
            for name, features in sets.items():
                np.save(folder / f"{kind}_{name}.npy", features)
        self.training.save(folder / NGRAMS)
        write_json(folder / TRAIN_LABELS, {"labels": self.train_labels})
        write_json(folder / SETTINGS, asdict(self.settings))

    @classmethod
    def load(cls, folder: Path) -> "References":
        """Read what `save` wrote.

        Raises:
            InputError: `folder` holds no references.
        """
        if not (folder / SETTINGS).exists():
            raise InputError(f"{folder} holds no references ({SETTINGS} is missing); the stage prepare_references writes them")
        settings = EvaluationSettings(**read_json(folder / SETTINGS))
        names = ("train", settings.held_out)
        return cls(
            features={kind: {name: read_array(folder / f"{kind}_{name}.npy") for name in names} for kind in settings.mauve},
            train_labels=read_json(folder / TRAIN_LABELS)["labels"],
            training=TrainingNgrams.load(folder / NGRAMS),
            settings=settings,
        )
