from pathlib import Path
from typing import Any

import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.common.intervals import Interval, parse_interval
from annealed_lm.config.config import load_config
from support.tiny import write_params


@pytest.mark.parametrize(
    ("value", "steps", "seconds"),
    [
        (1, 1, None),
        (200, 200, None),
        ("90s", None, 90),
        ("90 s", None, 90),
        ("0.5s", None, 0.5),
        ("5min", None, 300),
        ("1.5h", None, 5400),
    ],
)
def test_an_interval_is_a_number_of_steps_or_a_time(value: Any, steps: int | None, seconds: float | None) -> None:
    assert parse_interval(value) == Interval(steps, seconds)


@pytest.mark.parametrize(
    "value", [0, -1, 2.5, True, None, [], "", "0s", "-5s", "5", "5m", "min", "5 minutes", "1e3s", "infs", " 5s"]
)
def test_anything_else_is_told_what_is_allowed(value: Any) -> None:
    with pytest.raises(ValueError, match=r"^should be a number of steps greater than 0, or a time such as 90s, 5min or 1h$"):
        parse_interval(value)


@pytest.mark.parametrize("value", [7, "90s", "5min"])
def test_params_yaml_takes_either(value: Any, tmp_path: Path) -> None:
    write_params(tmp_path / "params.yaml", {"train_diffusion": {"checkpoint_every": value}})
    assert load_config(tmp_path / "params.yaml").train_diffusion.checkpoint_every == value


@pytest.mark.parametrize("value", [0, True, 2.5, "often", None])
def test_a_wrong_one_in_params_yaml_is_one_sentence_before_any_work(value: Any, tmp_path: Path) -> None:
    write_params(tmp_path / "params.yaml", {"train_diffusion": {"checkpoint_every": value}})
    with pytest.raises(InputError) as caught:
        load_config(tmp_path / "params.yaml")
    assert str(caught.value) == (
        f"params.yaml: train_diffusion.checkpoint_every = {value!r}: it should be a number of steps greater than 0, "
        "or a time such as 90s, 5min or 1h"
    )
