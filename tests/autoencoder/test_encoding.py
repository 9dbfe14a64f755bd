import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest

import encode_latents
from annealed_lab.benchmarks.plain import PaddedTexts
from annealed_lm.autoencoder.encoding import EncodedTexts, encode_ids
from annealed_lm.autoencoder.latents import LatentIndex, LatentSet
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.common.files import read_json
from annealed_lm.diffusion.normalization import LatentStatistics
from support.tiny import COMPRESSED, LAYOUTS, MAX_TOKENS, TEXTS, label_of, make_autoencoder, write_params, write_prepared


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_each_text_has_its_own_latents_whatever_it_is_encoded_with(latent_layout: str) -> None:
    autoencoder = make_autoencoder(latent_layout)
    token_ids = tokenize(autoencoder.tokenizer, TEXTS[:20], MAX_TOKENS)
    together = encode_ids(autoencoder, token_ids, batch_size=20)
    assert len({len(ids) for ids in token_ids}) > 1
    for batch_size in (1, 7):
        for one, other in zip(together, encode_ids(autoencoder, token_ids, batch_size), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-5)
    for one, other in zip(together[::-1], encode_ids(autoencoder, token_ids[::-1], batch_size=20), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    assert not np.allclose(together[0][:3], together[1][:3], atol=1e-3)


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_latents_have_the_shape_of_their_layout_and_no_padding(latent_layout: str) -> None:
    autoencoder = make_autoencoder(latent_layout)
    token_ids = tokenize(autoencoder.tokenizer, TEXTS[:20], MAX_TOKENS)
    latents = encode_ids(autoencoder, token_ids, batch_size=8)
    lengths = [len(ids) for ids in token_ids] if latent_layout == "per_token" else [COMPRESSED.num_latents] * 20
    assert [each.shape for each in latents] == [(length, COMPRESSED.latent_dim) for length in lengths]
    assert {each.dtype for each in latents} == {np.dtype(np.float32)}


def encode_prepared(
    folder: Path, labelled: bool, monkeypatch: pytest.MonkeyPatch, layout: str = "compressed", train_latents: str = "cached"
) -> Path:
    """What encode_latents writes of `TEXTS`."""
    folder.mkdir(exist_ok=True)
    write_params(folder / "params.yaml", {"encode_latents": {"train_latents": train_latents}})
    write_prepared(folder / "prepared", labelled)
    make_autoencoder(layout).save(folder / "autoencoder", "0123456789abcdef", "text")
    paths = {"params": "params.yaml", "texts": "prepared", "autoencoder": "autoencoder", "out": "latents"}
    monkeypatch.setattr(sys, "argv", ["encode_latents.py", *(f"--{name}={folder / path}" for name, path in paths.items())])
    encode_latents.main()
    return folder / "latents"


def test_each_text_is_encoded_with_its_label(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = encode_prepared(tmp_path, True, monkeypatch)
    names = read_json(folder / "latents.json")["labels"]
    assert names == sorted({label_of(text) for text in TEXTS})
    for split, texts in (("train", TEXTS[:200]), ("valid", TEXTS[200:250])):
        labels = LatentIndex.load(folder, split).labels
        assert labels is not None
        assert [names[label] for label in labels] == [label_of(text) for text in texts]


def test_texts_without_labels_are_encoded_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = encode_prepared(tmp_path, False, monkeypatch)
    assert read_json(folder / "latents.json")["labels"] == []
    assert [LatentIndex.load(folder, split).labels for split in ("train", "valid")] == [None, None]
    assert not list(folder.glob("*_labels.npy"))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_latents_encoded_on_the_fly_are_those_that_would_be_cached(
    layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = encode_prepared(tmp_path / "cached", True, monkeypatch, layout)
    folder = encode_prepared(tmp_path / "on_the_fly", True, monkeypatch, layout, "on_the_fly")
    assert not (folder / "train.npy").exists()
    for name in (
        "latents.json",
        "train_offsets.npy",
        "train_labels.npy",
        "valid.npy",
        "valid_offsets.npy",
        "mean.npy",
        "std.npy",
    ):
        assert (folder / name).read_bytes() == (cached / name).read_bytes()
    autoencoder = make_autoencoder(layout)
    token_ids = tokenize(autoencoder.tokenizer, TEXTS[:200], MAX_TOKENS)
    expected = LatentSet.load(cached, "train")
    texts = np.array([5, 199, 0, 5, 31])
    longest = int(expected.index.lengths[texts].max())
    for source_class in (EncodedTexts, PaddedTexts):
        source = source_class(autoencoder, token_ids, LatentIndex.load(folder, "train"), nullcontext)
        for length in (longest, COMPRESSED.num_latents if layout == "compressed" else MAX_TOKENS):
            for ours, theirs in zip(source.batch(texts, length), expected.batch(texts, length), strict=True):
                np.testing.assert_allclose(ours, theirs, atol=2e-3)  # an encoder's rounding, seen through half precision
                assert ours.dtype == theirs.dtype


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_statistics_are_those_of_the_training_latents(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = encode_prepared(tmp_path, False, monkeypatch, layout)
    expected = LatentStatistics.of(LatentSet.load(folder, "train"), per_position=layout == "compressed")
    found = LatentStatistics.load(folder)
    np.testing.assert_allclose(found.mean, expected.mean, atol=1e-6)
    np.testing.assert_allclose(found.std, expected.std, atol=1e-6)
