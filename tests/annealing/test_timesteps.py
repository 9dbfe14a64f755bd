"""The contract that every value of T_schedule keeps: a distribution that breaks it cannot be registered."""

import numpy as np
import pytest
import torch
from scipy import stats

from annealed_lm.annealing.drawing import Timesteps, inverse_cdf
from annealed_lm.annealing.settings import TimestepDistribution
from annealed_lm.annealing.timesteps import DISTRIBUTIONS, make_distribution
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES
from support.tiny import SCHEDULE, schedule_settings, weight_settings

DRAWS = 1_000_000
BATCH = 64
STEPS = (0, 1, 130, 250, 499, 500, 999)


def trained(
    T_schedule: str, steps: int = 0, distribution: TimestepDistribution | None = None, first: int = 0
) -> TimestepDistribution:
    """A distribution that has seen the losses of so many steps from `first` on: what a network of unit Gaussians would have."""
    settings = schedule_settings(T_schedule=T_schedule)
    distribution = distribution or make_distribution(settings)
    errors = 1 - settings.alphas_cumprod()
    for step in range(first, first + steps):
        random = np.random.default_rng(step)
        t = random.choice(settings.timesteps, BATCH, p=distribution.density(step))
        if distribution.observes:
            distribution.observe(step, t, errors[t] * random.chisquare(20, BATCH) / 20)
    return distribution


def of_training(distribution: TimestepDistribution) -> Timesteps:
    """The timesteps of a training that draws from this very distribution."""
    timesteps = Timesteps(schedule_settings(), weight_settings())
    timesteps.distribution = distribution
    return timesteps


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
@pytest.mark.parametrize("step", STEPS)
def test_draws_follow_the_stated_density(T_schedule: str, step: int) -> None:
    density = trained(T_schedule, steps=200).density(step)
    assert density.shape == (SCHEDULE.timesteps,)
    assert density.dtype == np.float64
    assert density.sum() == pytest.approx(1, abs=1e-12)
    assert (density >= 0).all()
    uniforms = torch.rand(DRAWS, generator=torch.Generator().manual_seed(step), dtype=torch.float64)
    t = inverse_cdf(density, uniforms)
    assert t.dtype == torch.int64
    counts = np.bincount(t.numpy(), minlength=SCHEDULE.timesteps)
    drawn = density > 0
    assert counts[~drawn].sum() == 0
    often = density * DRAWS >= 5  # for the rare ones together, the chi-square approximation holds
    observed = np.append(counts[often], counts[~often].sum())
    expected = np.append(density[often], density[~often].sum()) * DRAWS
    kept = expected > 0
    assert stats.chisquare(observed[kept], expected[kept]).pvalue > 0.001


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
@pytest.mark.parametrize("steps", [0, 3, 400])
def test_weights_are_finite_and_positive_wherever_t_is_drawn(T_schedule: str, steps: int) -> None:
    distribution = trained(T_schedule, steps)
    for step in STEPS:
        weights = distribution.weights(step)
        if weights is not None:
            assert weights.shape == (SCHEDULE.timesteps,)
            assert np.isfinite(weights).all()
            assert (weights[distribution.density(step) > 0] > 0).all()


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
@pytest.mark.parametrize("timesteps", [1, 2, 7, 1000])
@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
@pytest.mark.parametrize("range_in", ["t", "log_snr"])
def test_any_number_of_timesteps_has_a_density(T_schedule: str, timesteps: int, noise_schedule: str, range_in: str) -> None:
    settings = schedule_settings(T_schedule=T_schedule, timesteps=timesteps, noise_schedule=noise_schedule, range_in=range_in)
    distribution = make_distribution(settings)
    for step in (0, 250, 999):
        density = distribution.density(step)
        assert density.shape == (timesteps,)
        assert density.sum() == pytest.approx(1)
        assert (density >= 0).all()


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
@pytest.mark.parametrize("interrupted_after", [1, 57, 250])
def test_state_round_trips_and_what_resumes_goes_on_as_if_nothing_had_been(T_schedule: str, interrupted_after: int) -> None:
    whole = trained(T_schedule, steps=300)
    stopped = trained(T_schedule, steps=interrupted_after)
    saved = of_training(stopped).state_dict()
    resumed = make_distribution(schedule_settings(T_schedule=T_schedule))
    of_training(resumed).load_state_dict(saved)
    trained(T_schedule, 1, stopped, interrupted_after)  # what was saved is a copy: going on does not change it
    resumed = trained(T_schedule, 300 - interrupted_after, resumed, interrupted_after)
    for step in (299, 999):
        assert np.array_equal(whole.density(step), resumed.density(step))
    ours, theirs = of_training(whole).state_dict(), of_training(resumed).state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours | theirs)
    assert {name: value.shape for name, value in saved.items()} == {name: value.shape for name, value in theirs.items()}


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
def test_only_what_depends_on_losses_observes_them(T_schedule: str) -> None:
    kind, distribution = DISTRIBUTIONS[T_schedule], make_distribution(schedule_settings(T_schedule=T_schedule))
    assert distribution.observes == kind.depends_on_losses == bool(distribution.state())
    if not distribution.observes:
        with pytest.raises(TypeError, match="depends on no losses"):
            distribution.observe(0, np.array([0]), np.array([1.0]))


PARAMETERS = {
    "power": 3,
    "train_diffusion.start_fraction": 0.4,
    "train_diffusion.anneal_fraction": 0.9,
    "train_diffusion.range_in": "log_snr",
    "train_diffusion.base_schedule": "cosine",
    "train_diffusion.logit_normal_mean": -1.0,
    "train_diffusion.logit_normal_std": 2.0,
    "train_diffusion.laplace_mean": 1.0,
    "train_diffusion.laplace_scale": 2.0,
    "train_diffusion.speed_tau": 0.3,
    "train_diffusion.speed_k": 2.0,
    "train_diffusion.speed_lambda": 0.9,
}


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
@pytest.mark.parametrize("key", PARAMETERS)
def test_a_distribution_reads_the_parameters_that_it_names_and_no_other(T_schedule: str, key: str) -> None:
    before = schedule_settings(T_schedule=T_schedule, base_schedule="linear")
    after = schedule_settings(T_schedule=T_schedule, **{"base_schedule": "linear", key.rpartition(".")[2]: PARAMETERS[key]})
    read = set(DISTRIBUTIONS[T_schedule].parameters)
    if "train_diffusion.base_schedule" in read:
        read |= set(DISTRIBUTIONS["linear"].parameters)
    one, other = make_distribution(before), make_distribution(after)
    differ = any(
        not np.array_equal(one.density(step), other.density(step))
        or not np.array_equal(
            np.ones(1) if one.weights(step) is None else one.weights(step),
            np.ones(1) if other.weights(step) is None else other.weights(step),
        )
        for step in range(0, 1000, 50)
    )
    assert differ == (key in read)
