"""Rows and columns: curves out of files, rows that are aligned, tables to read."""

from collections.abc import Mapping, Sequence
from typing import Any

from tabulate import tabulate

Columns = dict[str, list[float]]
"""Values of a table by column name, all of one length."""
TextRows = Sequence[Mapping[str, str]]


def columns(rows: TextRows, names: Sequence[str]) -> Columns:
    """Return the named columns of rows that were read from a file."""
    return {name: [float(row[name]) for row in rows] for name in names}


def aligned_rows(rows: Sequence[Mapping[str, float]]) -> list[dict[str, float | str]]:
    """Give all rows all the columns of any, in the order in which they first appear; empty where a row has no value."""
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name, "") for name in names} for row in rows]


def curve(rows: TextRows, name: str) -> Columns:
    """Return step and the named column, of the rows that have a value there."""
    return columns([row for row in rows if row[name] != ""], ("step", name))


def by_log_snr(rows: TextRows) -> dict[str, Columns]:
    """Return the curve (step, loss) of each bin of log-SNR, from rows of step, log_snr, loss."""
    bins = dict.fromkeys(row["log_snr"] for row in rows)
    return {name: columns([row for row in rows if row["log_snr"] == name], ("step", "loss")) for name in bins}


def markdown_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of equal keys as a Markdown table, numbers with four significant digits; a bar in a text ends no cell."""
    cells = [{bar_escaped(name): bar_escaped(cell(value)) for name, value in row.items()} for row in rows]
    return tabulate(cells, headers="keys", tablefmt="github", disable_numparse=True) + "\n"


def aligned(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells as plain text, the first column to the left and the others to the right, the first line a header.

    White space that begins a cell stays. (With tabulate's own headers, each column would be wider than it must be.)
    """
    alignment = ["left"] + ["right"] * (len(lines[0]) - 1)
    return tabulate(lines, tablefmt="plain", disable_numparse=True, colalign=alignment, preserve_whitespace=True)


def cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def bar_escaped(text: str) -> str:
    return text.replace("|", r"\|")
