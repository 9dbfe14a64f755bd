"""How often something happens in a training: every so many steps, or every so many seconds."""

import re
from dataclasses import dataclass

SECONDS = {"s": 1, "min": 60, "h": 3600}


@dataclass(frozen=True)
class Interval:
    """Steps or seconds, > 0; the other one is None."""

    steps: int | None
    seconds: float | None


def parse_interval(value: object) -> Interval:
    """Return the interval that a number of steps, such as 200, or a time, such as 90s, 5min or 1h, stands for.

    Raises:
        ValueError: `value` is neither; the message says what is allowed.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return Interval(value, None)
    time = re.fullmatch(r"(\d+(?:\.\d+)?) ?(s|min|h)", value) if isinstance(value, str) else None
    if time is None or float(time[1]) == 0:
        raise ValueError("should be a number of steps greater than 0, or a time such as 90s, 5min or 1h")
    return Interval(None, float(time[1]) * SECONDS[time[2]])
