import math
import os
import signal
import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from annealed_lm.checkpoints import CheckpointStore
from annealed_lm.errors import InputError
from annealed_lm.training_loop import numbered, run_steps

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

    def run(self, seed: int = 0, checkpoint_every: int = 4) -> float:
        run_steps(
            STEPS,
            self.train_step,
            seed=seed,
            state={"model": self.model},
            records={"rows": self.rows},
            store=self.store,
            checkpoint_every=checkpoint_every,
            description="walk",
        )
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


def test_items_of_a_kind_have_names_of_their_own() -> None:
    first, second = nn.Linear(1, 1), nn.Linear(1, 1)
    assert numbered("optimizer", [first, second]) == {"optimizer_0": first, "optimizer_1": second}
