"""A judge in the files of gpt2-large, as they are published: small and untrained, but loaded and used by the same code."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, GPT2Config, GPT2LMHeadModel

from annealed_lm.common.files import file_sha256, write_json
from annealed_lm.generation.language_model import LanguageModel

CPU = torch.device("cpu")
TEXTS = ["the cat is old", "old", " a dog", "Üñî\ncode", "very " * 30, "the cat is old"]


@pytest.fixture(scope="module")
def gpt2_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small, untrained, saved as gpt2 and its larger siblings are published.

    That is: vocab.json and merges.txt, <|endoftext|> as the only special token, weights under names without a prefix and with the
    causal masks among them, and the settings of an old version of transformers.
    """
    folder = tmp_path_factory.mktemp("models") / "gpt2-large"
    folder.mkdir()
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(TEXTS, 300, special_tokens=["<|endoftext|>"], show_progress=False)
    tokenizer.save_model(str(folder))
    vocabulary = json.loads((folder / "vocab.json").read_text())
    torch.manual_seed(0)
    settings: dict[str, Any] = {"n_positions": 24, "n_embd": 16, "n_layer": 2, "n_head": 2, "initializer_range": 0.3}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=len(vocabulary), bos_token_id=0, eos_token_id=0, **settings))
    masks = {f"h.{layer}.attn.bias": torch.ones(24, 24).tril().view(1, 1, 24, 24) for layer in range(2)}
    save_file(model.transformer.state_dict() | masks, folder / "model.safetensors", metadata={"format": "pt"})
    write_json(
        folder / "config.json",
        {
            "architectures": ["GPT2LMHeadModel"],
            "model_type": "gpt2",
            "vocab_size": len(vocabulary),
            "bos_token_id": 0,
            "eos_token_id": 0,
            "n_ctx": 24,
            **settings,
            "task_specific_params": {"text-generation": {"do_sample": True, "max_length": 50}},
        },
    )
    write_json(folder / "tokenizer_config.json", {"model_max_length": 24})
    return folder


@pytest.fixture(scope="module")
def gpt2(gpt2_folder: Path) -> LanguageModel:
    return LanguageModel.load(gpt2_folder, CPU)


def test_gpt2_is_loaded_as_published(gpt2: LanguageModel, gpt2_folder: Path) -> None:
    tokenizer = gpt2.tokenizer
    assert (tokenizer.pad_token, tokenizer.eos_token) == (None, "<|endoftext|>")
    assert gpt2.start_id == 0
    assert gpt2.token_ids(["the cat"])[0][0] == 0
    assert gpt2.tokenizer.decode(gpt2.token_ids(["the cat"])[0][1:]) == "the cat"
    assert gpt2.description == ("gpt2-large", file_sha256(gpt2_folder / "model.safetensors"), 16)
    assert gpt2.model.get_output_embeddings().weight is gpt2.model.get_input_embeddings().weight


def test_perplexity_of_gpt2_is_that_of_the_metric_of_evaluate(gpt2: LanguageModel, gpt2_folder: Path) -> None:
    """As the metric computes it with add_start_token and max_length, here by the loss of transformers, a text at a time."""
    model, tokenizer = AutoModelForCausalLM.from_pretrained(gpt2_folder).eval(), AutoTokenizer.from_pretrained(gpt2_folder)
    expected = []
    for text in TEXTS:
        tokens = tokenizer(text, add_special_tokens=False, truncation=True, max_length=24 - 1, return_tensors="pt")["input_ids"]
        assert tokens.shape[1] > 0
        row = torch.cat([torch.tensor([[tokenizer.bos_token_id]]), tokens], dim=1)
        with torch.inference_mode():
            expected.append(model(row, labels=row).loss.exp().item())  # the mean over the tokens after the first
    likelihoods = gpt2.likelihoods(TEXTS, 4)
    np.testing.assert_allclose(np.exp(likelihoods.nll / likelihoods.tokens), expected, rtol=1e-4)
    assert likelihoods.perplexity == pytest.approx(np.mean(expected), rel=1e-4)
    assert gpt2.likelihoods([*TEXTS, ""], 4).perplexity == pytest.approx(np.mean(expected), rel=1e-4)
    assert np.ptp(expected) > 10  # so that a mistaken text would show


def test_features_are_transformers_last_hidden_state_at_the_last_token(gpt2: LanguageModel) -> None:
    """No start token before a text, but in the place of an empty one."""
    features = gpt2.features([*TEXTS, ""], 3, max_tokens=20)
    rows = [*(gpt2.tokenizer.encode(text, truncation=True, max_length=20) for text in TEXTS), [gpt2.start_id]]
    for ids, row in zip(rows, features, strict=True):
        with torch.inference_mode():
            states = gpt2.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
        np.testing.assert_allclose(row, states[-1][0, -1], atol=1e-5)


def test_features_are_those_of_the_mauve_package(gpt2: LanguageModel) -> None:
    from mauve.utils import featurize_tokens_from_model  # type: ignore[import-untyped]

    rows = [gpt2.tokenizer.encode(text, truncation=True, max_length=20, return_tensors="pt") for text in TEXTS]
    expected = featurize_tokens_from_model(gpt2.model.base_model, rows, batch_size=4).numpy()
    np.testing.assert_allclose(gpt2.features(TEXTS, 3, max_tokens=20), expected, atol=1e-5)
    assert np.abs(np.diff(expected, axis=0)).max(axis=1).min() > 0.1


def test_gpt2_writes_texts(gpt2: LanguageModel) -> None:
    texts = gpt2.sample(10, 0.9, 12, seed=0, batch_size=4)
    assert len(set(texts)) > 5
    assert not any("endoftext" in text for text in texts)


def test_a_sample_ends_where_the_models_positions_end(gpt2: LanguageModel) -> None:
    steps: list[int] = []
    hook = gpt2.model.register_forward_hook(lambda *_: steps.append(1))
    gpt2.sample(10, 1.0, 1000, seed=0, batch_size=10)
    hook.remove()
    assert len(steps) == 24 - 1  # one for each token after the start
