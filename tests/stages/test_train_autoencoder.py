"""The stage train_autoencoder on each kind of BART and each latent layout, and what the next stages do with its output."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import encode_latents
import train_autoencoder
from annealed_lm.autoencoder.latents import LatentSet
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.generation.decoding import STRATEGIES, DecodingSettings, decode_latents
from support.tiny import COMPRESSED, LAYOUTS, TEXTS, save_bart, write_params, write_prepared

BART_WIDTH = 16


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with texts, and a pretrained BART as fetch_pretrained leaves it."""
    monkeypatch.delenv("DVC_ROOT", raising=False)
    write_prepared(tmp_path / "prepared")
    save_bart(tmp_path / "pretrained" / "autoencoder", BART_WIDTH)
    return tmp_path


def train(project: Path, monkeypatch: pytest.MonkeyPatch, **section: Any) -> None:
    write_params(project / "params.yaml", {"fetch_pretrained": {"autoencoder_name": "bart"}, "train_autoencoder": section})
    paths = {"params": "params.yaml", "texts": "prepared", "pretrained": "pretrained", "resume": "resume", "out": "out"}
    arguments = [part for name, path in paths.items() for part in (f"--{name}", str(project / path))]
    monkeypatch.setattr(sys, "argv", ["train_autoencoder.py", *arguments])
    train_autoencoder.main()


def encode(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"params": "params.yaml", "texts": "prepared", "autoencoder": "out", "out": "latents"}
    arguments = [part for name, path in paths.items() for part in (f"--{name}", str(project / path))]
    monkeypatch.setattr(sys, "argv", ["encode_latents.py", *arguments])
    encode_latents.main()


@pytest.mark.parametrize("initialisation", ["scratch", "pretrained"])
@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_texts_become_latents_and_latents_texts(
    initialisation: str, latent_layout: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen = initialisation == "pretrained" and latent_layout == "per_token"
    latent_dim = BART_WIDTH if frozen else COMPRESSED.latent_dim
    train(project, monkeypatch, initialisation=initialisation, latent_layout=latent_layout, latent_dim=latent_dim)
    encode(project, monkeypatch)

    autoencoder = Autoencoder.load(project / "out")
    assert (autoencoder.bottleneck is None) == frozen
    latents, statistics = LatentSet.load(project / "latents", "valid"), LatentStatistics.load(project / "latents")
    description = read_json(project / "latents" / "latents.json")
    assert description["latent_dim"] == latent_dim == statistics.mean.shape[1]
    assert description["max_length"] >= latents.index.lengths.max()
    assert len(statistics.mean) == (1 if latent_layout == "per_token" else latents.index.lengths[0])
    assert len(latents) == 50
    assert (len(set(latents.index.lengths)) == 1) == (latent_layout == "compressed")
    settings = DecodingSettings(num_beams=2, top_p=0.9, min_length=0, no_repeat_ngram_size=0, repetition_penalty=1.0)
    for strategy in STRATEGIES:
        texts = decode_latents(autoencoder, [latents[i] for i in range(5)], strategy, settings, seed=0, batch_size=2)
        assert len(texts) == 5
    assert not list((project / "resume").glob("*"))  # a finished training leaves no checkpoint


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_a_pretrained_bart_comes_out_as_it_went_in(latent_layout: str, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(project, monkeypatch, initialisation="pretrained", latent_layout=latent_layout, latent_dim=BART_WIDTH)
    before = load_file(project / "pretrained" / "autoencoder" / "model.safetensors")
    after = load_file(project / "out" / "model.safetensors")
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    loaded = Autoencoder.load(project / "out").bart
    assert loaded.config.decoder_start_token_id == 2
    assert loaded.generation_config.forced_bos_token_id == 0


def test_frozen_latents_are_the_states_of_the_pretrained_encoder(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(project, monkeypatch, initialisation="pretrained", latent_layout="per_token", latent_dim=BART_WIDTH)
    encode(project, monkeypatch)
    autoencoder = Autoencoder.load(project / "out")
    ids = autoencoder.tokenizer(TEXTS[200], return_tensors="pt")["input_ids"]
    states = autoencoder.bart.model.encoder(input_ids=ids).last_hidden_state[0].detach().numpy()
    np.testing.assert_allclose(LatentSet.load(project / "latents", "valid")[0], states, atol=1e-2)


def test_running_the_stage_again_gives_the_same_weights(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = []
    for _ in range(2):
        train(project, monkeypatch)
        files.append({path.name: path.read_bytes() for path in (project / "out").iterdir()})
    assert files[0] == files[1]
    assert "reader.safetensors" in files[0]


def test_without_a_pretrained_model_its_absence_is_named(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "pretrained" / "autoencoder").rename(project / "elsewhere")
    with pytest.raises(InputError, match=r"holds no pretrained BART; name one in fetch_pretrained.autoencoder_name"):
        train(project, monkeypatch, initialisation="pretrained")


def test_latents_of_an_autoencoder_for_other_texts_are_refused(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(project, monkeypatch)
    statistics = project / "prepared" / "statistics.json"
    statistics.write_text(statistics.read_text().replace("0123456789abcdef", "fedcba9876543210"))
    with pytest.raises(InputError, match="trained on other texts"):
        encode(project, monkeypatch)
    assert not (project / "latents").exists()
