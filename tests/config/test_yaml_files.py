from typing import Any

import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import flat, merge_preset, value_at


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
