from pathlib import Path

import numpy as np
import pytest
import torch

from annealed_lm import text_features
from annealed_lm.errors import InputError
from annealed_lm.text_features import FeatureModel, model_folder

TEXTS = ["The pub is cheap.", "It is an inexpensive bar.", "", "The stars burn hydrogen into helium.", "The pub is cheap."]


@pytest.fixture(scope="module")
def model() -> FeatureModel:
    return FeatureModel.load(torch.device("cpu"))


@pytest.fixture(scope="module")
def features(model: FeatureModel) -> np.ndarray:
    return model.features(TEXTS)


def test_features_are_one_vector_of_norm_one_a_text(features: np.ndarray) -> None:
    assert features.shape == (len(TEXTS), 384)
    assert features.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(features, axis=1), 1, atol=1e-5)


def test_like_meanings_lie_nearer(features: np.ndarray) -> None:
    assert features[0] @ features[1] > 0.5 > features[0] @ features[3]


def test_a_text_that_comes_again_has_the_same_features(features: np.ndarray) -> None:
    np.testing.assert_array_equal(features[0], features[4])


def test_features_repeat_exactly(model: FeatureModel, features: np.ndarray) -> None:
    np.testing.assert_array_equal(model.features(TEXTS), features)


def test_neither_order_nor_company_changes_the_features_of_a_text(model: FeatureModel, features: np.ndarray) -> None:
    backwards = model.features([*TEXTS[::-1], "a much longer text " * 20])
    np.testing.assert_allclose(backwards[: len(TEXTS)], features[::-1], atol=1e-5)


def test_sets_that_share_texts_are_kept_apart(model: FeatureModel, features: np.ndarray) -> None:
    sets = model.features_of_sets({"all": TEXTS, "none": [], "last": TEXTS[3:]})
    assert {name: len(rows) for name, rows in sets.items()} == {"all": 5, "none": 0, "last": 2}
    np.testing.assert_allclose(sets["last"], features[3:], atol=1e-5)


def test_other_weights_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_features, "WEIGHTS_SHA256", "0" * 64)
    with pytest.raises(InputError, match=r"model\.safetensors has sha256 53aa51172d"):
        FeatureModel.load(torch.device("cpu"))


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_features, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(InputError, match="no-such-package-of-weights is not installed"):
        model_folder()


def test_the_folder_is_the_packages(model: FeatureModel) -> None:
    assert (Path(model_folder()) / "tokenizer.json").exists()
