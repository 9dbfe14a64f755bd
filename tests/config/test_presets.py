from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from annealed_lm.config.config import parse_config
from annealed_lm.config.yaml_files import merge_preset

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return values


def holds(values: dict[str, Any], preset: dict[str, Any]) -> bool:
    return all(holds(values[key], value) if isinstance(value, dict) else values[key] == value for key, value in preset.items())


def test_there_are_presets() -> None:
    assert {"e2e_scratch", "roc_scratch", "thesis", "tiny"} <= {preset.stem for preset in PRESETS}


def test_one_preset_is_all_that_params_yaml_says() -> None:
    assert read(ROOT / "presets" / "restaurants.yaml") == read(ROOT / "params.yaml")


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_preset_gives_a_valid_run_that_holds_its_values(preset: Path) -> None:
    values = read(ROOT / "params.yaml")
    merge_preset(values, read(preset))
    parse_config(values)
    assert holds(values, read(preset))
    assert holds(read(ROOT / "params.yaml"), read(preset)) == (preset.stem == "restaurants")
    merge_preset(values, read(ROOT / "presets" / "restaurants.yaml"))
    assert values == read(ROOT / "params.yaml")  # the way back
