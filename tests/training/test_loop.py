import io
import math
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from annealed_lm.common.errors import InputError
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.loop import LoopSettings, numbered, progress_bar, run_steps, show
from annealed_lm.training.processes import ALONE, Processes

STEPS = 12


class Training:
    """A walk of random steps; its weight depends on every draw of every step so far."""

    def __init__(self, folder: Path, losses: dict[int, float] | None = None, signal_at: int | None = None) -> None:
        self.store = CheckpointStore(folder)
        self.model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(self.model.weight)
        self.rows: list[dict[str, Any]] = []
        self.losses = losses or {}
        self.signal_at = signal_at
        self.steps_done: list[int] = []

    def train_step(self, step: int) -> dict[str, float | torch.Tensor] | None:
        loss = self.losses.get(step, 1.0)
        with torch.no_grad():
            self.model.weight.mul_(0.9).add_(torch.randn(()) * loss)
        self.steps_done.append(step)
        if step == self.signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        if step % 3:
            return None
        self.rows.append({"step": step + 1, "weight": self.model.weight.item()})
        return {"loss": torch.tensor(loss), "T_now": 5}

    def run(self, seed: int = 0, checkpoint_every: int | str = 4, processes: Processes = ALONE) -> float:
        settings = LoopSettings(STEPS, seed, checkpoint_every, "walk")
        run_steps(settings, self.train_step, {"model": self.model}, {"rows": self.rows}, self.store, processes)
        return self.model.weight.item()


@pytest.fixture
def uninterrupted(tmp_path: Path) -> Training:
    training = Training(tmp_path / "uninterrupted")
    training.run()
    return training


def test_every_step_is_done_once_and_in_order(uninterrupted: Training) -> None:
    assert uninterrupted.steps_done == list(range(STEPS))
    assert [row["step"] for row in uninterrupted.rows] == [1, 4, 7, 10]


def test_random_numbers_depend_on_seed_and_step_only(uninterrupted: Training, tmp_path: Path) -> None:
    torch.rand(3)
    assert Training(tmp_path / "again").run() == uninterrupted.model.weight.item()
    assert Training(tmp_path / "often saved").run(checkpoint_every=1) == uninterrupted.model.weight.item()
    assert Training(tmp_path / "other").run(seed=1) != uninterrupted.model.weight.item()


@pytest.mark.parametrize("signal_at", [0, 4, 7, STEPS - 1])
def test_a_training_that_was_stopped_goes_on_where_it_was(signal_at: int, uninterrupted: Training, tmp_path: Path) -> None:
    stopped = Training(tmp_path / "key", signal_at=signal_at)
    with pytest.raises(InputError, match=rf"stopped by a signal after step {signal_at + 1} of {STEPS}; the next run goes on"):
        stopped.run()
    assert stopped.steps_done == list(range(signal_at + 1))
    resumed = Training(tmp_path / "key")
    assert resumed.run() == uninterrupted.model.weight.item()
    assert resumed.steps_done == list(range(signal_at + 1, STEPS))
    assert resumed.rows == uninterrupted.rows


def test_a_training_that_was_killed_goes_on_from_its_checkpoint(uninterrupted: Training, tmp_path: Path) -> None:
    killed = Training(tmp_path / "key")
    original = killed.train_step

    def dies(step: int) -> dict[str, float | torch.Tensor] | None:
        if step == 10:
            raise KeyboardInterrupt
        return original(step)

    killed.train_step = dies
    with pytest.raises(KeyboardInterrupt):
        killed.run()
    assert len(killed.rows) == 4
    resumed = Training(tmp_path / "key")
    assert resumed.run() == uninterrupted.model.weight.item()
    assert resumed.steps_done == [8, 9, 10, 11]
    assert resumed.rows == uninterrupted.rows


