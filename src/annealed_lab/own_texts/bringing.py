"""Bring a user's file of texts to where the pipeline reads its raw data, in one of the two forms that it reads."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path
from annealed_lm.config.types import nearest
from annealed_lm.corpora.files import LABELLED_TEXTS, PLAIN_TEXTS
from annealed_lm.corpora.named_columns import LABEL, TEXT, Row, read_csv_objects, read_json_objects, texts_and_labels
from annealed_lm.corpora.readers import LabelledText, unlabelled
from annealed_lm.corpora.text_files import read_lines

READERS: dict[str, Callable[[Path], Iterator[Row]]] = {".csv": read_csv_objects, ".jsonl": read_json_objects}
"""By how the name of a file with columns ends."""
PLAIN = ".txt"
MOST_LABELS = 100
"""Different labels: more are rather numbers or names of rows, and a class is learned from its texts."""


def read_own_texts(path: Path, text: str | None, label: str | None) -> list[LabelledText]:
    """Return the texts of a file, and their labels where a column of them is named.

    Args:
        text, label: names of columns; None: text is called "text", and there are no labels.

    Raises:
        InputError: the file is not there, is of another kind, has no such column or another row than it should have, or too many
            different labels.
    """
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    if path.suffix == PLAIN:
        if text is not None or label is not None:
            raise InputError(f"{path} is {PLAIN}, one text a line, and has no columns: save it as .csv or .jsonl to name some")
        return unlabelled(read_lines(path))
    if path.suffix not in READERS:
        raise InputError(
            f"{path} is neither {PLAIN}, one text a line, nor .csv with a header, nor .jsonl, one object a line"
            f"{nearest(path.suffix, [PLAIN, *READERS])}"
        )
    rows = texts_and_labels(READERS[path.suffix](path), text or TEXT, label)
    texts = [LabelledText(*row) for row in rows]
    labels = {each.label for each in texts}
    if len(labels) > MOST_LABELS:
        some = ", ".join(sorted(map(str, labels))[:3])
        raise InputError(
            f"column {label} of {path} has {len(labels)} different values ({some}, ...), and a label has at most {MOST_LABELS}: "
            "name another column, or none"
        )
    return texts


def put(path: Path, texts: list[LabelledText], folder: Path, replace: bool) -> Path:
    """Write the texts to the folder of the corpus: a plain file as it is, any other as rows of a text and perhaps a label.

    Args:
        replace: whether they may take the place of other texts there.

    Returns:
        the file.

    Raises:
        InputError: there are other texts, and these may not take their place.
    """
    target = folder / (PLAIN_TEXTS if path.suffix == PLAIN else LABELLED_TEXTS)
    if path.suffix == PLAIN:
        data = path.read_bytes()
    else:
        rows = ({TEXT: each.text} | ({} if each.label is None else {LABEL: each.label}) for each in texts)
        data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    there = [file for name in (PLAIN_TEXTS, LABELLED_TEXTS) if (file := folder / name).exists()]
    if there == [target] and target.read_bytes() == data:
        return target
    if there and not replace:
        raise InputError(f"{' and '.join(map(str, there))} holds other texts: REPLACE=1 (--replace) puts these in their place")
    with atomic_path(target) as partial:
        partial.write_bytes(data)
    for file in there:
        if file != target:
            file.unlink()
            file.with_name(f"{file.name}.dvc").unlink(missing_ok=True)  # else other clones get both
    return target
