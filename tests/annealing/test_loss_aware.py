import numpy as np
import pytest

from annealed_lm.annealing.loss_aware import (
    BINS,
    HISTORY,
    LEAST_OBSERVATIONS,
    REFRESH_EVERY,
    UNIFORM_SHARE,
    LossCurve,
    LossSecondMoment,
)
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES
from support.tiny import schedule_settings

BATCH = 128


def hand_over(sampler: LossCurve | LossSecondMoment, losses_at: np.ndarray, steps: int, noise: float = 0) -> None:
    """Hand over so many batches of losses that depend on t, times noise of this deviation."""
    for step in range(steps):
        random = np.random.default_rng(step)
        t = random.choice(len(losses_at), BATCH, p=sampler.density(step))
        sampler.observe(step, t, losses_at[t] * (1 + noise * random.standard_normal(BATCH)))


def test_the_second_moment_is_uniform_until_every_t_has_ten_losses() -> None:
    sampler = LossSecondMoment(schedule_settings(timesteps=5))
    for _ in range(HISTORY - 1):
        sampler.observe(0, np.arange(5), np.arange(5.0))
    sampler.observe(0, np.arange(4), np.arange(4.0))
    assert sampler.density(0).tolist() == [0.2] * 5
    sampler.observe(0, np.array([4]), np.array([4.0]))
    assert sampler.density(0) == pytest.approx(0.999 * np.arange(5) / 10 + 0.001 / 5)


def test_the_second_moment_is_that_of_the_last_ten_losses() -> None:
    sampler = LossSecondMoment(schedule_settings(timesteps=2))
    for loss in range(1, 26):
        sampler.observe(0, np.array([0, 1, 1]), np.array([loss, 1.0, 3.0]))
    first, second = np.sqrt(np.mean(np.arange(16, 26) ** 2)), np.sqrt((1 + 9) / 2)
    assert sampler.density(0) == pytest.approx(0.999 * np.array([first, second]) / (first + second) + 0.0005)


def test_its_weights_leave_the_expected_loss_that_of_uniform_t() -> None:
    settings = schedule_settings(timesteps=20)
    sampler, losses = LossSecondMoment(settings), np.random.default_rng(0).random(20)
    hand_over(sampler, losses, 100)
    assert np.ptp(sampler.density(0)) > 0.01
    assert sampler.density(0) @ (sampler.weights(0) * losses) == pytest.approx(losses.mean())


def test_losses_of_zero_do_not_break_it() -> None:
    sampler = LossSecondMoment(schedule_settings(timesteps=3))
    hand_over(sampler, np.zeros(3), 50)
    assert sampler.density(0) == pytest.approx(np.full(3, 1 / 3))


@pytest.mark.parametrize("noise_schedule", ["cosine", "linear", "tan"])
@pytest.mark.parametrize("objective", ["pred_x0", "pred_noise", "pred_v"])
def test_on_unit_gaussians_the_loss_curve_draws_t_as_the_signal_falls(noise_schedule: str, objective: str) -> None:
    """The best prediction of a unit Gaussian has the error 1 / (1 + SNR) = 1 - alphas_cumprod, whose slope is the density."""
    settings = schedule_settings(noise_schedule=noise_schedule, objective=objective, timesteps=1000)
    errors = 1 - settings.alphas_cumprod()
    sampler = LossCurve(settings)
    hand_over(sampler, errors / settings.to_x_start(), steps=1000, noise=0.3)
    exact = np.diff(errors, prepend=0.0)
    expected = (1 - UNIFORM_SHARE) * exact / exact.sum() + UNIFORM_SHARE / 1000
    distance, of_uniform = (np.abs(each - expected).sum() / 2 for each in (sampler.density(0), 1 / 1000))  # total variation
    assert distance < min(0.13, of_uniform / 2)


def test_the_loss_grows_linearly_in_the_uniform_number() -> None:
    settings = schedule_settings(timesteps=1000)
    errors = np.linspace(0, 1, 1000) ** 3
    sampler = LossCurve(settings)
    hand_over(sampler, errors, steps=600)
    cumulated = sampler.density(0).cumsum()
    share = (cumulated - UNIFORM_SHARE * np.arange(1, 1001) / 1000) / (1 - UNIFORM_SHARE)
    assert np.abs(share - errors).max() < 0.03


def test_the_curve_is_used_only_when_every_bin_has_its_losses_and_only_now_and_then() -> None:
    settings = schedule_settings(timesteps=100)
    sampler = LossCurve(settings)
    densities = []
    for step in range(200):
        t = np.random.default_rng(step).integers(0, 100, BATCH)
        sampler.observe(step, t, t / 100)
        densities.append(sampler.density(step))
        if step < LEAST_OBSERVATIONS * BINS // BATCH:
            assert np.ptp(densities[-1]) == 0
    changes = [step for step in range(1, 200) if not np.array_equal(densities[step], densities[step - 1])]
    assert changes
    assert all((step + 1) % REFRESH_EVERY == 0 for step in changes)


@pytest.mark.parametrize("losses", [np.ones(1000), np.linspace(0.95, 1, 1000)])
def test_a_loss_that_hardly_rises_is_no_slope_to_follow(losses: np.ndarray) -> None:
    sampler = LossCurve(schedule_settings(timesteps=1000))
    hand_over(sampler, losses, steps=200, noise=0.1)
    assert np.ptp(sampler.density(0)) == 0


def test_a_floor_of_the_loss_draws_nothing_to_the_low_end() -> None:
    sampler = LossCurve(schedule_settings(timesteps=1000))
    hand_over(sampler, np.linspace(0.6, 1, 1000), steps=400)
    assert sampler.density(0)[:20].sum() < 0.04  # of a straight line, uniform: 0.02


def test_no_timestep_is_forgotten() -> None:
    sampler = LossCurve(schedule_settings(timesteps=100))
    hand_over(sampler, np.where(np.arange(100) < 50, 0.0, 1.0), steps=300)
    assert sampler.density(0).min() == pytest.approx(UNIFORM_SHARE / 100)


@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
@pytest.mark.parametrize("error", [0.001, 0.01, 0.1])
def test_an_error_of_the_noise_where_no_signal_is_left_draws_nothing_there(noise_schedule: str, error: float) -> None:
    """Of unit Gaussians the best prediction of the noise has the error alphas_cumprod; the network's is a little larger."""
    settings = schedule_settings(objective="pred_noise", noise_schedule=noise_schedule, timesteps=1000)
    sampler = LossCurve(settings)
    hand_over(sampler, settings.alphas_cumprod() + error, steps=1000, noise=0.3)
    known = 1 - settings.alphas_cumprod()
    rise = (known[-1] - known[960]) / (known[-1] - known[0])
    assert sampler.density(0)[960:].sum() < 0.9 * rise + 0.1 * 0.04 + 0.05  # 0.6 and more, where 1 / SNR decides
    assert sampler.density(0)[:500].sum() > 0.2


def test_the_loss_of_x_start_itself_is_taken_at_its_word() -> None:
    sampler = LossCurve(schedule_settings(objective="pred_x0", timesteps=1000))
    hand_over(sampler, np.linspace(0, 9, 1000), steps=600)
    assert sampler.density(0)[:500].sum() == pytest.approx(0.5, abs=0.03)
