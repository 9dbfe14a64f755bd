"""The stage sample_texts: what each of its parameters changes."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import sample_texts
from annealed_lm.config import SampleTexts
from annealed_lm.denoiser import DenoiserSettings, DenoisingTransformer
from annealed_lm.diffusion_model import DiffusionModel, ProcessSettings
from annealed_lm.files import read_texts
from tiny import LATENT_DIM, make_autoencoder, write_latents, write_params

NUM_SAMPLES = 20
ALL_STRATEGIES = ["greedy", "beam", "nucleus"]
EFFECTS: list[tuple[dict[str, Any], list[str]]] = [
    ({"seed": 7}, ALL_STRATEGIES),
    ({"sampling_timesteps": 4}, ALL_STRATEGIES),
    ({"ddim_sampling_eta": 0}, ["greedy", "nucleus"]),
    ({"num_beams": 2}, ["beam"]),
    ({"top_p": 0.2}, ["nucleus"]),
    ({"min_length": 11}, ["nucleus"]),
    ({"no_repeat_ngram_size": 1}, ALL_STRATEGIES),
    ({"repetition_penalty": 2.0}, ALL_STRATEGIES),
]
Sample = Callable[..., dict[str, list[str]]]


def write_diffusion(folder: Path, normalize_latent: bool) -> None:
    """An untrained network, on latents as `write_latents` makes them."""
    torch.manual_seed(0)
    settings = DenoiserSettings(
        latent_dim=LATENT_DIM,
        max_length=6,
        tx_dim=8,
        tx_depth=1,
        tx_heads=2,
        dropout=0.0,
        scale_shift=True,
        self_condition=True,
    )
    denoiser = DenoisingTransformer(settings)
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.3)
    DiffusionModel(denoiser, ProcessSettings("cosine", 10, 9, "pred_x0", "l2", normalize_latent)).save(folder)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_latents(folder / "latents")
    autoencoder = make_autoencoder("per_token", latent_dim=LATENT_DIM)
    autoencoder.save(folder / "autoencoder", "0123456789abcdef", "text", {})
    for normalize_latent in (False, True):
        write_diffusion(folder / f"diffusion {normalize_latent}", normalize_latent)
    return folder


@pytest.fixture
def sample(models: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sample:
    """Run the stage with these changes of its parameters; the texts of each strategy."""

    def run(normalize_latent: bool = True, **changes: Any) -> dict[str, list[str]]:
        section = {"num_samples": NUM_SAMPLES, "batch_size": 8, "strategies": ALL_STRATEGIES} | changes
        write_params(tmp_path / "params.yaml", {"sample_texts": section})
        paths = {"params": tmp_path / "params.yaml", "diffusion": models / f"diffusion {normalize_latent}"}
        paths |= {name: models / name for name in ("latents", "autoencoder")} | {"out": tmp_path / "out"}
        arguments = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
        monkeypatch.setattr(sys, "argv", ["sample_texts.py", *arguments])
        sample_texts.main()
        return {path.stem: read_texts(path) for path in (tmp_path / "out").iterdir()}

    return run


def test_every_parameter_is_tried_here() -> None:
    tried = {name for changes, _ in EFFECTS for name in changes}
    assert tried | {"num_samples", "batch_size", "strategies"} == set(SampleTexts.model_fields)


@pytest.mark.parametrize(("changes", "strategies"), EFFECTS, ids=str)
def test_a_parameter_changes_what_it_is_for(changes: dict[str, Any], strategies: list[str], sample: Sample) -> None:
    before, after = sample(), sample(**changes)
    assert {len(texts) for texts in before.values()} == {NUM_SAMPLES}
    changed = {strategy for strategy in ALL_STRATEGIES if before[strategy] != after[strategy]}
    assert changed >= set(strategies)
    if set(changes) <= {"num_beams", "top_p"}:
        assert changed == set(strategies)


@pytest.mark.parametrize("strategy", ALL_STRATEGIES)
def test_only_the_strategies_asked_for_are_written(strategy: str, sample: Sample) -> None:
    everything = sample()
    assert sample(strategies=[strategy]) == {strategy: everything[strategy]}


def test_the_first_samples_do_not_depend_on_their_number_or_batch(sample: Sample) -> None:
    few, many = sample(), sample(num_samples=30, batch_size=30)
    assert {strategy: texts[:NUM_SAMPLES] for strategy, texts in many.items()} == few
    assert {len(texts) for texts in many.values()} == {30}


def test_a_diffusion_of_plain_latents_is_not_brought_to_another_scale(sample: Sample) -> None:
    assert sample(normalize_latent=False) != sample(normalize_latent=True)
