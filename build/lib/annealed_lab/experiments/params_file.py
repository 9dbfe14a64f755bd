"""Change params.yaml as a person would: its comments and its style stay, and what does not fit is never written."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from annealed_lm.common.files import atomic_path
from annealed_lm.config.config import parse_config
from annealed_lm.config.yaml_files import merge_preset, read_mapping


def nested(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return values by dotted key as sections of values."""
    sections: dict[str, Any] = {}
    for key, value in values.items():
        *names, last = key.split(".")
        section = sections
        for name in names:
            section = section.setdefault(name, {})
        section[last] = value
    return sections


def change_params(params: Path, overlays: Sequence[Mapping[str, Any]], source: str) -> None:
    """Merge sections of values into params.yaml, one after the other.

    Args:
        source: of the values, for errors.

    Raises:
        InputError: a key that is not there, or values that do not fit; the file is as it was.
    """
    yaml = YAML()  # keeps comments, and writes in the style in which DVC's -S does
    values = read_mapping(params, hint="", yaml=yaml)
    for overlay in overlays:
        merge_preset(values, overlay)
    parse_config(values, source)
    with atomic_path(params) as partial:
        yaml.dump(values, partial)
