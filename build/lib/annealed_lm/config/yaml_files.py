"""YAML files, read as DVC reads them (YAML 1.2: 1e-5 is a number, no is a string)."""

from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from annealed_lm.common.errors import InputError
from annealed_lm.config.wording import shown


def read_yaml(path: Path, hint: str = "", yaml: YAML | None = None) -> Any:
    """Return what a file holds.

    Args:
        hint: stands at the end of the error that the file is absent.
        yaml: a reader that keeps more than the values; None: plain values.

    Raises:
        InputError: the file is absent, or not YAML.
    """
    try:
        return (yaml or YAML(typ="safe", pure=True)).load(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there{hint}") from error
    except (YAMLError, ValueError) as error:  # the latter of a number, date or character that is none
        raise InputError(f"{path} is not valid YAML: {shown(error, str, 500)}") from error
    except RecursionError as error:
        raise InputError(f"{path} is nested too deeply to be read") from error
    except IsADirectoryError as error:
        raise InputError(f"{path} is a folder, not a file of keys and values") from error


def read_mapping(path: Path, hint: str = "; this runs from the project's root", yaml: YAML | None = None) -> Any:
    """Return the keys and values that a file holds, read as by `read_yaml`.

    Raises:
        InputError: the file is absent, not YAML, or holds something else.
    """
    values = read_yaml(path, hint, yaml)
    if not isinstance(values, dict):
        raise InputError(f"{path} does not hold keys and values")
    return values


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """Return the value, or section, at a dotted key.

    Raises:
        KeyError: there is none.
    """
    found: Any = values
    for name in key.split("."):
        found = found[name]
    return found


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the values by dotted key: those of a section after its name and a dot."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found


def differences(values: Mapping[str, Any], others: Mapping[str, Any]) -> list[str]:
    """Return the dotted keys whose values are not the same, or that only one of the two has."""
    ours, theirs = flat(values), flat(others)
    keys = [*ours, *(key for key in theirs if key not in ours)]
    return [key for key in keys if key not in ours or key not in theirs or ours[key] != theirs[key]]


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
    """Return the word for what stands at a key."""
    return "section" if isinstance(value, Mapping) else "value"
