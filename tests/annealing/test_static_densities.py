import numpy as np
import pytest
from scipy import stats

from annealed_lm.annealing.timesteps import make_distribution
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES
from support.tiny import schedule_settings


@pytest.mark.parametrize(("mean", "std"), [(0, 1), (-1.5, 0.8), (1, 0.3)])
def test_logit_normal_has_its_distribution_function(mean: float, std: float) -> None:
    settings = schedule_settings(T_schedule="logit_normal", logit_normal_mean=mean, logit_normal_std=std, timesteps=500)
    cumulated = make_distribution(settings).density(0).cumsum()
    u = np.arange(1, 500) / 500
    assert cumulated[:-1] == pytest.approx(stats.norm(mean, std).cdf(np.log(u / (1 - u))), abs=1e-12)


@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
@pytest.mark.parametrize(("mean", "scale"), [(0, 0.5), (1, 2)])
def test_laplace_has_its_distribution_function_in_log_snr(noise_schedule: str, mean: float, scale: float) -> None:
    settings = schedule_settings(
        T_schedule="laplace", noise_schedule=noise_schedule, laplace_mean=mean, laplace_scale=scale, timesteps=1000
    )
    log_snr, density = settings.log_snr(), make_distribution(settings).density(0)
    middles = (log_snr[1:] + log_snr[:-1]) / 2
    laplace = stats.laplace(mean, scale)
    low, high = laplace.cdf(1.5 * log_snr[-1] - 0.5 * log_snr[-2]), laplace.cdf(1.5 * log_snr[0] - 0.5 * log_snr[1])
    expected = (high - laplace.cdf(middles)) / (high - low)  # of what lies between the ends, the part before each middle
    assert density.cumsum()[:-1] == pytest.approx(expected, abs=1e-9)


def test_speed_draws_the_growing_noise_so_many_times_as_often_and_weights_its_growth() -> None:
    settings = schedule_settings(T_schedule="speed", speed_tau=0.7, speed_k=5, speed_lambda=0.6, timesteps=1000)
    sampler = make_distribution(settings)
    density, weights = sampler.density(0), sampler.weights(0)
    assert (density[:700] == density[0]).all()
    assert (density[700:] == density[999]).all()
    assert density[0] / density[999] == pytest.approx(5)
    assert weights is not None
    assert weights.min() == pytest.approx(0.4)
    assert weights.max() == pytest.approx(0.6)
    # Of the cosine schedule, 1 - alphas_cumprod is sin^2, which grows fastest in the middle and least at the ends.
    assert 480 < weights.argmax() < 520
    assert weights.argmin() in (0, 999)


def test_speed_at_lambda_one_half_weights_all_alike() -> None:
    weights = make_distribution(schedule_settings(T_schedule="speed", speed_lambda=0.5)).weights(0)
    assert weights is not None
    assert np.ptp(weights) == 0
