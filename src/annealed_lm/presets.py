"""Presets: partial copies of params.yaml that are merged into it, so that the values in force always stand there."""

from collections.abc import Mapping, MutableMapping
from typing import Any

from annealed_lm.errors import InputError


def merge_preset(values: MutableMapping[str, Any], preset: Mapping[str, Any], section: str = "") -> None:
    """Put the values of `preset` in place of those of `values`; every other key stays as it is.

    Raises:
        InputError: a key that `values` does not have, or a section where a value belongs or the other way round.
    """
    for key, value in preset.items():
        name = f"{section}{key}"
        if key not in values:
            raise InputError(f"the preset sets {name}, which params.yaml does not have")
        if isinstance(values[key], Mapping) != isinstance(value, Mapping):
            raise InputError(f"{name} is a {kind(values[key])} in params.yaml and a {kind(value)} in the preset")
        if isinstance(value, Mapping):
            merge_preset(values[key], value, f"{name}.")
        else:
            values[key] = value


def kind(value: object) -> str:
    return "section" if isinstance(value, Mapping) else "value"
