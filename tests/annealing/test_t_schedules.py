import math

import pytest

from annealed_lm.annealing.t_schedules import T_SCHEDULES, DiffusionRange, diffusion_range

SIZES = [(100, 1000), (101, 1000), (80, 1003), (7, 999), (1500, 77), (3, 12)]

TABLES = {  # of the thesis's schedules: T_now by step, for 100 steps and T = 1000
    "normal": {0: 1000, 25: 1000, 50: 1000, 99: 1000},
    "linear": {0: 200, 1: 216, 25: 600, 49: 984, 50: 1000, 99: 1000},
    "polynomial": {0: 200, 1: 200, 25: 400, 49: 968, 50: 1000, 99: 1000},
    "cosine": {0: 200, 1: 200, 25: 600, 49: 999, 50: 1000, 99: 1000},
    "unsmooth": {0: 200, 12: 200, 13: 400, 25: 400, 26: 600, 37: 600, 38: 800, 50: 800, 51: 1000, 99: 1000},
}


def thesis(schedule: str, step: int, total_steps: int, timesteps: int, power: float) -> int:
    """The formulas as they stand in "Efficient Training of Diffusion Language Models"."""
    m, first = total_steps // 2, timesteps // 5
    if schedule == "normal":
        return timesteps
    if schedule == "unsmooth":
        stage = next((k for k in range(1, 5) if step <= m * k / 4), None)
        return timesteps if stage is None else int(stage * timesteps / 5)
    if step >= m:
        return timesteps
    progress = step / m
    share = {
        "linear": progress,
        "polynomial": progress**power,
        "cosine": 1 - 0.5 * (1 + math.cos(math.pi * progress)),
    }[schedule]
    return int(first + share * (timesteps - first))


@pytest.mark.parametrize("schedule", TABLES)
@pytest.mark.parametrize(("total_steps", "timesteps"), SIZES)
@pytest.mark.parametrize("power", [0.5, 2, 3])
def test_equals_the_thesis_formula_at_every_step(schedule: str, total_steps: int, timesteps: int, power: float) -> None:
    for step in range(total_steps):
        expected = thesis(schedule, step, total_steps, timesteps, power)
        assert diffusion_range(schedule, step, total_steps, timesteps, power) == expected, step


@pytest.mark.parametrize("schedule", TABLES)
def test_equals_a_table_written_by_hand(schedule: str) -> None:
    ours = DiffusionRange(schedule, total_steps=100, timesteps=1000)
    assert {step: ours.max_timestep(step) for step in TABLES[schedule]} == TABLES[schedule]


@pytest.mark.parametrize("schedule", T_SCHEDULES)
@pytest.mark.parametrize(("total_steps", "timesteps"), [*SIZES, (1, 1), (2, 1), (10, 4)])
@pytest.mark.parametrize(("start_fraction", "anneal_fraction"), [(0.2, 0.5), (0.001, 1), (1, 0.3), (0.35, 0), (0.7, 0.9)])
def test_grows_from_start_to_the_whole_range(
    schedule: str, total_steps: int, timesteps: int, start_fraction: float, anneal_fraction: float
) -> None:
    ours = DiffusionRange(schedule, total_steps, timesteps, 2, start_fraction, anneal_fraction)
    values = [ours.max_timestep(step) for step in range(total_steps + 1)]
    assert all(type(value) is int and 0 < value <= timesteps for value in values)
    assert values == sorted(values)
    assert set(values[math.floor(total_steps * anneal_fraction) + 1 :]) <= {timesteps}
    if schedule != "normal" and ours.anneal_steps > 0:
        assert values[0] == max(int(timesteps * start_fraction), 1)


def test_power_bends_polynomial_and_no_other() -> None:
    at_power = {schedule: {diffusion_range(schedule, 20, 100, 1000, power) for power in (1, 2, 3)} for schedule in T_SCHEDULES}
    assert {schedule for schedule, values in at_power.items() if len(values) > 1} == {"polynomial"}


def test_a_decimal_fraction_is_read_as_it_is_written() -> None:
    # 0.29 * 100 is 28.999999999999996 in floating point
    assert DiffusionRange("linear", total_steps=100, timesteps=1000, anneal_fraction=0.29).anneal_steps == 29
    assert diffusion_range("linear", 0, 1000, 100, start_fraction=0.29) == 29


def test_unknown_schedule_is_refused_with_the_known_ones() -> None:
    with pytest.raises(ValueError, match="'linaer' is not one of normal, linear, cosine, polynomial, unsmooth"):
        diffusion_range("linaer", 0, 100, 1000)
