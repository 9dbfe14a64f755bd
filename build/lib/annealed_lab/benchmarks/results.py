"""The results of a benchmark as a file and as tables."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annealed_lm.common.files import read_json, write_json
from annealed_lm.reporting.tables import markdown_table

Rows = list[dict[str, Any]]


class Results:
    """Rows by section and size, in a file; those of this machine that are not measured anew are kept.

    Args:
        path: of the file, which `put` writes.
        machine: what is written of the machine; results of another one are dropped.
    """

    def __init__(self, path: Path, machine: Mapping[str, Any]) -> None:
        self.path = path
        found = read_json(path) if path.exists() else {}
        self.values: dict[str, Any] = found if found.get("machine") == machine else {"machine": dict(machine)}

    def put(self, section: str, values: Any, size: str | None = None) -> None:
        """Replace the results of a section, or of one size in it, and write the file."""
        if size is None:
            self.values[section] = values
        else:
            self.values.setdefault(section, {})[size] = values
        write_json(self.path, self.values)

    def seconds_per_step(self, size: str) -> float | None:
        """Return those of the fastest way to train that was measured, None if none was."""
        rows = self.values.get("training", {}).get(size, [])
        return min((row["seconds_per_step"] for row in rows), default=None)


def rate_rows(rates: Mapping[str, float]) -> Rows:
    """Return FLOP/s by precision as rows, all beside the first: that bounds what a precision can bring."""
    first = next(iter(rates.values()))
    return [{"precision": name, "gflops": rate / 1e9, "speedup": rate / first} for name, rate in rates.items()]


def titled_table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return a Markdown table under its title, empty where a row has no value."""
    filled = [{name: "" if value is None else value for name, value in row.items()} for row in rows]
    return f"{title}\n\n{markdown_table(filled)}"
