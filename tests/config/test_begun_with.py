"""A stage of a run by DVC whose params.yaml another run, or an edit, has changed meanwhile."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from annealed_lm.common.errors import InputError
from annealed_lm.config.config import load_config
from support.tiny import write_params


@pytest.fixture
def params(tmp_path: Path) -> Path:
    """params.yaml beside the dvc.lock that a first stage leaves, to which these parameters were given."""
    write_params(tmp_path / "params.yaml", {"power": 3})
    given = YAML(typ="safe", pure=True).load(tmp_path / "params.yaml")
    lock_params(tmp_path / "dvc.lock", {"params.yaml": given})
    return tmp_path / "params.yaml"


def lock_params(lock: Path, params: dict[str, Any]) -> None:
    YAML().dump({"schema": "2.0", "stages": {"validate_params": {"cmd": "python", "params": params}}}, lock)


@pytest.mark.parametrize("stage", ["validate_params", "train_diffusion"])
def test_parameters_that_stay_are_those_of_the_run(stage: str, params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_STAGE", stage)
    assert load_config(params).power == 3


def test_parameters_that_changed_end_a_later_stage_in_a_sentence(params: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_params(params, {"power": 3, "train_diffusion": {"timesteps": 120}})
    monkeypatch.setenv("DVC_STAGE", "train_diffusion")
    told = r"params.yaml has changed since this run began \(train_diffusion.timesteps is 120, was 100\): a checkout takes one run"
    with pytest.raises(InputError, match=told):
        load_config(params)


@pytest.mark.parametrize("stage", ["validate_params", None])
def test_the_first_stage_and_whoever_is_not_run_by_dvc_take_what_there_is(
    stage: str | None, params: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_params(params, {"power": 4})
    monkeypatch.delenv("DVC_STAGE", raising=False)
    if stage:
        monkeypatch.setenv("DVC_STAGE", stage)
    assert load_config(params).power == 4


def test_without_a_record_of_the_first_stage_there_is_nothing_to_compare_with(
    params: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DVC_STAGE", "train_diffusion")
    lock_params(params.with_name("dvc.lock"), {})
    write_params(params, {"power": 4})
    assert load_config(params).power == 4
    params.with_name("dvc.lock").unlink()
    assert load_config(params).power == 4
