"""A disk that takes no more, in whatever words a library says it."""

import errno
import os
import re
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from annealed_lm.common.errors import DISK_ERRORS, InputError, disk_error_number, one_sentence_errors
from annealed_lm.common.files import atomic_path, write_json


def save_with_torch(path: Path) -> None:
    with path.open("wb") as file:
        torch.save({"a": torch.zeros(10**6)}, file)


WRITERS: dict[str, Callable[[Path], None]] = {
    "torch": save_with_torch,
    "numpy": lambda path: np.save(path, np.zeros(10**6)),
    "safetensors": lambda path: save_file({"a": torch.zeros(10**6)}, path),
    "text": lambda path: write_json(path, {"a": "a" * 10**6}),
}


def message(error: BaseException) -> str:
    with pytest.raises(SystemExit) as caught, one_sentence_errors():
        raise error
    return str(caught.value)


def fill(target: Path, write: Callable[[Path], None]) -> None:
    with atomic_path(target) as partial:
        partial.mkdir()
        write(partial / "weights")


@contextmanager
def largest_file(size: int) -> Iterator[None]:
    """Let no file of this process become larger than so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [0, 10_000])
@pytest.mark.parametrize("library", WRITERS)
def test_a_limit_names_what_was_being_written_and_leaves_the_old_one(library: str, size: int, tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with largest_file(size), pytest.raises(OSError, match=f"'{re.escape(str(target))}'") as caught:
        fill(target, WRITERS[library])
    problem = "the disk does not take all of" if caught.value.errno == errno.EIO else "the limit on the size of a file is reached"
    assert message(caught.value).startswith(f"error: {problem}")
    assert (caught.value.errno == errno.EIO) <= (library == "numpy")
    assert f" {target}; " in message(caught.value)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["model", "old"]


@pytest.mark.parametrize("number", DISK_ERRORS)
def test_each_refusal_is_one_sentence_with_path_and_remedy(number: int) -> None:
    problem, remedy = DISK_ERRORS[number]
    assert message(OSError(number, "no", ".resume/key/lock")).startswith(f"error: {problem} .resume/key/lock; {remedy} and run")
    assert message(OSError(number, "no")).startswith(f"error: {problem} a file; {remedy} and run")


def test_a_file_elsewhere_keeps_its_name(tmp_path: Path) -> None:
    def read(_: Path) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "data/raw/texts.txt")

    with pytest.raises(OSError, match=r"data/raw/texts\.txt"):
        fill(tmp_path / "model", read)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("shape mismatch"),
        OSError(errno.ENOENT, "no such file", "texts"),
        ValueError("refused (os error 111)"),
        InputError("the hub cannot be reached (os error 13)"),
    ],
)
def test_whatever_else_goes_wrong_stays_what_it_is(error: Exception, tmp_path: Path) -> None:
    def fail(_: Path) -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        fill(tmp_path / "model", fail)
    assert caught.value is error
    assert isinstance(error, InputError) or disk_error_number(error) is None
