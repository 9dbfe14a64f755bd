"""Rows whose columns have names, of JSON objects or of CSV under a header: a text, and perhaps its label."""

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from annealed_lm.common.errors import InputError
from annealed_lm.corpora.text_files import read_csv, read_rows

TEXT, LABEL = "text", "label"
"""Columns of texts.jsonl."""
Row = tuple[str, Mapping[str, Any]]
"""Where a row stands, for messages, and its values by column."""


def read_json_objects(path: Path) -> Iterator[Row]:
    """Yield the rows of a UTF-8 file of one JSON object a line; blank ones at its end are no rows.

    Raises:
        InputError: naming the first line that is anything else.
    """
    for number, line in enumerate(read_rows(path), start=1):
        where = f"{path} line {number}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if not isinstance(row, dict):
            raise InputError(f'{where} is not a JSON object, such as {{"{TEXT}": "Ann went home."}}')
        yield where, row


def read_csv_objects(path: Path) -> Iterator[Row]:
    """Yield the rows of a CSV file under a header.

    Raises:
        InputError: naming the first row that is not CSV or has other columns than the header, or a column that comes twice.
    """
    header: list[str] = []
    for where, columns in read_csv(path):
        if not header:
            header = [name.strip() for name in columns]
            while header and not header[-1]:  # as spreadsheets save columns that nothing stands in
                header.pop()
            if len(set(header)) < len(header):
                raise InputError(f"{where} names a column twice: {', '.join(header)}")
            continue
        while len(columns) > len(header) and not columns[-1]:
            columns.pop()
        if len(columns) != len(header):
            raise InputError(f"{where} has {len(columns)} columns, not the {len(header)} columns {', '.join(header)}")
        yield where, dict(zip(header, columns, strict=True))


def value_of(row: Mapping[str, Any], column: str, where: str) -> Any:
    """Return the value in a column.

    Raises:
        InputError: the row has no such column.
    """
    if column not in row:
        raise InputError(f"{where} has no column {column}: there are {', '.join(row) or 'none'}")
    return row[column]


def texts_and_labels(rows: Iterable[Row], text: str, label: str | None) -> Iterator[tuple[str, str | None]]:
    """Yield the text of every row and its label; without a column of labels, None.

    Raises:
        InputError: naming the first row without these columns, or whose text is no text or label no name.
    """
    for where, row in rows:
        found, name = value_of(row, text, where), None
        if not isinstance(found, str):
            raise InputError(f"{where} has {json.dumps(found)[:40]} as its {text}, which is no text")
        if label is not None:
            name = value_of(row, label, where)
            if isinstance(name, bool | dict | list | None) or not str(name).strip():
                raise InputError(f"{where} has {json.dumps(name)[:40]} as its {label}: a label is a word or a number")
            name = " ".join(str(name).split())
        yield found, name


def read_labelled_texts(path: Path) -> list[tuple[str, str | None]]:
    """Return texts and labels of a file of JSON objects with a column text and, in all of them or in none, a column label.

    Raises:
        InputError: naming the first line that is anything else.
    """
    rows = list(read_json_objects(path))
    label = LABEL if any(LABEL in row for _, row in rows) else None
    return list(texts_and_labels(rows, TEXT, label))
