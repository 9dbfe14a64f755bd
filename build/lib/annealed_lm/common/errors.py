"""Errors that a user can cause and mend: one clear sentence each, exit status 1, no traceback."""

import errno
import io
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType

DISK_ERRORS = {
    errno.ENOSPC: ("the disk is full while writing", "make room"),
    errno.EDQUOT: ("the disk quota is used up while writing", "make room"),
    errno.EROFS: ("the disk is read-only while writing", "make it writable"),
    errno.EFBIG: ("the limit on the size of a file is reached while writing", "raise it (ulimit -f)"),
    errno.EIO: ("the disk does not take all of", "see to its space, quota and health"),
    errno.EACCES: ("permission is denied for", "allow this user to read and write it"),
    errno.EPERM: ("permission is denied for", "allow this user to read and write it"),
}
"""Error number -> what is wrong with a path, what to do."""

INTERRUPTED = "interrupted: run it again; the last checkpoint and finished stages are kept"


class InputError(Exception):
    """A mistake that the user can mend: what is wrong, where, and what is allowed, in one sentence."""


def disk_error_number(error: BaseException) -> int | None:
    """Return the number, one of `DISK_ERRORS`, of what a disk refused, or None if no disk caused `error`.

    Libraries hide this number in errors of their own.
    """
    if isinstance(error, RuntimeError) and isinstance(error.__context__, OSError):
        error = error.__context__  # torch.save: its archive is broken, and this is why
    number = error.errno if isinstance(error, OSError) else None
    # safetensors and tokenizers; shutil.copytree
    if number is None and (found := re.search(r"\(os error (\d+)\)|\[Errno (\d+)\]", str(error))):
        number = int(found[1] or found[2])
    if number is None and re.search(r"\d+ requested and \d+ written", str(error)):  # numpy does not say why
        number = errno.EIO
    return number if number in DISK_ERRORS else None


def written_path(error: OSError) -> str | None:
    """Return the path that an error names; of a copy or a renaming, which name two, the second, to which it goes."""
    named = error.filename2 or error.filename
    return None if named is None else os.fsdecode(named)


@contextmanager
def disk_errors_name(target: Path, partial: Path) -> Iterator[None]:
    """Make errors of the disk name `target`, which is being written as `partial`.

    Raises:
        OSError: one of `DISK_ERRORS`, whichever error the library that wrote made of it.
    """
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        number = disk_error_number(error)
        if number is None:
            raise
        named = written_path(error) if isinstance(error, OSError) else None
        elsewhere = named is not None and not Path(named).is_relative_to(partial)
        raise OSError(number, os.strerror(number), str(named if elsewhere else target)) from error


@contextmanager
def one_sentence_errors() -> Iterator[None]:
    """End the program with one sentence where the user, and not the code, is at fault, and let nothing that it prints end it.

    Raises:
        SystemExit: for an `InputError`, a disk that takes no more and Ctrl-C; any other error keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a terminal may know no Arabic
    try:
        yield
    except KeyboardInterrupt as error:
        raise SystemExit(INTERRUPTED) from error
    except InputError as error:
        raise SystemExit(f"error: {error}") from error
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        problem, remedy = DISK_ERRORS[error.errno]
        raise SystemExit(
            f"error: {problem} {written_path(error) or 'a file'}; {remedy} and run again: "
            "the last checkpoint and finished stages are kept"
        ) from error


def tell(text: str) -> None:
    """Print `text`, whatever becomes of it: that nobody reads it any more, or a disk takes no more of it, costs no work."""
    try:
        print(text, flush=True)
    except OSError:  # such as a broken pipe
        with suppress(OSError, ValueError):  # nor may what is still waiting to be written end the program when it ends
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def show_uncaught(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
    """Show an error that nothing caught: Ctrl-C in one line, any other with its traceback."""
    if issubclass(kind, KeyboardInterrupt):
        print(INTERRUPTED, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, traceback)


if sys.excepthook is sys.__excepthook__:  # no debugger's, no notebook's
    sys.excepthook = show_uncaught  # before `one_sentence_errors` begins, a script imports for seconds
