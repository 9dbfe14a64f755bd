import re
from pathlib import Path

import numpy as np
import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.evaluation.ngrams import TrainingNgrams, tokenise
from annealed_lm.evaluation.references import EvaluationSettings, References, choose_references

KINDS = {"sentence": 8, "language_model": 5}
"""Scaling factor of MAUVE by kind of features."""


def make_references(held_out: str, train_labels: list[str | None]) -> References:
    draw = np.random.default_rng(0)
    settings = EvaluationSettings(
        dataset_name="restaurants",
        fingerprint="0123456789abcdef",
        reference_seed=7,
        held_out=held_out,
        num_samples=3,
        label_texts=1,
        mauve={kind: {"name": f"a {kind}", "sha256": "c" * 64, "dimension": 4, "scaling": KINDS[kind]} for kind in KINDS},
        mauve_seeds=2,
        mauve_buckets=1,
        perplexity={"name": "judge", "sha256": "c" * 64},
        bootstrap_samples=100,
    )
    features = {kind: {name: draw.random((3, 4), dtype=np.float32) for name in ("train", held_out)} for kind in KINDS}
    return References(features, train_labels, TrainingNgrams.of(tokenise(["a b c d e", "f g h i"])), settings)


def test_reference_sets_are_disjoint_and_of_the_size_asked_for() -> None:
    choice = choose_references(100, 50, "valid", 30, seed=0)
    assert [len(rows) for rows in choice] == [30, 30, 30]
    assert [len(set(rows)) for rows in choice] == [30, 30, 30]
    assert not set(choice.train) & set(choice.second_train)
    assert set(choice.train) | set(choice.second_train) <= set(range(100))
    assert set(choice.held_out) <= set(range(50))
    assert choice.held_out != sorted(choice.held_out)  # the first texts of a file may be alike


def test_the_seed_alone_decides_which_texts_are_drawn() -> None:
    choice = choose_references(100, 50, "valid", 30, seed=0)
    assert choice == choose_references(100, 50, "test", 30, seed=0)
    assert all(rows != others for rows, others in zip(choice, choose_references(100, 50, "valid", 30, seed=1), strict=True))


@pytest.mark.parametrize("held_out", ["valid", "test"])
@pytest.mark.parametrize(("train_texts", "held_out_texts"), [(59, 30), (60, 29)])
def test_too_few_texts_to_compare_with_are_refused(train_texts: int, held_out_texts: int, held_out: str) -> None:
    assert choose_references(60, 30, held_out, 30, seed=0)
    expected = (
        f"sample_texts.num_samples = 30 needs 30 texts of the split {held_out} and 60 training texts to compare with; "
        f"the corpus has {held_out_texts} and {train_texts}"
    )
    with pytest.raises(InputError, match=f"^{re.escape(expected)}$"):
        choose_references(train_texts, held_out_texts, held_out, 30, seed=0)


@pytest.mark.parametrize(("held_out", "labels"), [("valid", ["cheap", "moderate", "cheap"]), ("test", [None, None, None])])
def test_references_survive_the_disk(held_out: str, labels: list[str | None], tmp_path: Path) -> None:
    references = make_references(held_out, labels)
    references.save(tmp_path)
    loaded = References.load(tmp_path)
    assert loaded.settings == references.settings
    assert loaded.sets == references.sets == ("train", held_out)
    assert loaded.train_labels == labels
    assert set(loaded.features) == set(KINDS)
    for kind, sets in references.features.items():
        assert set(loaded.features[kind]) == set(sets)
        for name, features in sets.items():
            np.testing.assert_array_equal(loaded.features[kind][name], features)
            assert loaded.features[kind][name].dtype == np.float32
    for table in ("trigrams", "fourgrams", "texts"):
        np.testing.assert_array_equal(getattr(loaded.training, table), getattr(references.training, table))
        assert len(getattr(loaded.training, table))


def test_a_folder_without_references_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no references .* the stage prepare_references writes them"):
        References.load(tmp_path)
