"""What stages of one run of DVC have read, told from other runs, and from what no run can be told."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.config.config import load_config
from annealed_lm.config.one_run import LOCKS, NOTE, process_start
from support.tiny import write_params

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def other() -> Iterator[int]:
    """Another process."""
    with subprocess.Popen(SLEEP) as process:
        yield process.pid
        process.kill()


@pytest.fixture(autouse=True)
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a stage that this process's parent, say DVC, runs."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DVC_STAGE", "train_diffusion")
    LOCKS.parent.mkdir(parents=True)
    hold(os.getpid())


def hold(*processes: int) -> None:
    """Let processes run stages in the checkout, as DVC notes it."""
    write = {f"/out/{number}": {"pid": process, "cmd": "dvc exp run"} for number, process in enumerate(processes)}
    LOCKS.write_text(json.dumps({"read": {}, "write": write}))


def read(**changes: Any) -> None:
    write_params(Path("params.yaml"), changes)
    load_config(Path("params.yaml"))


def test_a_change_between_two_stages_of_one_run_is_one_sentence() -> None:
    read()
    read()
    for _ in range(2):
        with pytest.raises(
            InputError, match=r"^params\.yaml has changed since this run of DVC began \(power from 2\.0 to 3\.0\), by"
        ):
            read(power=3)
    read()


def test_the_stage_that_checks_all_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    read()
    monkeypatch.setenv("DVC_STAGE", "validate_params")
    read(power=3)
    monkeypatch.setenv("DVC_STAGE", "report")
    read(power=3)
    with pytest.raises(InputError, match=r"power from 3\.0 to 2\.0"):
        read()


def test_another_run_may_have_other_values(other: int) -> None:
    read()
    hold(other)
    read(power=3)
    hold(os.getpid())
    read(power=4)


def test_a_process_of_the_same_number_is_another_run() -> None:
    read()
    noted = json.loads(NOTE.read_text())
    noted["run"][1] = "1"
    NOTE.write_text(json.dumps(noted))
    read(power=3)


def test_where_the_run_cannot_be_told_nothing_is_compared(other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    read()
    hold(os.getpid(), other)  # two runs
    read(power=3)
    for content in ("", "{", "[]", "{}", '{"write": {"/out": 1}}', '{"write": {"/out": {"pid": 0}}}'):
        LOCKS.write_text(content)
        read(power=4)
    LOCKS.unlink()
    read(power=5)
    hold(os.getpid())
    monkeypatch.delenv("DVC_STAGE")  # run by hand
    read(power=6)


def test_a_killed_run_s_lock_is_not_taken_for_one_that_runs() -> None:
    with subprocess.Popen(SLEEP) as process:
        process.kill()
    hold(process.pid, os.getpid())
    read()
    with pytest.raises(InputError, match="has changed since this run"):
        read(power=3)


@pytest.mark.parametrize("noted", ["", "{", "{}", '{"run": null}'])
def test_a_note_that_is_damaged_is_written_anew(noted: str) -> None:
    NOTE.write_text(noted)
    read()
    assert json.loads(NOTE.read_text())["run"] == [os.getpid(), process_start(os.getpid())]
