"""Values that somebody may write into params.yaml by a slip, and what the reader of params.yaml makes of them."""

import copy
from typing import Any

from annealed_lm.common.errors import InputError
from annealed_lm.config.config import Config, parse_config
from annealed_lm.config.yaml_files import flat
from support.tiny import ROOT, tiny_params, yaml_of

WHOLE = (0, -1, 1, 2, 3, 7, 20, 100, 1000, 10**5, 5 * 10**6, 10**9, 10**26, -(10**26), 10**5000)
REAL = (1.0, 0.5, 1.5, -0.5, 5e-324, 1e-320, 1e-12, 1e-5, 0.9999999999999999, 40.0, 1e5, 1e30, 1e200, 1e308)
NO_NUMBER = (float("nan"), float("inf"), -float("inf"), True, None, "", "1e5", "x" * 100_000, "a\nb", "\0", [], [1], {})
ODD_VALUES: tuple[Any, ...] = WHOLE + REAL + NO_NUMBER

PARAMS: dict[str, Any] = yaml_of(ROOT / "params.yaml")
NUMBERS = [key for key, value in flat(PARAMS).items() if isinstance(value, int | float) and not isinstance(value, bool)]
"""The dotted keys of all numbers in params.yaml."""


def changed(values: dict[str, Any], **by_key: Any) -> dict[str, Any]:
    """A copy of `values` with other ones at some dotted keys."""
    values = copy.deepcopy(values)
    for key, value in by_key.items():
        holder = values
        *sections, leaf = key.split(".")
        for section in sections:
            holder = holder[section]
        holder[leaf] = value
    return values


def accepted_values(key: str, small: bool = True) -> list[Any]:
    """Those odd values that params.yaml may have at `key`: of a tiny run, or of the default one."""
    values = tiny_params() if small else PARAMS
    return [odd for odd in ODD_VALUES if isinstance(outcome(changed(values, **{key: odd})), Config)]


def outcome(values: dict[str, Any]) -> Config | str:
    """The configuration of `values`, or the sentence that refuses them."""
    try:
        return parse_config(values)
    except InputError as error:
        return str(error)
