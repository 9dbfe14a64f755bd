"""The stage prepare_data: what data or machine cannot carry is told here, before any training."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import prepare_data
from annealed_lm.common.errors import InputError
from annealed_lm.training import processes
from support.tiny import write_params


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: int = 200, **changes: Any) -> Path:
    (folder / "corpus").mkdir()
    (folder / "corpus" / "texts.txt").write_text("".join(f"text {i}\n" for i in range(texts)))
    write_params(folder / "params.yaml", {"dataset_name": "text", **changes})
    arguments = [f"--params={folder / 'params.yaml'}", f"--corpus={folder / 'corpus'}", f"--out={folder / 'prepared'}"]
    monkeypatch.setattr(sys, "argv", ["prepare_data.py", *arguments])
    prepare_data.main()
    return folder / "prepared"


def refused(folder: Path, monkeypatch: pytest.MonkeyPatch, texts: int = 200, **changes: Any) -> str:
    """The sentence that ends the stage, which leaves nothing."""
    with pytest.raises(InputError) as caught:
        prepare(folder, monkeypatch, texts, **changes)
    assert not (folder / "prepared").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_as_many_texts_as_samples_are_compared_with_are_enough(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert prepare(tmp_path, monkeypatch, texts=80 + 60 + 60).is_dir()  # of a corpus, valid_texts and test_texts are held out


def test_a_corpus_with_too_few_texts_to_compare_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert refused(tmp_path, monkeypatch, texts=79 + 60 + 60) == (
        "sample_texts.num_samples = 40 needs 80 training and 40 validation texts to compare with, and after cleaning the corpus "
        "has 79 and 60: lower it, or bring more texts"
    )


@pytest.mark.parametrize("section", ["train_diffusion", "sample_texts"])
def test_half_precision_without_a_gpu(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    found = refused(tmp_path, monkeypatch, **{section: {"mixed_precision": "fp16"}})
    assert found == f"{section}.mixed_precision = fp16 needs a GPU, and this machine has none: it should be no or bf16"


def test_half_precision_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert prepare(tmp_path, monkeypatch, sample_texts={"mixed_precision": "fp16"}).is_dir()


@pytest.mark.parametrize(("gpus", "fit"), [(0, True), (1, False), (2, True), (8, True)])
def test_processes_take_a_gpu_each_or_share_the_cpu(
    gpus: int, fit: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    two = {"num_processes": 2}
    if fit:
        assert prepare(tmp_path, monkeypatch, train_diffusion=two).is_dir()
    else:
        found = refused(tmp_path, monkeypatch, train_diffusion=two)
        assert found == "train_diffusion.num_processes = 2 takes a GPU each, and this machine has 1"


def test_compiling_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none_found() -> None:
        raise InputError("there is no compiler")

    monkeypatch.setattr(processes, "require_compiler", none_found)
    assert refused(tmp_path, monkeypatch, train_diffusion={"compile": True}) == "there is no compiler"


@pytest.mark.parametrize("section", ["train_autoencoder", "train_language_model"])
def test_a_vocabulary_that_lacks_many_words(section: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 160 words, half are "text" and each number comes once: 8 of them may be unknown, and 4 entries are special tokens."""
    settings = {section: {"vocab_size": 20}}
    found = refused(tmp_path, monkeypatch, prepare_data={"train_texts": 80}, **settings)
    assert found == (
        f"{section}.vocab_size = 20 leaves 40.6% of the words of the training texts unknown, more than 5%: set it to 77 or more, "
        f"or {section}.tokenizer to bpe, which knows every text"
    )


def test_bytes_and_a_pretrained_vocabulary_know_every_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretrained = {"initialisation": "pretrained", "latent_dim": 8, "vocab_size": 20}
    changes = {"train_autoencoder": pretrained, "fetch_pretrained": {"autoencoder_name": "a"}}
    bpe = {"tokenizer": "bpe", "vocab_size": 260}
    assert prepare(tmp_path, monkeypatch, train_language_model=bpe, **changes).is_dir()


def test_a_conditional_model_of_texts_without_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = refused(tmp_path, monkeypatch, train_diffusion={"class_conditional": True})
    assert found.startswith("train_diffusion.class_conditional needs texts with labels, and those of ")
