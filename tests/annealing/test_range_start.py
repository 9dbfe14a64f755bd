"""A range that starts above 0: no T schedule draws below, and each is over the rest what it was over the whole."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from annealed_lm.annealing.drawing import Timesteps
from annealed_lm.annealing.settings import ScheduleSettings
from annealed_lm.annealing.t_schedules import T_SCHEDULES
from annealed_lm.annealing.timesteps import DISTRIBUTIONS, make_distribution
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES, log_snr
from support.tiny import schedule_settings, weight_settings

STEPS = (0, 130, 499, 999)


def trained(settings: ScheduleSettings, steps: int) -> Timesteps:
    """The timesteps of a training after so many steps, of a network of unit Gaussians."""
    timesteps = Timesteps(settings, weight_settings())
    errors = 1 - settings.alphas_cumprod()
    for step in range(steps):
        t, _ = timesteps.draw(step, 64, torch.Generator().manual_seed(step))
        if timesteps.observes:
            timesteps.observe(step, t.numpy(), errors[t.numpy()])
    return timesteps


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
@pytest.mark.parametrize("range_in", ["t", "log_snr"])
@pytest.mark.parametrize("range_start", [0.3, 0.55, 0.999])
def test_nothing_below_is_ever_drawn(T_schedule: str, range_in: str, range_start: float) -> None:
    settings = schedule_settings(T_schedule=T_schedule, range_in=range_in, range_start=range_start)
    first = settings.first_timestep
    assert first > 0
    timesteps = trained(settings, 300)
    for step in STEPS:
        density, weights = timesteps.distribution.density(step), timesteps.distribution.weights(step)
        assert density.shape == (settings.timesteps,)
        assert density.sum() == pytest.approx(1)
        assert not density[:first].any()
        assert weights is None or (weights[density > 0] > 0).all()
        t, drawn_with = timesteps.draw(step, 500, torch.Generator().manual_seed(step))
        assert int(t.min()) >= first
        assert drawn_with is None or bool(drawn_with.isfinite().all())
        drawn = timesteps.drawn_range(step)
        assert first <= drawn["T_low"] <= drawn["mean_t"] < drawn["T_now"] <= settings.timesteps


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
def test_a_start_at_0_changes_nothing(T_schedule: str) -> None:
    settings = schedule_settings(T_schedule=T_schedule, range_start=0)
    assert settings.first_timestep == 0
    assert type(make_distribution(settings)) is type(DISTRIBUTIONS[T_schedule].make(settings))


@pytest.mark.parametrize("base", T_SCHEDULES)
@pytest.mark.parametrize("reverse", [False, True])
def test_a_range_grows_over_what_is_left(base: str, reverse: bool) -> None:
    shared = {"T_schedule": "reverse", "base_schedule": base} if reverse else {"T_schedule": base}
    part = make_distribution(schedule_settings(timesteps=250, range_start=0.4, **shared))
    alone = make_distribution(schedule_settings(timesteps=150, **shared))
    for step in range(0, 1000, 37):
        np.testing.assert_allclose(part.density(step)[100:], alone.density(step))


@pytest.mark.parametrize("reverse", [False, True])
def test_a_range_in_log_snr_grows_from_its_start_to_all_of_the_rest(reverse: bool) -> None:
    shared = {"T_schedule": "reverse" if reverse else "linear", "base_schedule": "linear", "range_in": "log_snr"}
    settings = schedule_settings(range_start=0.4, timesteps=1000, **shared)
    sizes = [int((make_distribution(settings).density(step) > 0).sum()) for step in range(0, 1000, 50)]
    assert sizes == sorted(sizes)
    assert sizes[-1] == settings.trained_timesteps
    values = settings.log_snr()
    drawn = make_distribution(settings).density(0)[settings.first_timestep :] > 0
    reached = -10.0 if reverse else values[0]
    way = np.abs(np.clip(values[drawn], -10, 10) - reached).max()
    assert way == pytest.approx(0.2 * (values[0] + 10), abs=0.3)  # start_fraction of the way that is left


@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
def test_a_start_in_log_snr_means_the_same_noise_under_every_noise_schedule(noise_schedule: str) -> None:
    settings = schedule_settings(timesteps=1000, noise_schedule=noise_schedule, range_in="log_snr", range_start=0.55)
    first = settings.first_timestep
    values = log_snr(settings.alphas_cumprod())
    assert values[first] <= 10 - 0.55 * 20 < values[first - 1]


def test_the_share_is_read_as_the_decimal_that_was_written() -> None:
    assert schedule_settings(timesteps=1000, range_start=0.29).first_timestep == 290  # 1000 * 0.29 is 289.99999999999994


def test_laplace_keeps_the_noise_that_it_is_about() -> None:
    whole = schedule_settings(T_schedule="laplace", laplace_mean=-2.0)
    part = replace(whole, range_start=0.5)
    first = part.first_timestep
    expected = make_distribution(whole).density(0)[first + 1 :]
    found = make_distribution(part).density(0)[first + 1 :]
    np.testing.assert_allclose(found / found.sum(), expected / expected.sum())


def test_inverse_density_weights_have_mean_1_over_the_range() -> None:
    settings = schedule_settings(T_schedule="laplace", range_start=0.5)
    timesteps = Timesteps(settings, weight_settings(sampling_weights="inverse_density"))
    density = timesteps.distribution.density(0)
    weights = timesteps.weights.at(timesteps.distribution, 0)
    assert weights is not None
    assert float(weights @ density) == pytest.approx(1)
    assert weights[density > 0] * density[density > 0] == pytest.approx(1 / settings.trained_timesteps)
