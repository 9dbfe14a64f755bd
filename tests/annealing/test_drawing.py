import numpy as np
import pytest
import torch
from scipy import stats

from annealed_lm.annealing.drawing import Timesteps, inverse_cdf, stratified_uniforms
from annealed_lm.annealing.t_schedules import T_SCHEDULES
from annealed_lm.annealing.timesteps import make_distribution
from support.tiny import schedule_settings, weight_settings


def random(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("T_schedule", T_SCHEDULES)
@pytest.mark.parametrize("timesteps", [1, 7, 1000])
def test_t_is_below_T_now_at_every_step_and_reaches_its_last(T_schedule: str, timesteps: int) -> None:
    settings = schedule_settings(T_schedule=T_schedule, timesteps=timesteps)
    sampler, diffusion_range = make_distribution(settings), settings.diffusion_range(T_schedule)
    edges = torch.tensor([0.0, 0.5, 1 - 2**-53, 1.0], dtype=torch.float64)  # rounding can make a stratified uniform 1
    for step in range(0, settings.total_steps, 7):
        t = inverse_cdf(sampler.density(step), edges)
        T_now = diffusion_range.max_timestep(step)
        assert t[0] == 0
        assert t[1] in (T_now // 2, (T_now - 1) // 2)
        assert t[2] == t[3] == T_now - 1


def test_any_density_can_be_drawn_from() -> None:
    density = np.array([0.0, 0.1, 0.0, 0.6, 0.3, 0.0])
    counts = np.bincount(inverse_cdf(density, stratified_uniforms(10_000, random())).numpy(), minlength=6)
    assert counts.tolist() == pytest.approx([0, 1000, 0, 6000, 3000, 0], abs=1)


@pytest.mark.parametrize("count", [1, 2, 64, 1000])
def test_one_uniform_falls_into_each_stratum(count: int) -> None:
    uniforms = stratified_uniforms(count, random())
    assert uniforms.dtype == torch.float64
    assert sorted((uniforms * count).floor().tolist()) == list(range(count))


def test_uniforms_come_in_random_order_and_anywhere_in_their_stratum() -> None:
    drawn = torch.stack([stratified_uniforms(16, random(seed)) for seed in range(2000)])
    assert stats.kstest(drawn[:, 0].numpy(), "uniform").pvalue > 0.001  # the first text has no stratum of its own
    assert stats.kstest((drawn[:, 5] * 16 % 1).numpy(), "uniform").pvalue > 0.001


def test_stratified_draws_vary_less_than_independent_ones() -> None:
    density = np.full(250, 1 / 250)
    stratified = [inverse_cdf(density, stratified_uniforms(64, random(i))).double().mean() for i in range(200)]
    independent = [
        inverse_cdf(density, torch.rand(64, generator=random(i), dtype=torch.float64)).double().mean() for i in range(200)
    ]
    assert torch.stack(stratified).std() < torch.stack(independent).std() / 10
    assert float(torch.stack(stratified).mean()) == pytest.approx(124.5, abs=0.5)


def test_what_is_drawn_of_a_step_depends_on_the_step_and_the_generator_only() -> None:
    timesteps = Timesteps(schedule_settings(), weight_settings())
    first, again, later = (timesteps.draw(step, 64, random(0))[0] for step in (100, 100, 900))
    assert torch.equal(first, again)
    assert first.max() < timesteps.drawn_range(100)["T_now"] < later.max()


def test_weights_are_those_of_the_drawn_timesteps() -> None:
    speed = Timesteps(schedule_settings(T_schedule="speed"), weight_settings(loss_weight="min_snr"))
    t, weights = speed.draw(7, 32, random(0))
    assert weights is not None
    expected = speed.weights.at(speed.distribution, 7)
    assert expected is not None
    assert weights.tolist() == pytest.approx(expected[t.numpy()].tolist())
    assert Timesteps(schedule_settings(), weight_settings()).draw(7, 32, random(0))[1] is None
