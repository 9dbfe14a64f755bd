"""The model card, and the run that it is made from."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ruamel.yaml import YAML
from safetensors.numpy import save_file

from annealed_lab.handing_over.card import count_weights, model_card
from annealed_lab.handing_over.run import Run, require_params_of
from annealed_lm.common.errors import InputError
from support.tiny import ROOT, yaml_of


@pytest.fixture
def run() -> Run:
    """The default run, as it is committed."""
    metrics = {path.stem: json.loads(path.read_text()) for path in (ROOT / "metrics").glob("*.json")}
    return Run(yaml_of(ROOT / "params.yaml"), metrics, ["One text.", "Two\nlines."])


@pytest.fixture
def models(tmp_path: Path) -> Path:
    for name in ("autoencoder", "diffusion"):
        (tmp_path / name).mkdir()
        save_file({"a": np.zeros((2, 3), np.float32), "b": np.zeros(4, np.float32)}, tmp_path / name / "model.safetensors")
    save_file({"a": np.zeros(9, np.float32)}, tmp_path / "diffusion" / "guide.safetensors")
    return tmp_path


def front_matter(card: str) -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(card.split("---\n")[1])
    return values


def test_the_card_says_what_the_run_was_and_how_it_compares(run: Run, models: Path) -> None:
    card = model_card(run, models, None)
    assert front_matter(card)["license"] == "mit"
    assert front_matter(card)["language"] == "en"
    for row in ("greedy, generated", "greedy, control", "greedy, ceiling", "train_train", "baseline"):
        assert f"| {row} " in card
    assert "T schedule `normal`" in card
    assert "10 numbers in the autoencoder, 10 in the denoiser" in card
    assert "One text.\nTwo\\nlines.\n" in card
    assert count_weights(models / "diffusion") == 10


def test_labels_and_a_named_licence_are_stated(run: Run, models: Path) -> None:
    params = copy.deepcopy(run.params)
    params["train_diffusion"]["class_conditional"] = True
    card = model_card(Run(params | {"dataset_name": "text"}, run.metrics, []), models, "cc0-1.0")
    assert front_matter(card) == {
        "license": "cc0-1.0",
        "library_name": "annealed_lm",
        "pipeline_tag": "text-generation",
        "tags": ["latent-diffusion", "text-diffusion", "annealed-lm"],
    }
    assert "conditioned on labels: cheap, expensive, moderate." in card
    assert 'generator.sample(3, seed=0, label="cheap")' in card
    assert "under the licence cc0-1.0, as whoever exported the model says" in card


def test_a_run_is_that_of_the_params_it_was_made_with(tmp_path: Path) -> None:
    lock = tmp_path / "dvc.lock"
    lock.write_text(
        "stages:\n  train_diffusion:\n    params:\n      params.yaml:\n        train_diffusion:\n          tx_dim: 8\n"
    )
    require_params_of(lock, {"train_diffusion": {"tx_dim": 8, "dropout": 0}})
    with pytest.raises(InputError, match=r"changed since train_diffusion ran: train_diffusion.tx_dim was 8 and is 16; run it"):
        require_params_of(lock, {"train_diffusion": {"tx_dim": 16}})
    with pytest.raises(InputError, match=r"dvc.lock is not there; no run has finished here: make run"):
        require_params_of(tmp_path / "absent" / "dvc.lock", {})


def test_without_results_there_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    (tmp_path / "dvc.lock").write_text("stages: {}\n")
    with pytest.raises(InputError, match="no run has finished in "):
        Run.read(tmp_path)