def pass_time(training: Training, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each step last 10 seconds, and whatever else no time."""
    monkeypatch.setattr(time, "monotonic", lambda: 10.0 * len(training.steps_done))


def saved_steps(training: Training, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The list that the steps of its checkpoints will be appended to."""
    steps: list[int] = []
    save = training.store.save

    def recorded(step: int, *state: Any) -> None:
        steps.append(step)
        save(step, *state)

    monkeypatch.setattr(training.store, "save", recorded)
    return steps


@pytest.mark.parametrize(
    ("checkpoint_every", "expected"),
    [
        ("30s", [3, 6, 9]),
        ("0.5min", [3, 6, 9]),
        ("25s", [3, 6, 9]),
        ("1min", [6]),
        ("1h", []),
        ("1s", [*range(1, STEPS)]),
        (5, [5, 10]),
    ],
)
def test_checkpoints_are_saved_every_so_often_and_change_nothing(
    checkpoint_every: int | str, expected: list[int], uninterrupted: Training, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = Training(tmp_path / "key")
    steps = saved_steps(training, monkeypatch)
    pass_time(training, monkeypatch)
    assert training.run(checkpoint_every=checkpoint_every) == uninterrupted.model.weight.item()
    assert training.rows == uninterrupted.rows
    assert steps == expected


def test_a_wrong_interval_is_refused_before_the_first_step(tmp_path: Path) -> None:
    training = Training(tmp_path / "key")
    with pytest.raises(ValueError, match="a number of steps greater than 0, or a time such as 90s"):
        training.run(checkpoint_every="often")
    assert training.steps_done == []


@dataclass(frozen=True)
class OneOfTwo(Processes):
    """A process whose companion does not run here.

    Attributes:
        asked: what it asked the companion.
        stops_at: the number of the question that the companion answers with yes.
        other_first: the step that the companion starts from, by default the same.
    """

    asked: list[str] = field(default_factory=list)
    stops_at: int = 10**9
    other_first: int | None = None

    def sum(self, value: torch.Tensor) -> torch.Tensor:
        return value + (value if self.other_first is None else self.other_first)

    def any(self, flag: bool) -> bool:
        self.asked.append("any")
        return flag or self.asked.count("any") == self.stops_at

    def wait(self) -> None:
        self.asked.append("wait")


def one_of_two(rank: int, **others: Any) -> OneOfTwo:
    return OneOfTwo(rank, 2, torch.device("cpu"), **others)


def test_of_several_processes_only_the_first_saves(tmp_path: Path) -> None:
    Training(tmp_path / "second").run(processes=one_of_two(1))
    assert not (tmp_path / "second").exists()
    Training(tmp_path / "first").run(processes=one_of_two(0))
    assert torch.load(tmp_path / "first" / "checkpoint.pt")["step"] == 8


def test_processes_draw_other_numbers_and_the_first_those_of_a_process_alone(uninterrupted: Training, tmp_path: Path) -> None:
    weights = [Training(tmp_path / str(rank)).run(processes=one_of_two(rank)) for rank in (0, 1)]
    assert weights[0] == uninterrupted.model.weight.item() != weights[1]
    assert Training(tmp_path / "again").run(processes=one_of_two(1)) == weights[1]


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_stop_together_after_the_first_has_saved(rank: int, uninterrupted: Training, tmp_path: Path) -> None:
    processes = one_of_two(rank, stops_at=2)  # the first question is whether both start from one step
    training = Training(tmp_path / "key")
    with pytest.raises(InputError, match=f"stopped by a signal after step 10 of {STEPS}"):
        training.run(processes=processes)
    assert processes.asked == ["any", "any", "wait"]
    assert training.store.path.exists() == (rank == 0)
    if rank == 0:
        assert Training(tmp_path / "key").run() == uninterrupted.model.weight.item()


def test_a_signal_to_one_of_several_processes_waits_for_the_step_at_which_they_ask(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="after step 10 of"):
        Training(tmp_path / "key", signal_at=3).run(processes=one_of_two(0))


@pytest.mark.parametrize("rank", [0, 1])
def test_every_process_asks_the_same_questions(rank: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    training, processes = Training(tmp_path / "key"), one_of_two(rank)
    pass_time(training, monkeypatch)
    training.run(checkpoint_every="50s", processes=processes)
    assert processes.asked == ["any"] * 5  # of the start, and of stopping and of time after the steps 10 and 12
    assert training.store.path.exists() == (rank == 0)


@pytest.mark.parametrize("rank", [0, 1])
def test_processes_that_find_different_checkpoints_say_so(rank: int, tmp_path: Path) -> None:
    Training(tmp_path / "key").run()
    training = Training(tmp_path / "key")
    with pytest.raises(InputError, match=r"find different checkpoints in .*key: it must be a folder that all of them see"):
        training.run(processes=one_of_two(rank, other_first=0))
    assert training.steps_done == []


def test_a_finished_training_saves_no_checkpoint_of_its_end(uninterrupted: Training) -> None:
    assert torch.load(uninterrupted.store.path)["step"] == 8


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_training_and_names_step_and_checkpoint(loss: float, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=rf"the loss is {loss} at step 3: .*there is no checkpoint yet"):
        Training(tmp_path / "early", losses={3: loss}).run()
    with pytest.raises(InputError, match=rf"the loss is {loss} at step 6: .*the last good checkpoint is .*late/checkpoint.pt"):
        Training(tmp_path / "late", losses={6: loss}).run()


@pytest.mark.parametrize("bad_step", [5, 7, 10, 11])
def test_no_checkpoint_and_no_result_holds_weights_that_are_not_finite(bad_step: int, tmp_path: Path) -> None:
    training = Training(tmp_path / "key", losses={bad_step: math.nan})  # at none of these steps is the loss looked at
    with pytest.raises(InputError, match=r"not finite.*the last good checkpoint is .*key/checkpoint.pt"):
        training.run()
    kept = torch.load(training.store.path)
    assert kept["step"] == bad_step // 4 * 4
    assert kept["state"]["model"]["weight"].isfinite().all()


def test_a_signal_does_not_save_weights_that_are_not_finite(tmp_path: Path) -> None:
    training = Training(tmp_path / "key", losses={5: math.nan}, signal_at=5)
    with pytest.raises(InputError, match="not finite"):
        training.run()
    assert torch.load(training.store.path)["step"] == 4


def test_signals_mean_afterwards_what_they_meant_before(uninterrupted: Training, tmp_path: Path) -> None:
    def handler(*_: object) -> None: ...

    before, interrupt = signal.signal(signal.SIGTERM, handler), signal.getsignal(signal.SIGINT)
    try:
        Training(tmp_path / "key").run()
        assert signal.getsignal(signal.SIGTERM) is handler
        assert signal.getsignal(signal.SIGINT) is interrupt
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_training_can_run_outside_the_main_thread(uninterrupted: Training, tmp_path: Path) -> None:
    training = Training(tmp_path / "key")
    thread = threading.Thread(target=training.run)
    thread.start()
    thread.join()
    assert training.model.weight.item() == uninterrupted.model.weight.item()


def test_progress_is_silent_where_no_one_watches(uninterrupted: Training, capfd: pytest.CaptureFixture[str]) -> None:
    uninterrupted.run()
    assert capfd.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_fits_80_columns_and_shows_loss_range_and_time_left(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = progress_bar(LoopSettings(80000, 0, 1000, "language model"), first=0, silent=None)
    values = {"loss": 1234.56789, "T_now": 1000, "mean_t": 499.5, "learning_rate": 1e-5}
    show(values, 0, bar, CheckpointStore(Path("nowhere")))
    bar.refresh()
    line = terminal.getvalue().split("\r")[-1]
    assert len(line) <= 80
    assert line.startswith("language model 1/80000 |")
    assert "loss=1235, T_now=1000" in line
    assert " left" in line
    bar.close()


def test_items_of_a_kind_have_names_of_their_own() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    assert numbered("optimizer", [first, second]) == {"optimizer_0": first, "optimizer_1": second}
