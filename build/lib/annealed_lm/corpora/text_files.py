"""Files of rows as text: UTF-8 and nothing else, lines, CSV; a blank line at the end is no row."""

import codecs
import csv
import io
from collections.abc import Iterator
from pathlib import Path

from annealed_lm.common.errors import InputError

BYTE_ORDER_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # first: UTF-16's is its beginning
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
LONGEST_FIELD = 2**31 - 1
"""Characters of a field of CSV: the most that every platform takes. Python's own limit is 131,072."""


def wide_encoding(data: bytes) -> str | None:
    """Return UTF-16 or UTF-32 where a file begins with its mark, or has more NULs than a few stray ones: every second byte or so
    in most languages, and those of spaces and line ends in the others."""
    for mark, name in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return name
    nuls = data.count(0)
    if 4 * nuls <= len(data) and nuls <= max(3, len(data) // 200):
        return None
    return "UTF-32" if 2 * nuls > len(data) else "UTF-16"


def read_utf8(path: Path) -> str:
    """Return the text of a UTF-8 file, with or without a byte order mark.

    Raises:
        InputError: it is of another encoding; naming that one, or the first line that is not UTF-8.
    """
    data = path.read_bytes()
    if encoding := wide_encoding(data):
        raise InputError(f"{path} is {encoding}, or no text ({data.count(0)} of its {len(data)} bytes are NUL): save it as UTF-8")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path} line {line} is not UTF-8: save the file in that encoding") from error


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file.

    Raises:
        InputError: it is of another encoding.
    """
    # Not splitlines(): that also breaks at rare separators, which are the cleaning's business.
    lines = read_utf8(path).replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_rows(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file of one row a line; blank ones at its end are no rows.

    Raises:
        InputError: it is of another encoding.
    """
    lines = read_lines(path)
    while lines and not lines[-1].strip():
        lines.pop()
    return lines


def read_csv(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield where every row of a CSV file begins, for messages, and its columns; blank lines at the end are no rows.

    Raises:
        InputError: naming the line where the first row begins that is not CSV, or that is not UTF-8.
    """
    csv.field_size_limit(LONGEST_FIELD)
    rows = csv.reader(io.StringIO(read_utf8(path), newline=""), strict=True)
    blank: list[tuple[str, list[str]]] = []
    while True:
        where = f"{path} line {rows.line_num + 1}"
        try:
            columns = next(rows, None)
        except csv.Error as error:
            raise InputError(f"{where} begins a row that is not CSV ({error}): its quotes must be doubled and closed") from error
        if columns is None:
            return
        if not "".join(columns).strip():
            blank.append((where, columns))
            continue
        yield from blank
        blank.clear()
        yield where, columns
