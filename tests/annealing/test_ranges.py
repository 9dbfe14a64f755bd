import time
from collections import Counter

import numpy as np
import pytest

from annealed_lm.annealing.ranges import GrowingRange
from annealed_lm.annealing.t_schedules import T_SCHEDULES
from annealed_lm.annealing.timesteps import make_distribution
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES
from support.tiny import schedule_settings

QUINTILES = {  # of [0, T): how often each is drawn over a training, beside uniform draws; integrals over time for large N and T
    ("linear", 2): [1.507, 1.264, 0.937, 0.725, 0.567],
    ("cosine", 2): [1.62, 1.152, 0.876, 0.738, 0.613],
    ("polynomial", 2): [1.887, 1.169, 0.782, 0.627, 0.535],
    ("polynomial", 3): [2.122, 1.059, 0.706, 0.589, 0.524],
    ("unsmooth", 2): [1.803, 1.177, 0.864, 0.656, 0.5],
}


@pytest.mark.parametrize("T_schedule", T_SCHEDULES)
@pytest.mark.parametrize(("start_fraction", "anneal_fraction"), [(0.2, 0.5), (0.01, 1.0), (0.7, 0.3), (1.0, 0.5)])
def test_the_density_is_uniform_below_T_now_and_nothing_above(
    T_schedule: str, start_fraction: float, anneal_fraction: float
) -> None:
    settings = schedule_settings(T_schedule=T_schedule, start_fraction=start_fraction, anneal_fraction=anneal_fraction)
    sampler, diffusion_range = make_distribution(settings), settings.diffusion_range(T_schedule)
    for step in (0, 1, 130, 250, 499, 500, 999):
        density, T_now = sampler.density(step), diffusion_range.max_timestep(step)
        assert (density[:T_now] == 1 / T_now).all()
        assert not density[T_now:].any()


@pytest.mark.parametrize("base_schedule", T_SCHEDULES)
def test_reverse_is_the_mirror_image_of_its_base(base_schedule: str) -> None:
    reverse = make_distribution(schedule_settings(T_schedule="reverse", base_schedule=base_schedule))
    base = make_distribution(schedule_settings(T_schedule=base_schedule))
    for step in range(0, 1000, 9):
        assert np.array_equal(reverse.density(step), base.density(step)[::-1])


@pytest.mark.parametrize("base_schedule", T_SCHEDULES)
@pytest.mark.parametrize("range_in", ["t", "log_snr"])
@pytest.mark.parametrize(("static", "moving"), [("static", None), ("static_reverse", "reverse")])
@pytest.mark.parametrize(("total_steps", "timesteps"), [(1000, 250), (37, 1000)])
def test_static_draws_each_t_as_often_as_its_schedule_does_over_a_training(
    base_schedule: str, range_in: str, static: str, moving: str | None, total_steps: int, timesteps: int
) -> None:
    shared = {"base_schedule": base_schedule, "range_in": range_in, "total_steps": total_steps, "timesteps": timesteps}
    schedule = make_distribution(schedule_settings(T_schedule=moving or base_schedule, **shared))
    average = np.mean([schedule.density(step) for step in range(total_steps)], axis=0)
    fixed = make_distribution(schedule_settings(T_schedule=static, **shared))
    assert fixed.density(0) == pytest.approx(average, rel=1e-3)  # the measure; in fact it is exact but for rounding
    assert fixed.density(0) == pytest.approx(average, rel=1e-9)
    assert np.array_equal(fixed.density(0), fixed.density(total_steps - 1))


@pytest.mark.parametrize(("schedule", "power"), QUINTILES)
def test_the_time_average_is_the_integral_over_the_training(schedule: str, power: float) -> None:
    settings = schedule_settings(T_schedule="static", base_schedule=schedule, power=power, timesteps=1000, total_steps=20_000)
    density = make_distribution(settings).density(0)
    assert density.reshape(5, 200).sum(1) * 5 == pytest.approx(QUINTILES[schedule, power], abs=2e-3)


@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
@pytest.mark.parametrize("from_noise", [False, True])
def test_a_range_in_log_snr_reaches_the_same_log_snr_under_every_noise_schedule(noise_schedule: str, from_noise: bool) -> None:
    settings = schedule_settings(noise_schedule=noise_schedule, tan_d=3, range_in="log_snr", timesteps=1000)
    sampler = GrowingRange(settings, "linear", from_noise)
    log_snr = settings.log_snr()
    for step in range(0, 1000, 13):
        share = min(0.2 + 0.8 * step / 500, 1)
        reached = -10 + 20 * share if from_noise else 10 - 20 * share
        drawn = sampler.density(step).nonzero()[0]
        assert (999 if from_noise else 0) in drawn
        assert len(drawn) == np.ptp(drawn) + 1 == sampler.size(step)
        inside = log_snr[drawn] <= reached + 1e-9 if from_noise else log_snr[drawn] >= reached - 1e-9
        beyond = log_snr[drawn.min() - 1] if from_noise else log_snr[min(drawn.max() + 1, 999)]
        if len(drawn) > 1:
            assert inside.all() or len(drawn) == 1000
        if len(drawn) < 1000:
            assert beyond > reached if from_noise else beyond < reached
    assert sampler.size(500) == 1000


@pytest.mark.parametrize("T_schedule", T_SCHEDULES)
@pytest.mark.parametrize("range_in", ["t", "log_snr"])
@pytest.mark.parametrize("from_noise", [False, True])
@pytest.mark.parametrize("total_steps", [1, 2, 3, 100, 1201])
def test_steps_of_a_size_are_counted_as_one_by_one(T_schedule: str, range_in: str, from_noise: bool, total_steps: int) -> None:
    sampler = GrowingRange(schedule_settings(range_in=range_in, total_steps=total_steps), T_schedule, from_noise)
    assert sampler.steps_by_size() == Counter(sampler.size(step) for step in range(total_steps))


@pytest.mark.parametrize("base_schedule", T_SCHEDULES)
def test_the_average_over_a_training_of_any_length_takes_no_time(base_schedule: str) -> None:
    started = time.process_time()
    shared = {"T_schedule": "static", "base_schedule": base_schedule, "timesteps": 1000}
    density = make_distribution(schedule_settings(total_steps=10**8, **shared)).density(0)
    assert time.process_time() - started < 1
    assert density.sum() == pytest.approx(1)
    fewer = make_distribution(schedule_settings(total_steps=10**4, **shared))
    assert density == pytest.approx(fewer.density(0), rel=0.01)
