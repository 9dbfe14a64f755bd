from pathlib import Path
from typing import Any

import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import differences, flat, merge_preset, read_yaml, value_at


def test_flat_names_values_by_their_sections() -> None:
    values = {"a": 1, "b": {"c": [2], "d": {"e": None}}}
    assert flat(values) == {"a": 1, "b.c": [2], "b.d.e": None}
    assert all(value_at(values, key) == value for key, value in flat(values).items())


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


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("power: !!int abc\n", "is not valid YAML: "),
        (f"power: {'9' * 5000}\n", "is not valid YAML: "),
        ("power: 2020-99-99\n", "is not valid YAML: "),
        ("power: [1\n", "is not valid YAML: "),
        ("power: \x00\n", "is not valid YAML: "),
        ("[" * 2000, "is nested too deeply to be read"),
        ("a: " + "{a: " * 2000, "is nested too deeply to be read"),
    ],
)
def test_what_is_no_yaml_is_told_in_one_sentence(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        read_yaml(path)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700


def test_bytes_and_folders_are_no_yaml(tmp_path: Path) -> None:
    (tmp_path / "bytes").write_bytes(b"power: \xff\xfe\n")
    with pytest.raises(InputError, match="bytes is not valid YAML: "):
        read_yaml(tmp_path / "bytes")
    with pytest.raises(InputError, match="is a folder, not a file of keys and values"):
        read_yaml(tmp_path)


def test_differences_are_keys_of_either_side() -> None:
    assert differences({"a": 1, "b": {"c": 2, "d": [1]}}, {"a": 1.0, "b": {"c": 3, "d": [1]}, "e": None}) == ["b.c", "e"]
    assert differences({"a": {"b": 1}}, {}) == ["a.b"]
