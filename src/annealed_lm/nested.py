"""Nested mappings, such as params.yaml, by dotted keys."""

from collections.abc import Mapping
from typing import Any


def value_at(values: Mapping[str, Any], key: str) -> Any:
    """The value, or section, at a dotted key."""
    found: Any = values
    for name in key.split("."):
        found = found[name]
    return found


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values by dotted key: those of a section after its name and a dot."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return found
