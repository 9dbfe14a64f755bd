import numpy as np
import pytest

from annealed_lm.annealing.timesteps import make_distribution
from annealed_lm.annealing.weights import TimestepWeights
from support.tiny import schedule_settings, weight_settings

SETTINGS = schedule_settings(timesteps=1000)
ALPHAS_CUMPROD = SETTINGS.alphas_cumprod()
SNR = ALPHAS_CUMPROD / (1 - ALPHAS_CUMPROD)
UNIFORM = make_distribution(schedule_settings(T_schedule="normal", timesteps=1000))

CLOSED_FORMS = {  # as the papers state them, for each objective
    ("min_snr", "pred_x0"): np.minimum(SNR, 5),
    ("min_snr", "pred_noise"): np.minimum(SNR, 5) / SNR,
    ("min_snr", "pred_v"): np.minimum(SNR, 5) / (SNR + 1),
    ("p2", "pred_noise"): 1 / (0.5 + SNR) ** 2,
    ("p2", "pred_x0"): SNR / (0.5 + SNR) ** 2,
    ("p2", "pred_v"): SNR / (0.5 + SNR) ** 2 / (SNR + 1),
}


@pytest.mark.parametrize(("loss_weight", "objective"), CLOSED_FORMS)
def test_a_weight_is_that_of_its_paper(loss_weight: str, objective: str) -> None:
    settings = weight_settings(loss_weight=loss_weight, objective=objective, min_snr_gamma=5, p2_k=0.5, p2_gamma=2)
    weights = TimestepWeights(settings, ALPHAS_CUMPROD, 1000).at(UNIFORM, 0)
    assert weights == pytest.approx(CLOSED_FORMS[loss_weight, objective])


def test_no_weights_are_none() -> None:
    assert TimestepWeights(weight_settings(), ALPHAS_CUMPROD, 1000).at(UNIFORM, 0) is None


@pytest.mark.parametrize("T_schedule", ["static", "logit_normal", "speed", "loss_second_moment", "reverse", "linear"])
def test_inverse_density_leaves_the_expected_loss_that_of_uniform_t_where_t_is_drawn(T_schedule: str) -> None:
    sampler = make_distribution(schedule_settings(T_schedule=T_schedule, timesteps=1000))
    weights = TimestepWeights(weight_settings(sampling_weights="inverse_density"), ALPHAS_CUMPROD, 1000)
    losses = np.random.default_rng(0).random(1000)
    for step in (0, 200, 999):
        density, at = sampler.density(step), weights.at(sampler, step)
        assert at is not None
        assert np.isfinite(at).all()
        assert density @ (at * losses) == pytest.approx(losses[density > 0].sum() / 1000)


def test_published_weights_are_the_samplers_own_and_none_are_none() -> None:
    speed = make_distribution(schedule_settings(T_schedule="speed", timesteps=1000))
    published = TimestepWeights(weight_settings(), ALPHAS_CUMPROD, 1000).at(speed, 0)
    assert np.array_equal(published, speed.weights(0))
    assert TimestepWeights(weight_settings(sampling_weights="none"), ALPHAS_CUMPROD, 1000).at(speed, 0) is None


def test_the_two_kinds_multiply() -> None:
    speed = make_distribution(schedule_settings(T_schedule="speed", timesteps=1000))
    weights = TimestepWeights(weight_settings(loss_weight="min_snr"), ALPHAS_CUMPROD, 1000).at(speed, 0)
    assert weights == pytest.approx(np.minimum(SNR, 5) * speed.weights(0))
