"""What params.yaml says now and did not say in the last commit, with which experiments are compared."""

import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from annealed_lm.config.yaml_files import differences, flat

LONGEST = 100
"""Characters of the line; of what does not fit, the number is told."""


def committed(path: Path) -> dict[str, Any] | None:
    """Return the values of a YAML file as the last commit has it; None where there is no git, no commit or no such file."""
    command = ["git", "show", f"HEAD:./{path.name}"]
    try:
        text = subprocess.run(command, cwd=path.parent, capture_output=True, check=True).stdout
        values = YAML(typ="safe", pure=True).load(text)
    except (OSError, subprocess.CalledProcessError, YAMLError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def written(value: Any) -> str:
    """Return a value much as YAML writes it."""
    if isinstance(value, list):
        return f"[{', '.join(map(written, value))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def differing_line(values: Mapping[str, Any], before: Mapping[str, Any]) -> str | None:
    """Return in a line which values differ from those before, with the new ones; None if none does."""
    now = flat(values)
    found = [f"{key} {written(now[key]) if key in now else 'absent'}" for key in differences(values, before)]
    if not found:
        return None
    shown = found[:1]
    for each in found[1:]:
        if len(", ".join([*shown, each])) > LONGEST:
            break
        shown.append(each)
    left = [f"and {len(found) - len(shown)} more"] if len(found) > len(shown) else []
    return f"differs from HEAD: {', '.join([*shown, *left])}"
