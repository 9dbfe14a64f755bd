"""Errors that a user can cause and mend: one clear sentence each, exit status 1, no traceback."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

DISK_ERRORS = {errno.ENOSPC: "the disk is full", errno.EDQUOT: "the disk quota is used up", errno.EROFS: "the disk is read-only"}


class InputError(Exception):
    """What is wrong, where, and what is allowed, in one sentence."""


@contextmanager
def one_sentence_errors() -> Iterator[None]:
    """End the program with one sentence where the user, and not the code, is at fault.

    Raises:
        SystemExit: for an `InputError` and for a disk that takes no more; any other error keeps its traceback.
    """
    try:
        yield
    except InputError as error:
        raise SystemExit(f"error: {error}") from error
    except OSError as error:
        if error.errno not in DISK_ERRORS:
            raise
        where = f" while writing {error.filename}" if error.filename else ""
        raise SystemExit(
            f"error: {DISK_ERRORS[error.errno]}{where}; make room and run again, finished stages are kept"
        ) from error
