"""A disk that takes no more, in whatever words a library says it."""

import errno
import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from annealed_lm.common.errors import DISK_ERRORS, INTERRUPTED, InputError, disk_error_number, one_sentence_errors
from annealed_lm.common.files import atomic_path, write_json
from support.disks import largest_file


def save_with_torch(path: Path) -> None:
    with path.open("wb") as file:
        torch.save({"a": torch.zeros(10**6)}, file)


SOURCE = Path(torch.__file__).parent
"""A folder with a file of some size, to copy."""
WRITERS: dict[str, Callable[[Path], object]] = {
    "torch": save_with_torch,
    "numpy": lambda path: np.save(path, np.zeros(10**6)),
    "safetensors": lambda path: save_file({"a": torch.zeros(10**6)}, path),
    "copy": lambda path: shutil.copyfile(SOURCE / "functional.py", path),
    "copies": lambda path: shutil.copytree(SOURCE / "optim", path, ignore=shutil.ignore_patterns("__pycache__")),
    "text": lambda path: write_json(path, {"a": "a" * 10**6}),
}


def message(error: BaseException) -> str:
    with pytest.raises(SystemExit) as caught, one_sentence_errors():
        raise error
    return str(caught.value)


def fill(target: Path, write: Callable[[Path], object]) -> None:
    with atomic_path(target) as partial:
        partial.mkdir()
        write(partial / "weights")


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


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_nothing_that_is_printed_ends_a_program(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", printed)
    with one_sentence_errors():
        print("\u0645 \U0001f363 \ud83d", flush=True)
    assert printed.buffer.getvalue().decode(encoding) == r"\u0645 \U0001f363 \ud83d" + "\n"


def test_ctrl_c_is_one_line() -> None:
    assert message(KeyboardInterrupt()) == INTERRUPTED
    assert "\n" not in INTERRUPTED


CODE = Path(__file__).parents[2] / "src"
ENVIRONMENT = os.environ | {"PYTHONPATH": str(CODE)}
SCRIPT = """
import annealed_lm.common.offline
import sys, time
if sys.argv[1] == "imports":
    print("now", flush=True); time.sleep(60)
from annealed_lm.common.errors import one_sentence_errors
if __name__ == "__main__":
    with one_sentence_errors():
        print("now", flush=True); time.sleep(60)
"""


@pytest.mark.parametrize("moment", ["imports", "main"])
def test_ctrl_c_is_one_line_at_any_moment_of_a_script(moment: str, tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text(SCRIPT)
    command = [sys.executable, str(tmp_path / "stage.py"), moment]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as script:
        assert script.stdout is not None
        assert script.stdout.readline() == "now\n"
        script.send_signal(signal.SIGINT)
        _, told = script.communicate(timeout=50)
    assert told == INTERRUPTED + "\n"
    assert script.returncode != 0


def test_any_other_uncaught_error_keeps_its_traceback(tmp_path: Path) -> None:
    (tmp_path / "stage.py").write_text("import annealed_lm.common.offline\nraise ValueError('a bug')\n")
    ended = subprocess.run([sys.executable, tmp_path / "stage.py"], capture_output=True, text=True, check=False, env=ENVIRONMENT)
    assert ended.returncode == 1
    assert ended.stderr.startswith("Traceback")
    assert ended.stderr.endswith("ValueError: a bug\n")


@pytest.mark.parametrize("script", sorted(CODE.glob("*.py")), ids=lambda path: path.stem)
def test_every_script_shows_ctrl_c_so_from_its_first_import_of_ours(script: Path) -> None:
    """Nothing that takes long is imported before `errors` is."""
    lines = [line for line in script.read_text().splitlines() if line.startswith(("import ", "from "))]
    slow = [line for line in lines if line.split()[1].split(".")[0] not in sys.stdlib_module_names]
    assert slow[0].split()[1] in {"annealed_lm.common.offline", "annealed_lm.common.errors", "annealed_lab.cli"}


TELLS = """
import sys
from annealed_lm.common.errors import one_sentence_errors, tell
if __name__ == "__main__":
    with one_sentence_errors():
        for _ in range(3):
            tell("a table\\n" * 10_000)
        print("the end")
        print("all written", file=sys.stderr)
"""


@pytest.mark.parametrize("ending", ["reader gone", "full", "closed"])
def test_what_nobody_reads_or_no_disk_takes_ends_no_program(ending: str) -> None:
    if ending == "reader gone":
        read, write = os.pipe()
        os.close(read)
    else:
        write = os.open("/dev/full", os.O_WRONLY)
    command = (
        ["sh", "-c", '"$0" "$@" >&-', *([sys.executable, "-c", TELLS])] if ending == "closed" else [sys.executable, "-c", TELLS]
    )
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True, check=False, env=ENVIRONMENT)
    os.close(write)
    assert (ended.returncode, ended.stderr) == (0, "all written\n")
