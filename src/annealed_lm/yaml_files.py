"""YAML files, read as DVC reads them (YAML 1.2: 1e-5 is a number, no is a string)."""

from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from annealed_lm.errors import InputError


def read_yaml(path: Path, hint: str = "", yaml: YAML | None = None) -> Any:
    """What a file holds.

    Args:
        hint: what to say beside that a file is not there.
        yaml: a reader that keeps more than the values; None: plain values.

    Raises:
        InputError: it is absent, or not YAML.
    """
    try:
        return (yaml or YAML(typ="safe", pure=True)).load(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there{hint}") from error
    except YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error


def read_mapping(path: Path, hint: str = "; this runs from the project's root", yaml: YAML | None = None) -> Any:
    """`read_yaml` of a file of keys and values.

    Raises:
        InputError: also where it holds something else.
    """
    values = read_yaml(path, hint, yaml)
    if not isinstance(values, dict):
        raise InputError(f"{path} does not hold keys and values")
    return values
