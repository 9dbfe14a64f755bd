"""What makes params.yaml into a point's, in the grammar of DVC's --set-param, which is Hydra's."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from annealed_lm.config.yaml_files import differences, value_at


def overrides(params: Mapping[str, Any], workspace: Mapping[str, Any]) -> list[str]:
    """Return what `dvc exp run --set-param` needs to make `workspace` into `params`, which has the same keys."""
    return [f"{key}={rendered(value_at(params, key))}" for key in differences(params, workspace)]


def rendered(value: Any) -> str:
    """Return a value as it is written after the equals sign."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return f"'{escaped(value)}'"
    if isinstance(value, Sequence):
        return f"[{','.join(rendered(item) for item in value)}]"
    return repr(value)


def escaped(text: str) -> str:
    """Return `text` for single quotes. Backslashes are literal there, but not before a quote, be it in the text or its end."""
    return re.sub(r"(\\+)(?='|\Z)", r"\1\1", text).replace("'", r"\'")
