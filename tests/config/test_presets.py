import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from annealed_lm.common.errors import InputError
from annealed_lm.config.config import parse_config
from annealed_lm.config.yaml_files import merge_preset

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))


def read(path: Path) -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(path)
    return values


def holds(values: dict[str, Any], preset: dict[str, Any]) -> bool:
    return all(holds(values[key], value) if isinstance(value, dict) else values[key] == value for key, value in preset.items())


def apply(preset: Path, params: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, ROOT / "src" / "apply_preset.py", preset, "--params", params]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


def test_there_are_presets() -> None:
    assert {"e2e_scratch", "roc_scratch", "thesis", "tiny"} <= {preset.stem for preset in PRESETS}


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)
def test_preset_gives_a_valid_run_that_holds_its_values(preset: Path) -> None:
    values = read(ROOT / "params.yaml")
    merge_preset(values, read(preset))
    parse_config(values)
    assert holds(values, read(preset))
    assert not holds(read(ROOT / "params.yaml"), read(preset))


def test_merging_changes_what_the_preset_names_and_nothing_else() -> None:
    values = {"a": 1, "section": {"b": 2, "c": [1]}, "d": None}
    merge_preset(values, {"section": {"c": [2, 3]}, "d": "set"})
    assert values == {"a": 1, "section": {"b": 2, "c": [2, 3]}, "d": "set"}


@pytest.mark.parametrize(
    ("preset", "sentence"),
    [
        ({"T_shedule": "linear"}, "the preset sets T_shedule, which params.yaml does not have"),
        ({"section": {"e": 1}}, "the preset sets section.e, which params.yaml does not have"),
        ({"section": 5}, "section is a section in params.yaml and a value in the preset"),
        ({"a": {"b": 1}}, "a is a value in params.yaml and a section in the preset"),
    ],
)
def test_a_preset_that_does_not_fit_is_refused(preset: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        merge_preset({"a": 1, "section": {"b": 2}}, preset)


def test_script_keeps_comments_order_and_every_other_line(params: Path) -> None:
    before = params.read_text().splitlines()
    assert apply(ROOT / "presets" / "e2e_scratch.yaml", params).returncode == 0
    after = params.read_text().splitlines()
    comments = [line.split("#", 1)[1] for line in before if "#" in line]
    assert [line.split("#", 1)[1] for line in after if "#" in line] == comments
    kept = [
        "random_seed: 42",
        "fetch_pretrained:",
        "  autoencoder_name:",
        "fetch_judges:",
        "  tx_depth: ",
        "  mixed_precision: no",
    ]
    assert all(any(line.startswith(start) for line in after) for start in kept)
    assert read(params)["dataset_name"] == "e2e"
    assert read(params)["sample_texts"]["strategies"] == ["beam", "nucleus"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("train_diffusion:\n  learning_rates: 1\n", "error: the preset sets train_diffusion.learning_rates"),
        ("power: -1\n", "preset.yaml: power = -1: it should be greater than 0"),
        ("power: [1\n", "preset.yaml is not valid YAML"),
        ("", "preset.yaml does not hold keys and values"),
        (None, "preset.yaml is not there"),
    ],
)
def test_script_leaves_params_alone_when_the_preset_is_bad(text: str | None, sentence: str, params: Path, tmp_path: Path) -> None:
    before = params.read_text()
    preset = tmp_path / "preset.yaml"
    if text is not None:
        preset.write_text(text)
    run = apply(preset, params)
    assert run.returncode == 1
    assert sentence in run.stderr
    assert len(run.stderr.splitlines()) == 1
    assert params.read_text() == before
