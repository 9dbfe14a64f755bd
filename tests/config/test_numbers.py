"""Every number in params.yaml is accepted, or refused in one sentence: nothing crashes, warns or takes long."""

import time
from typing import Any

import numpy as np
import pytest
import torch

from annealed_lm.annealing.drawing import Timesteps
from annealed_lm.annealing.timesteps import DISTRIBUTIONS
from annealed_lm.annealing.weights import WeightSettings
from annealed_lm.config.config import Config, schedule_settings, settings_from
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES
from annealed_lm.reporting.report import T_schedule_densities
from support.odd_values import NUMBERS, ODD_VALUES, PARAMS, changed, outcome

REASONABLE: dict[str, list[Any]] = {
    "train_diffusion.num_train_steps": [1, 10**7],
    "train_diffusion.train_batch_size": [1, 10**5],
    "train_diffusion.tx_dim": [8192],
    "train_diffusion.tx_depth": [1, 200],
    "train_diffusion.timesteps": [1000, 4000],
    "train_diffusion.max_grad_norm": [0.001, 1e6],
    "train_diffusion.evaluate_every": [10**8],
    "train_diffusion.tan_d": [0.1, 5, 11.5],
    "train_diffusion.learning_rate": [1e-7, 1.0],
    "train_diffusion.ema_power": [2 / 3],
    "prepare_data.train_texts": [10**5],
    "train_autoencoder.max_tokens": [1024],
    "train_autoencoder.vocab_size": [250_000],
    "sample_texts.top_p": [0.001, 1],
    "sample_texts.num_beams": [64],
    "sample_texts.guidance_weight": [1],
    "sample_texts.autoguidance_weight": [1, 2],
    "prepare_references.bootstrap_samples": [10_000],
}
"""What people train with, and somewhat more."""


def test_there_are_numbers() -> None:
    assert len(NUMBERS) > 80


@pytest.mark.parametrize("key", NUMBERS)
@pytest.mark.filterwarnings("error")
def test_a_number_is_accepted_or_refused_in_one_sentence(key: str) -> None:
    for odd in ODD_VALUES:
        started = time.process_time()
        found = outcome(changed(PARAMS, **{key: odd}))
        assert time.process_time() - started < 1, odd
        if isinstance(found, str):
            assert key.rpartition(".")[2] in found
            assert found.startswith("params.yaml: ")
            assert "\n" not in found
            assert len(found) < 500


@pytest.mark.parametrize("key", NUMBERS)
def test_no_number_is_without_bounds(key: str) -> None:
    for odd in (10**31, -(10**31), 1e308, -1e308, float("nan"), float("inf")):
        assert isinstance(outcome(changed(PARAMS, **{key: odd})), str), odd


@pytest.mark.parametrize("key", REASONABLE)
def test_bounds_leave_room_for_what_people_train_with(key: str) -> None:
    for value in REASONABLE[key]:
        found = outcome(changed(PARAMS, **{"train_diffusion.lr_warmup_steps": 0, key: value}))
        assert isinstance(found, Config), found


OF_TIMESTEPS = sorted(
    {key for kind in DISTRIBUTIONS.values() for key in kind.parameters if key in NUMBERS}
    | {f"train_diffusion.{name}" for name in ("timesteps", "tan_d", "num_train_steps", "min_snr_gamma", "p2_k", "p2_gamma")}
)
"""The numbers that say which timesteps are drawn, and how they weigh."""


@pytest.mark.parametrize("key", OF_TIMESTEPS)
@pytest.mark.filterwarnings("error")
def test_every_T_schedule_draws_with_whatever_is_accepted(key: str) -> None:
    others = {
        "train_diffusion.noise_schedule": "tan" if "tan" in key else "cosine",
        "train_diffusion.loss_weight": "p2" if "p2" in key else "min_snr",
        "sample_texts.sampling_timesteps": 1,
        "train_diffusion.lr_warmup_steps": 0,
    }
    accepted = [config for odd in ODD_VALUES if isinstance(config := outcome(changed(PARAMS, **others, **{key: odd})), Config)]
    assert accepted
    for config in accepted:
        for T_schedule in DISTRIBUTIONS:
            settings = schedule_settings(config.train_diffusion, T_schedule, config.power)
            timesteps = Timesteps(settings, settings_from(config.train_diffusion, WeightSettings))
            for step in (0, settings.total_steps - 1):
                t, weights = timesteps.draw(step, 16, torch.Generator().manual_seed(0))
                assert 0 <= int(t.min()) <= int(t.max()) < settings.timesteps
                assert weights is None or bool(weights.isfinite().all())


@pytest.mark.parametrize("laplace_mean", [-100, 0, 2, 100])
@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
@pytest.mark.parametrize("tan_d", [0.002, 1, 1000])
def test_what_is_accepted_can_be_reported(laplace_mean: float, noise_schedule: str, tan_d: float) -> None:
    """The report draws every T schedule that is known before training, whichever was chosen."""
    section = {"laplace_mean": laplace_mean, "noise_schedule": noise_schedule, "tan_d": tan_d}
    config = outcome(changed(PARAMS, **{f"train_diffusion.{name}": value for name, value in section.items()}))
    if isinstance(config, str):
        assert abs(laplace_mean) == 100 or tan_d != 1
        assert "laplace_mean" in config
        return
    densities = T_schedule_densities(schedule_settings(config.train_diffusion, "normal", config.power))
    assert all(np.isfinite(density).all() for density in densities.values())
