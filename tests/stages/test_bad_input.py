"""Whatever a user can get wrong: one sentence, an exit status other than 0, and nothing that was computed before is lost."""

import errno
import json
import os
import runpy
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from annealed_lm.common import files
from annealed_lm.evaluation.references import REFERENCE_ROWS
from annealed_lm.generation.language_model import JUDGE
from support.scored import REFERENCES
from support.tiny import make_autoencoder, save_language_model, write_params, write_prepared

ROOT = Path(__file__).parents[2]


def run_stage(monkeypatch: pytest.MonkeyPatch, folder: Path, stage: str, **paths: str) -> str:
    """Run a stage as dvc.yaml does and return the sentence that it ends with; it must end with one."""
    arguments = [f"--{name}={folder / path}" for name, path in {"params": "params.yaml", **paths}.items()]
    monkeypatch.setattr(sys, "argv", [f"src/{stage}.py", *arguments])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(str(ROOT / "src" / f"{stage}.py"), run_name="__main__")
    sentence = str(stopped.value.code)  # Python prints it and exits with status 1
    assert sentence.startswith("error: ")
    assert "\n" not in sentence
    return sentence


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"T_schedule": "linaer"}, "T_schedule = linaer is not one of normal, linear, cosine, polynomial, unsmooth"),
        ({"power": 0}, "power = 0: it should be greater than 0"),
        ({"optimizer": "adam"}, "optimizer = 'adam': it should be 'adamw', 'lion' or 'muon'"),
        ({"train_diffusion": {"num_train_steps": -1}}, "num_train_steps = -1: it should be greater than 0"),
        ({"train_diffusion": {"timesteps": "many"}}, "timesteps = 'many': it should be a valid integer"),
        ({"sample_texts": {"sampling_timesteps": 101}}, "sampling_timesteps = 101 is more than the 100 of"),
        ({"train_diffusion": {"class_unconditional_prob": 1}}, "class_unconditional_prob = 1: it should be less than 1"),
    ],
)
def test_parameters(changes: dict[str, object], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path / "params.yaml", changes)
    assert told in run_stage(monkeypatch, tmp_path, "validate_params", out="params.ok")
    assert not (tmp_path / "params.ok").exists()


def test_misspelt_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path / "params.yaml", {})
    values = json.loads((tmp_path / "params.yaml").read_text())
    (tmp_path / "params.yaml").write_text(json.dumps(values | {"T_shedule": "linear"}))
    sentence = run_stage(monkeypatch, tmp_path, "validate_params", out="params.ok")
    assert "T_shedule is not a known key (did you mean T_schedule?)" in sentence


def no_file(raw: Path) -> None:
    """The user put nothing there."""


def corrupt_archive(raw: Path) -> None:
    (raw / "e2e").mkdir(parents=True)
    (raw / "e2e" / "e2e-dataset.zip").write_bytes(b"half a download")


def wrong_encoding(raw: Path) -> None:
    (raw / "text").mkdir(parents=True)
    (raw / "text" / "texts.txt").write_bytes(b"good\nbad \xff\n")


def not_json(raw: Path) -> None:
    (raw / "roc").mkdir(parents=True)
    (raw / "roc" / "train.json").write_bytes(b'["A story."]\nnot json\n')


@pytest.mark.parametrize(
    ("dataset_name", "put", "told"),
    [("text", no_file, "texts.txt is not there"), ("e2e", corrupt_archive, "e2e-dataset.zip has sha256")],
)
def test_files_that_cannot_be_those_of_the_corpus(
    dataset_name: str, put: Callable[[Path], None], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path / "params.yaml", {"dataset_name": dataset_name})
    put(tmp_path / "raw")
    assert told in run_stage(monkeypatch, tmp_path, "fetch_corpus", raw="raw", out="corpus")
    assert not (tmp_path / "corpus").exists()


@pytest.mark.parametrize(
    ("dataset_name", "put", "told"),
    [("text", wrong_encoding, "texts.txt line 2 is not UTF-8"), ("roc", not_json, "train.json line 2")],
)
def test_files_that_cannot_be_read(
    dataset_name: str, put: Callable[[Path], None], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(tmp_path / "params.yaml", {"dataset_name": dataset_name, "prepare_data": {"split": "random"}})
    put(tmp_path / "raw")
    sentence = run_stage(monkeypatch, tmp_path, "prepare_data", corpus=f"raw/{dataset_name}", out="prepared")
    assert told in sentence
    assert not (tmp_path / "prepared").exists()


@pytest.mark.parametrize(
    ("stage", "name"),
    [
        ("fetch_pretrained", "autoencoder_name"),
        ("fetch_judges", "language_model_name"),
        ("fetch_judges", "feature_model_name"),
    ],
)
def test_models_that_are_not_there(stage: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path / "params.yaml", {stage: {name: "models/mistyped"}})
    assert f"{name} = models/mistyped is no local folder" in run_stage(monkeypatch, tmp_path, stage, out="models")
    assert not (tmp_path / "models").exists()


def test_references_that_another_model_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path / "params.yaml", {})
    for folder in ("references", "judges", "samples"):
        (tmp_path / folder).mkdir()
    kind = "language_model"
    settings = replace(REFERENCES.settings, mauve={kind: REFERENCES.settings.mauve[kind]})
    references = replace(REFERENCES, features={kind: REFERENCES.features[kind]}, settings=settings)
    references.save(tmp_path / "references")
    files.write_json(tmp_path / "references" / REFERENCE_ROWS, {})
    files.write_json(tmp_path / "judges" / "source.json", {"language_model": None, "feature_model": None})
    save_language_model(tmp_path / "language_model" / JUDGE)
    paths = {"samples": "samples", "references": "references", "language-model": "language_model", "judges": "judges"}
    sentence = run_stage(monkeypatch, tmp_path, "evaluate_samples", **paths, out="scores")
    assert "the references were judged by language_model (bbbbbbbbbbbb), and judge (" in sentence
    assert "is another model; run the stage prepare_references" in sentence
    assert not (tmp_path / "scores").exists()


def test_empty_text_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path / "params.yaml", {"dataset_name": "text"})
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "texts.txt").write_bytes(b"\n \n")
    sentence = run_stage(monkeypatch, tmp_path, "prepare_data", corpus="corpus", out="prepared")
    assert "text has no texts for train after cleaning (rows: 2" in sentence
    assert not (tmp_path / "prepared").exists()


def test_autoencoder_of_another_corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path / "params.yaml", {})
    write_prepared(tmp_path / "prepared")
    make_autoencoder().save(tmp_path / "autoencoder", "fedcba9876543210", "restaurants")
    before = sorted(tmp_path.rglob("*"))
    sentence = run_stage(monkeypatch, tmp_path, "encode_latents", texts="prepared", autoencoder="autoencoder", out="latents")
    assert "was trained on other texts (restaurants" in sentence
    assert sorted(tmp_path.rglob("*")) == before


def test_full_disk_while_saving_keeps_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(tmp_path / "params.yaml", {})
    (tmp_path / "corpus").mkdir()
    (tmp_path / "prepared").mkdir()
    (tmp_path / "prepared" / "train.jsonl").write_text("of an earlier run")

    def full(*arguments: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "statistics.json")

    monkeypatch.setattr(files.os, "replace", full)
    sentence = run_stage(monkeypatch, tmp_path, "prepare_data", corpus="corpus", out="prepared")
    assert "the disk is full while writing statistics.json" in sentence
    assert (tmp_path / "prepared" / "train.jsonl").read_text() == "of an earlier run"
    assert list(tmp_path.rglob("*.partial")) == []
