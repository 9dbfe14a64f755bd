from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from annealed_lab.commands import preset as command
from annealed_lm.common.errors import InputError

ROOT = Path(__file__).parents[3]


def apply(preset: Path, params: Path) -> None:
    command.main("lab.py preset", [str(preset), "--params", str(params)])


@pytest.fixture
def params(tmp_path: Path) -> Path:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    return path


def test_it_keeps_comments_order_and_every_other_line(params: Path) -> None:
    before = params.read_text().splitlines()
    apply(ROOT / "presets" / "e2e_scratch.yaml", params)
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
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(params)
    assert values["dataset_name"] == "e2e"
    assert values["sample_texts"]["strategies"] == ["nucleus"]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("train_diffusion:\n  learning_rates: 1\n", "the preset sets train_diffusion.learning_rates"),
        ("power: -1\n", "preset.yaml: power = -1: it should be greater than 0"),
        ("power: [1\n", "preset.yaml is not valid YAML"),
        ("", "preset.yaml does not hold keys and values"),
        (None, "preset.yaml is not there"),
    ],
)
def test_it_leaves_params_alone_when_the_preset_is_bad(text: str | None, sentence: str, params: Path, tmp_path: Path) -> None:
    before = params.read_text()
    preset = tmp_path / "preset.yaml"
    if text is not None:
        preset.write_text(text)
    with pytest.raises(InputError, match=sentence):
        apply(preset, params)
    assert params.read_text() == before
