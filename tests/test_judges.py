from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from annealed_lm.files import file_sha256, write_json
from annealed_lm.judges import load_judges
from annealed_lm.language_model import BASELINE, JUDGE, LanguageModel
from annealed_lm.language_model_training import small_gpt2
from annealed_lm.text_features import INSTALLED_NAME, WEIGHTS_SHA256, FeatureModel
from tiny import CPU, MAX_TOKENS, TEXTS, make_tokenizer

KINDS = ["sentence", "language_model"]
TRAINED_WIDTH, FETCHED_WIDTH, SENTENCE_WIDTH = 16, 8, 4
Bring = Callable[..., Path]


def save_language_model(folder: Path, width: int, seed: int = 0) -> None:
    """An untrained GPT-2."""
    small_gpt2(make_tokenizer(), width, 1, 2, MAX_TOKENS, seed).save(folder, {})


def save_feature_model(folder: Path) -> None:
    """A sentence-transformers model: the mean of random numbers a word."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import StaticEmbedding

    tokenizer = make_tokenizer()
    weights = np.random.default_rng(0).standard_normal((len(tokenizer), SENTENCE_WIDTH)).astype(np.float32)
    words = StaticEmbedding(tokenizer.backend_tokenizer, embedding_weights=weights)
    SentenceTransformer(modules=[words], device="cpu").save_pretrained(str(folder))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What train_language_model leaves."""
    folder = tmp_path_factory.mktemp("language_model")
    save_language_model(folder / JUDGE, TRAINED_WIDTH)
    save_language_model(folder / BASELINE, TRAINED_WIDTH, seed=1)
    return folder


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pretrained")
    save_language_model(folder / "language_model", FETCHED_WIDTH)
    save_feature_model(folder / "feature_model")
    return folder


@pytest.fixture
def bring(pretrained: Path) -> Bring:
    """The folder of fetched models, whose source.json says that these were brought; the files of both are there in any case."""

    def write_source(**names: str) -> Path:
        brought = {kind: {"name": name, "revision": None} for kind, name in names.items()}
        write_json(pretrained / "source.json", dict.fromkeys(("autoencoder", "language_model", "feature_model")) | brought)
        return pretrained

    return write_source


@pytest.mark.parametrize("language_model", [{}, {"language_model": "org/gpt2"}], ids=["trained judge", "fetched judge"])
@pytest.mark.parametrize("feature_model", [{}, {"feature_model": "org/mpnet"}], ids=["installed", "fetched"])
def test_fetched_models_judge_if_and_only_if_they_were_brought(
    language_model: dict[str, str], feature_model: dict[str, str], trained: Path, bring: Bring
) -> None:
    pretrained = bring(**language_model, **feature_model)
    judges = load_judges(KINDS, trained, pretrained, CPU)
    digests = {folder: file_sha256(folder / "model.safetensors") for folder in (trained / JUDGE, pretrained / "language_model")}
    expected_judge = (
        ("org/gpt2", digests[pretrained / "language_model"], FETCHED_WIDTH)
        if language_model
        else (JUDGE, digests[trained / JUDGE], TRAINED_WIDTH)
    )
    sentence = judges.descriptions()["sentence"]
    assert judges.language_model.description == judges.descriptions()["language_model"] == expected_judge
    if feature_model:
        assert (sentence.name, sentence.dimension) == ("org/mpnet", SENTENCE_WIDTH)
        assert sentence.sha256 == file_sha256(next((pretrained / "feature_model").rglob("model.safetensors")))
    else:
        assert sentence == (INSTALLED_NAME, WEIGHTS_SHA256, 384)


def test_the_model_of_the_features_is_the_judge_itself(trained: Path, bring: Bring) -> None:
    judges = load_judges(["language_model"], trained, bring(), CPU)
    assert judges.feature_models == {"language_model": judges.language_model}


@pytest.mark.parametrize("kinds", [["sentence"], ["language_model"], KINDS, KINDS[::-1]])
def test_features_are_of_the_kinds_asked_for_in_their_order(kinds: list[str], trained: Path, bring: Bring) -> None:
    judges = load_judges(kinds, trained, bring(feature_model="org/mpnet"), CPU)
    assert list(judges.descriptions()) == kinds
    features = judges.features_of_sets({"some": TEXTS[:3], "others": TEXTS[2:7]})
    widths = {"sentence": SENTENCE_WIDTH, "language_model": TRAINED_WIDTH}
    shapes = {name: {kind: rows.shape for kind, rows in sets.items()} for name, sets in features.items()}
    assert shapes == {name: {kind: (count, widths[kind]) for kind in kinds} for name, count in (("some", 3), ("others", 5))}
    for kind in kinds:
        np.testing.assert_array_equal(features["some"][kind][2], features["others"][kind][0])


def test_features_are_those_of_the_models(trained: Path, bring: Bring) -> None:
    judges = load_judges(KINDS, trained, bring(feature_model="org/mpnet"), CPU)
    features = judges.features_of_sets({"set": TEXTS[:5]})["set"]
    sentence = judges.feature_models["sentence"]
    assert isinstance(sentence, FeatureModel)
    np.testing.assert_allclose(features["sentence"], sentence.features(TEXTS[:5]), atol=1e-5)
    expected = LanguageModel.load(trained / JUDGE, CPU).features(TEXTS[:5], 2)
    np.testing.assert_allclose(features["language_model"], expected, atol=1e-5)


def test_no_sentence_model_is_loaded_that_nobody_asks_for(trained: Path, bring: Bring, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise AssertionError("a sentence model was loaded")

    monkeypatch.setattr(FeatureModel, "load", fail)
    assert load_judges(["language_model"], trained, bring(feature_model="org/mpnet"), CPU)
    with pytest.raises(AssertionError):
        load_judges(["sentence"], trained, bring(), CPU)
