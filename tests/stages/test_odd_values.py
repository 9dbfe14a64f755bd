"""Odd values that params.yaml may have, followed through the stage that reads them: it ends well, or in one sentence.

Values that would train for days are not followed: SMALL bounds what a run of seconds can carry.
"""

import math
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

import prepare_data
import sample_texts
import train_autoencoder
import train_diffusion
import train_language_model
from annealed_lm.common.errors import InputError
from annealed_lm.diffusion.model import DiffusionModel, ProcessSettings
from support.diffusion_runs import REFERENCE, arguments
from support.odd_values import NUMBERS, accepted_values
from support.tiny import (
    LATENT_DIM,
    make_autoencoder,
    make_diffusion_model,
    tiny_params,
    write_latents,
    write_params,
    write_prepared,
)

pytestmark = pytest.mark.slow

SMALL = {
    "num_train_steps": 40,
    "train_texts": 20_000,
    "valid_texts": 1000,
    "test_texts": 1000,
    "batch_size": 1000,
    "train_batch_size": 1000,
    "num_samples": 100,
    "num_beams": 20,
    "max_tokens": 100,
    "num_processes": 1,
    **dict.fromkeys(("num_latents", "latent_dim", "d_model", "tx_dim", "tx_heads", "heads"), 100),
    **dict.fromkeys(("layers", "tx_depth", "resampler_layers", "reconstruction_layers"), 7),
}
"""The most of a parameter that is followed."""


def keys_of(section: str) -> list[str]:
    return [key.split(".")[1] for key in NUMBERS if key.startswith(f"{section}.")]


def followed(section: str, name: str) -> list[Any]:
    """The two least and the two largest of the accepted values that a run of seconds can carry."""
    accepted = {value for value in accepted_values(f"{section}.{name}") if value <= SMALL.get(name, math.inf)}
    ordered = sorted(accepted)
    return [*ordered[:2], *ordered[2:][-2:]]


def ends_well(main: Any, script: str, given: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a stage, which may refuse in one sentence, and may warn of nothing that computing with numbers warns of."""
    monkeypatch.setattr(sys, "argv", [script, *given])
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        try:
            main()
        except InputError as error:
            told = str(error)
        else:
            told = ""
    assert "\n" not in told


def stage_arguments(folder: Path, changes: dict[str, Any], **paths: Path) -> list[str]:
    write_params(folder / "params.yaml", changes)
    paths = {"params": folder / "params.yaml", **paths, "out": folder / "out"}
    return [part for name, path in paths.items() for part in (f"--{name}", str(path))]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shared")
    (folder / "corpus").mkdir()
    write_prepared(folder / "prepared")
    write_latents(folder / "latents")
    make_autoencoder("per_token", latent_dim=LATENT_DIM).save(folder / "autoencoder", "0123456789abcdef", "text")
    return folder


@pytest.mark.parametrize("name", keys_of("prepare_data"))
def test_prepare_data(name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for value in followed("prepare_data", name):
        given = stage_arguments(tmp_path, {"prepare_data": {name: value}}, corpus=shared / "corpus")
        ends_well(prepare_data.main, "prepare_data.py", given, monkeypatch)


@pytest.mark.parametrize("name", keys_of("train_autoencoder"))
def test_train_autoencoder(name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"texts": shared / "prepared", "pretrained": tmp_path / "pretrained", "resume": tmp_path / "resume"}
    for value in followed("train_autoencoder", name):
        given = stage_arguments(tmp_path, {"train_autoencoder": {name: value}}, **paths)
        ends_well(train_autoencoder.main, "train_autoencoder.py", given, monkeypatch)


@pytest.mark.parametrize("name", keys_of("train_language_model"))
def test_train_language_model(name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"texts": shared / "prepared", "resume": tmp_path / "resume"}
    for value in followed("train_language_model", name):
        given = stage_arguments(tmp_path, {"train_language_model": {name: value}}, **paths)
        ends_well(train_language_model.main, "train_language_model.py", given, monkeypatch)


READ_WITH: dict[str, dict[str, Any]] = {
    "logit_normal": {"T_schedule": "logit_normal"},
    "laplace": {"T_schedule": "laplace"},
    "speed": {"T_schedule": "speed"},
    "min_snr": {"loss_weight": "min_snr"},
    "p2": {"loss_weight": "p2"},
    "tan": {"noise_schedule": "tan"},
}
"""Beginning of a parameter's name -> what it is read with; every other is read with a range or in any case."""


@pytest.mark.parametrize("name", keys_of("train_diffusion"))
def test_train_diffusion(name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    together = next((changes for prefix, changes in READ_WITH.items() if name.startswith(prefix)), {"T_schedule": "static"})
    monkeypatch.delenv("DVC_ROOT", raising=False)
    for value in followed("train_diffusion", name):
        changes = {**together, "optimizer": "lion", "objective": "pred_noise", "lr_warmup_steps": 0, name: value}
        AcceleratorState._reset_state(reset_partial_state=True)
        ends_well(train_diffusion.main, "train_diffusion.py", arguments(tmp_path, shared / "latents", changes), monkeypatch)


@pytest.mark.parametrize("name", keys_of("sample_texts"))
def test_sample_texts(name: str, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_diffusion_model()
    process = ProcessSettings("cosine", tiny_params()["train_diffusion"]["timesteps"], 9, "pred_noise", "l2", True, 0)
    DiffusionModel(model.denoiser, process, ()).save(tmp_path / "diffusion")
    paths = {name: shared / name for name in ("latents", "autoencoder")} | {"diffusion": tmp_path / "diffusion"}
    for value in followed("sample_texts", name):
        section = {"num_samples": 20, "strategies": ["greedy", "beam", "nucleus"], name: value}
        ends_well(
            sample_texts.main, "sample_texts.py", stage_arguments(tmp_path, {"sample_texts": section}, **paths), monkeypatch
        )


def test_what_bounds_the_runs_names_parameters() -> None:
    assert {name for section in tiny_params() for name in keys_of(section)} >= SMALL.keys()
    assert all(REFERENCE[name] <= most for name, most in SMALL.items() if name in REFERENCE)
