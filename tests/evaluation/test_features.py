import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import StaticEmbedding
from tokenizers import Tokenizer, models
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizer,
    MPNetConfig,
    MPNetModel,
    MPNetTokenizer,
)

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import file_sha256, write_json
from annealed_lm.evaluation import features as text_features
from annealed_lm.evaluation.features import FeatureModel, model_folder
from support.tiny import save_feature_model

CPU = torch.device("cpu")
TEXTS = ["The pub is cheap.", "It is an inexpensive bar.", "", "The stars burn hydrogen into helium.", "The pub is cheap."]


@pytest.fixture(scope="module")
def model() -> FeatureModel:
    return FeatureModel.load(CPU, None)


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
        FeatureModel.load(CPU, None)


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_features, "PACKAGE", "no_such_package_of_weights")
    with pytest.raises(InputError, match="no-such-package-of-weights is not installed"):
        model_folder()


def test_the_installed_model_has_its_published_name(model: FeatureModel) -> None:
    digest = file_sha256(model_folder() / "model.safetensors")
    assert model.description == ("sentence-transformers/all-MiniLM-L6-v2", digest, 384)


# Other models, from a folder


def save_sentence_model(folder: Path, kind: str, pooling: str, normalised: bool) -> None:
    """A small untrained one, in the layout in which such models are published."""
    words = sorted({word for text in TEXTS for word in text.lower().replace(".", " .").split()})
    special = ["<s>", "<pad>", "</s>", "<mask>", "[UNK]"] if kind == "mpnet" else ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join([*special, *words]) + "\n")
    sizes: dict[str, Any] = {
        "vocab_size": len(special) + len(words),
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 16,
        "max_position_embeddings": 40,
        "initializer_range": 0.5,
    }
    torch.manual_seed(0)
    if kind == "mpnet":
        MPNetTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
        MPNetModel(MPNetConfig(**sizes)).save_pretrained(folder)
    else:
        BertTokenizer(str(folder / "vocab.txt")).save_pretrained(folder)
        BertModel(BertConfig(**sizes)).save_pretrained(folder)
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": 32, "do_lower_case": False})
    (folder / "1_Pooling").mkdir()
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": 16, f"pooling_mode_{pooling}": True})
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), *([("2_Normalize", "Normalize")] if normalised else [])]
    rows = [
        {"idx": number, "name": str(number), "path": path, "type": f"sentence_transformers.models.{name}"}
        for number, (path, name) in enumerate(modules)
    ]
    (folder / "modules.json").write_text(json.dumps(rows))


@pytest.mark.parametrize(
    ("kind", "pooling", "normalised"),
    [("mpnet", "mean_tokens", True), ("bert", "cls_token", True), ("bert", "mean_tokens", False)],
)
def test_any_sentence_model_loads_from_its_folder(tmp_path: Path, kind: str, pooling: str, normalised: bool) -> None:
    folder = tmp_path / "feature_model"
    save_sentence_model(folder, kind, pooling, normalised)
    model = FeatureModel.load(CPU, folder)
    features = model.features(TEXTS)
    assert features.shape == (len(TEXTS), 16)
    assert len(np.unique(features.round(4), axis=0)) == len(set(TEXTS))
    np.testing.assert_allclose(features, [pooled(folder, pooling, normalised, text) for text in TEXTS], atol=1e-5)
    assert model.description == ("feature_model", file_sha256(folder / "model.safetensors"), 16)
    write_json(tmp_path / "source.json", {"feature_model": {"name": "org/sentences", "revision": "a" * 40}})
    assert FeatureModel.load(CPU, folder).description.name == "org/sentences"


def pooled(folder: Path, pooling: str, normalised: bool, text: str) -> np.ndarray:
    """The same by hand, with transformers alone."""
    tokenizer, network = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = network(**tokenizer(text, return_tensors="pt", truncation=True, max_length=32)).last_hidden_state[0]
    vector = states.mean(0) if pooling == "mean_tokens" else states[0]
    return np.asarray(vector / vector.norm() if normalised else vector)


def test_a_folder_without_a_sentence_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no sentence-transformers model \(no modules\.json\); name one in fetch_judges"):
        FeatureModel.load(CPU, tmp_path)


# Special tokens that texts spell out


def unigram(special: list[str], words: list[str]) -> Tokenizer:
    """A tokenizer that knows its special tokens as words too, as those of SentencePiece do."""
    pieces = [*special, *words, *"abcdefghijklmnopqrstuvwxyz<>/[]_ "]
    tokenizer = Tokenizer(models.Unigram([(piece, 0.0 if piece in special else -1.0) for piece in pieces], unk_id=0))
    tokenizer.add_special_tokens(special)
    return tokenizer


@pytest.fixture(scope="module", params=["installed", "bert", "mpnet", "static", "unigram"])
def reader(request: pytest.FixtureRequest, model: FeatureModel, tmp_path_factory: pytest.TempPathFactory) -> FeatureModel:
    """A model of each kind of tokenizer."""
    folder = tmp_path_factory.mktemp(request.param) / "model"
    if request.param == "installed":
        return model
    if request.param in ("bert", "mpnet"):
        save_sentence_model(folder, request.param, "mean_tokens", True)
    elif request.param == "static":
        save_feature_model(folder)
    else:
        tokenizer = unigram(["<unk>", "<s>", "</s>", "<pad>"], ["good", "bad"])
        weights = np.random.default_rng(0).standard_normal((tokenizer.get_vocab_size(), 8)).astype(np.float32)
        module = StaticEmbedding(tokenizer, embedding_weights=weights)
        SentenceTransformer(modules=[module], device="cpu").save_pretrained(str(folder))
    return FeatureModel.load(CPU, folder)


def ids_of(reader: FeatureModel, text: str) -> list[int]:
    for word in reader.special_words:
        text = text.replace(word, " ".join(word))
    ids: list[int] = reader.encoder.preprocess([text])["input_ids"].flatten().tolist()
    return ids


def test_special_tokens_that_a_text_spells_out_are_none(reader: FeatureModel) -> None:
    tokenizer = reader.encoder[0].tokenizer
    if isinstance(tokenizer, Tokenizer):
        special = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items()}
        unknown = tokenizer.token_to_id("<unk>")
    else:
        special = {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}
        unknown = tokenizer.unk_token_id
    assert len(special) >= 4
    frame = ids_of(reader, "good bad")
    for token, number in special.items():
        if number != unknown:  # which is what any unknown character is
            found = ids_of(reader, f"good {token} bad {token}")
            assert found.count(number) == frame.count(number), token


def test_a_text_that_spells_out_an_end_is_not_taken_for_one_that_does_not(model: FeatureModel) -> None:
    plain, spelled, other = model.features(["the pub is cheap", "the pub [SEP] is cheap", "the pub [sep] is cheap"])
    assert np.linalg.norm(spelled - plain) > 0.1
    np.testing.assert_allclose(spelled, other, atol=1e-5)  # the model knows no capitals
