"""Reading and writing files. Every write is atomic: beside the target, then renamed."""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from annealed_lm.common.errors import InputError, disk_errors_name

PARTIAL = ".partial"
"""What the hidden name of a file or folder that is being written ends with."""
LINE_BREAKS = re.compile("[\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
"""Whatever a program may take for the end of a line."""


class DamagedFileError(InputError, ValueError):
    """A file that a stage has written, and that is no longer what it wrote."""

    def __init__(self, path: Path, cause: Exception) -> None:
        super().__init__(
            f"{path} is damaged ({type(cause).__name__}: {one_line(str(cause))[:200]}): remove it and run again, or bring it "
            "back with dvc checkout --force"
        )


@contextmanager
def atomic_path(target: Path) -> Iterator[Path]:
    """Yield a path beside `target` to write a file or a folder to; it takes the target's place only if nothing failed.

    The path is new: what a killed process left of its own is no part of it, though process ids come again in containers.

    Raises:
        OSError: the disk is full or refuses in another way; it names `target`, which is as it was, and nothing is left beside it.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{secrets.token_hex(8)}{PARTIAL}")
    try:
        with disk_errors_name(target, partial):
            yield partial
            if partial.is_dir() and target.is_dir():
                shutil.rmtree(target)  # a folder cannot be renamed over one that holds files
            partial.replace(target)
    finally:
        if partial.is_dir():
            shutil.rmtree(partial)
        else:
            partial.unlink(missing_ok=True)


def partials(folder: Path) -> list[Path]:
    """Return what is being written anywhere in `folder`, or what killed processes left of it; not what lies within those."""
    found = []
    for parent, folders, files in os.walk(folder):
        here = [Path(parent) / name for name in sorted([*folders, *files]) if name.startswith(".") and name.endswith(PARTIAL)]
        found += here
        folders[:] = [name for name in folders if Path(parent) / name not in here]
    return found


def copy_file(source: Path, target: Path) -> None:
    """Make `target` a copy of `source`."""
    with atomic_path(target) as partial:
        shutil.copyfile(source, partial)


def write_text(path: Path, text: str) -> None:
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write `value` as indented JSON, keys in the order given."""
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return what a file holds.

    Raises:
        DamagedFileError: it is no JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, error) from error


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object a line."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_jsonl(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file with one JSON object a line.

    Raises:
        DamagedFileError: a line is none.
    """
    with path.open(encoding="utf-8", newline="\n") as file:  # not splitlines(): texts may hold other line separators
        try:
            return [dict(json.loads(line)) for line in file]
        except (ValueError, TypeError, RecursionError) as error:
            raise DamagedFileError(path, error) from error


def read_array(path: Path, mapped: bool = False) -> npt.NDArray[Any]:
    """Return the array that a .npy file holds; `mapped`: left where it is, read-only, until it is used.

    Raises:
        DamagedFileError: it holds none, or not all of one.
    """
    try:
        found: npt.NDArray[Any] = np.load(path, mmap_mode="r" if mapped else None)
    except (ValueError, EOFError) as error:
        raise DamagedFileError(path, error) from error
    return found


def one_line(text: str) -> str:
    """Return `text` with its line breaks written out, as \\n or \\u2028, for files and messages of one text a line."""
    return LINE_BREAKS.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def read_texts(path: Path) -> list[str]:
    """Return the `text` of every row of a .jsonl file."""
    return [row["text"] for row in read_jsonl(path)]


def read_labels(path: Path) -> list[str | None]:
    """Return the `label` of every row of a .jsonl file; None where a row has none."""
    return [row.get("label") for row in read_jsonl(path)]


LATENT_AGREEMENT = "latent_agreement"
"""The number beside a text that says how well it agrees with the latents that it was decoded from."""


def read_numbers(path: Path, name: str) -> list[float]:
    """Return the number called `name` of every row of a .jsonl file."""
    return [row[name] for row in read_jsonl(path)]


def write_tsv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write rows of equal keys as tab-separated values under a header, floats with six significant digits.

    Raises:
        ValueError: `rows` is empty.
    """
    if not rows:
        raise ValueError(f"no rows for {path}")
    lines = [tsv_line(rows[0]), *(tsv_line(row.values()) for row in rows)]
    with atomic_path(path) as partial:
        partial.write_text("".join(lines), encoding="utf-8")


def tsv_line(values: Iterable[Any]) -> str:
    """Return values as a line of a table, floats with six significant digits."""
    return "\t".join(f"{value:.6g}" if isinstance(value, float) else str(value) for value in values) + "\n"


def read_tsv(path: Path) -> list[dict[str, str]]:
    """Return the rows of tab-separated values under a header, every value as text."""
    header, *lines = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    return [dict(zip(header, line, strict=True)) for line in lines]


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's content, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests(folder: Path) -> dict[str, str]:
    """Return the sha256 of every file below `folder`, by its path in it; of a file, its own under `.`."""
    files = (path for path in sorted([folder, *folder.rglob("*")]) if path.is_file())
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def seal(path: Path) -> None:
    """Write the digests of a file or a folder beside it, where `is_whole` looks for them."""
    write_json(seal_of(path), digests(path))


def is_whole(path: Path) -> bool:
    """Return whether a file or a folder is there and every bit of it as it was when it was sealed."""
    if not path.exists() or not seal_of(path).exists():
        return False
    try:
        return bool(read_json(seal_of(path)) == (digests(path)))
    except DamagedFileError:
        return False


def seal_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.sha256")


def require_sha256(path: Path, expected: str) -> None:
    """Check a file against its published digest.

    Raises:
        InputError: the file is not the published one.
    """
    found = file_sha256(path)
    if found != expected:
        raise InputError(
            f"{path} has sha256 {found}, not {expected}: it is damaged or another release; remove it and fetch it again"
        )
