"""Several processes on one batch train as one process does."""

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed

from annealed_lm.common.files import read_tsv
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.processes import ALONE, Processes
from support.diffusion_runs import arguments, weights
from support.projects import ROOT, environment
from support.tiny import CPU, write_latents

LABELS = ("bad", "fair", "good")
CHANGES: dict[str, Any] = {"class_conditional": True, "num_train_steps": 12, "train_batch_size": 9, "log_every": 1}


@pytest.mark.parametrize("things", [0, 1, 7, 12])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_shares_are_equal_and_leave_nothing_out(count: int, things: int) -> None:
    shares = [Processes(rank, count, CPU).share(things) for rank in range(count)]
    assert [thing for share in shares for thing in share] == list(range(things))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_a_process_alone_agrees_with_itself() -> None:
    assert ALONE.is_main
    assert ALONE.any(True)
    assert not ALONE.any(False)
    value = torch.tensor(3.0)
    assert ALONE.sum(value) is value
    ALONE.wait()


def test_one_of_several_asks_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[bool] = []
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda value: value.mul_(2))  # the other one has the same
    monkeypatch.setattr(torch.distributed, "barrier", lambda: waits.append(True))
    processes, own = Processes(0, 2, CPU), torch.tensor(3.0)
    assert processes.sum(own) == 6
    assert own == 3
    assert processes.any(True)
    assert not processes.any(False)
    processes.wait()
    assert waits == [True]


AGREE = """
import sys
import torch
from annealed_lm.training.processes import Processes

rank, folder = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
processes = Processes(rank, 2, torch.device("cpu"))
own = torch.tensor(rank + 1.0)
found = [processes.sum(own), own, processes.any(rank == 1), processes.any(False), processes.is_main]
processes.wait()
print([float(each) for each in found])
"""
"""Prints what one of two processes finds."""


def test_two_processes_agree(tmp_path: Path) -> None:
    (tmp_path / "agree.py").write_text(AGREE)
    pipes: dict[str, Any] = {"env": environment() | {"PYTHONPATH": str(ROOT / "src")}, "stdout": subprocess.PIPE, "text": True}
    both = [subprocess.Popen(["python", str(tmp_path / "agree.py"), str(rank), str(tmp_path)], **pipes) for rank in range(2)]
    assert [process.communicate(timeout=120)[0] for process in both] == [
        "[3.0, 1.0, 1.0, 0.0, 1.0]\n",
        "[3.0, 2.0, 1.0, 0.0, 0.0]\n",
    ]


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_latents(tmp_path_factory.mktemp("project") / "latents", LABELS)


def start(folder: Path, latents: Path, **changes: Any) -> "subprocess.Popen[str]":
    """The stage, as DVC starts it, in a session of its own."""
    command = ["python", str(ROOT / "src" / "train_diffusion.py"), *arguments(folder, latents, CHANGES | changes)]
    without = {name: value for name, value in environment().items() if name not in ("DVC_ROOT", "WORLD_SIZE")}
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, env=without, start_new_session=True, **pipes)


def run(folder: Path, latents: Path, **changes: Any) -> str:
    with start(folder, latents, **changes) as process:
        output = process.communicate(timeout=120)[0]
    assert process.returncode == 0, output
    return output


@pytest.fixture(scope="module")
def alone(latents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("alone")
    run(folder, latents)
    return folder


def require_same_training(one: Path, other: Path) -> None:
    """Equal losses at each step, within 1e-4, and equal weights, within what 12 steps of AdamW make of rounding."""
    for name in ("training", "validation"):
        ours, theirs = (read_tsv(folder / "curves" / f"{name}.tsv") for folder in (one, other))
        assert [row["step"] for row in ours] == [row["step"] for row in theirs]
        assert [float(row["loss"]) for row in ours] == pytest.approx([float(row["loss"]) for row in theirs], rel=1e-4)
    for name, weight in weights(one).items():
        torch.testing.assert_close(weight, weights(other)[name], atol=1e-3, rtol=1e-3)


def test_two_processes_with_gradients_of_parts_train_as_one_does(alone: Path, latents: Path, tmp_path: Path) -> None:
    output = run(tmp_path / "two", latents, num_processes=2, gradient_accumulation_steps=2)
    require_same_training(tmp_path / "two", alone)
    assert output.count("validation loss") == 1  # one of them speaks
    assert sorted(path.name for path in (tmp_path / "two" / "snapshots").iterdir()) == ["000003", "000006", "000009", "000012"]
    assert list((tmp_path / "two" / "resume").iterdir()) == []


def test_a_sampler_that_follows_the_losses_sees_those_of_all_processes(latents: Path, tmp_path: Path) -> None:
    following = {"T_schedule": "loss_second_moment", "timesteps": 5, "num_train_steps": 16}
    run(tmp_path / "one", latents, **following)
    run(tmp_path / "two", latents, num_processes=2, **following)
    require_same_training(tmp_path / "two", tmp_path / "one")
    means = [float(row["mean_t"]) for row in read_tsv(tmp_path / "two" / "curves" / "training.tsv")]
    assert means[0] == 2
    assert means[-1] != 2  # by then every t has had ten losses


def steps_done(folder: Path) -> int:
    """Of the one training that is interrupted there."""
    (done,) = [CheckpointStore(path.parent).steps_done() for path in (folder / "resume").glob("*/checkpoint.pt")] or [0]
    assert done is not None
    return done


def stop(folder: Path, latents: Path, **changes: Any) -> int:
    """Start the training, or go on with it, and stop it after its next checkpoint; the steps done by then."""
    before = steps_done(folder)
    with start(folder, latents, **changes) as process:
        deadline = time.monotonic() + 60
        while steps_done(folder) == before:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        output = process.communicate(timeout=60)[0]
    assert process.returncode != 0
    assert "stopped by a signal after step" in output
    assert "starts at step 0" not in output
    assert not (folder / "out").exists()
    return steps_done(folder)


def test_a_training_goes_on_with_fewer_processes_and_with_more_and_saves_at_other_steps(latents: Path, tmp_path: Path) -> None:
    long: dict[str, Any] = {"num_train_steps": 150, "validate_every": 50}
    run(tmp_path / "uninterrupted", latents, **long)
    two: dict[str, Any] = long | {"num_processes": 2, "checkpoint_every": 5}
    stopped = tmp_path / "stopped"
    first = stop(stopped, latents, **two)
    assert stop(stopped, latents, **long, gradient_accumulation_steps=2, checkpoint_every=7) > first
    run(stopped, latents, **two)
    assert not list((stopped / "resume").iterdir())
    require_same_training(stopped, tmp_path / "uninterrupted")
