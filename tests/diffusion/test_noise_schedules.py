import numpy as np
import pytest
from diffusers import DDPMScheduler

from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES, cosine, linear, sqrt, tan


@pytest.mark.parametrize("name", NOISE_SCHEDULES)
@pytest.mark.parametrize("timesteps", [2, 10, 250, 1000, 4000])
@pytest.mark.parametrize("d", [0.5, 1, 9])
def test_signal_falls_through_the_open_unit_interval(name: str, timesteps: int, d: float) -> None:
    signal = NOISE_SCHEDULES[name](timesteps, d)
    assert signal.shape == (timesteps,)
    assert signal.dtype == np.float64
    assert signal[-1] > 0
    assert signal[0] < 1
    assert (np.diff(signal) < 0).all()


@pytest.mark.parametrize("timesteps", [100, 1000])
def test_cosine_equals_the_one_of_diffusers(timesteps: int) -> None:
    theirs = DDPMScheduler(num_train_timesteps=timesteps, beta_schedule="squaredcos_cap_v2").alphas_cumprod.numpy()
    np.testing.assert_allclose(cosine(timesteps, 1), theirs, rtol=1e-3, atol=1e-7)


@pytest.mark.parametrize("timesteps", [100, 1000])
def test_linear_equals_the_one_of_diffusers_scaled_to_its_length(timesteps: int) -> None:
    scale = 1000 / timesteps
    theirs = DDPMScheduler(num_train_timesteps=timesteps, beta_start=scale * 1e-4, beta_end=scale * 0.02).alphas_cumprod.numpy()
    np.testing.assert_allclose(linear(timesteps, 1), theirs, rtol=1e-3, atol=1e-7)


def test_sqrt_equals_its_formula() -> None:
    np.testing.assert_allclose(sqrt(4, 1)[:3], 1 - np.sqrt([0.25, 0.5, 0.75]), atol=1e-3)


def test_tan_halves_the_signal_where_d_tan_is_one() -> None:
    # tan(pi / 4) = 1 at u = 1/2; tan(pi / 6) = 1 / sqrt(3) at u = 1/3
    assert tan(1000, 1)[499] == pytest.approx(0.5)
    assert tan(999, 3**0.5)[332] == pytest.approx(0.5)


def test_larger_d_leaves_less_signal() -> None:
    assert (tan(100, 9)[:-1] < tan(100, 3)[:-1]).all()
