"""The loop that every training of the project runs in: seeded steps, progress, checkpoints, a way to stop.

Before each step torch's global random state is set from (seed, step), so dropout and the like depend on nothing else.
"""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any, cast

import torch
from torch import nn
from tqdm import tqdm

from annealed_lm.common.devices import keep_freed_memory
from annealed_lm.common.errors import InputError
from annealed_lm.common.intervals import Interval, parse_interval
from annealed_lm.common.seeds import derive_seed
from annealed_lm.training.checkpoints import CheckpointStore, Stateful
from annealed_lm.training.processes import ALONE, Processes

Records = Mapping[str, list[dict[str, Any]]]
Values = Mapping[str, float | int | torch.Tensor]
Step = Callable[[int], Values | None]
"""step (0-based) -> the values to show and record, or None where nothing is due; they include the loss."""

BAR = "{desc} {n_fmt}/{total_fmt} |{bar}| {remaining} left{postfix}"
COLUMNS = 80
SHOWN = ("loss", "T_now")
"""Of the values of a step, those for which such a line has room."""
AGREE_EVERY = 10
"""Steps between two agreements of all processes, which make them wait for each other."""


def numbered(name: str, items: Sequence[Stateful]) -> dict[str, Stateful]:
    """Return items of one kind under the names that a checkpoint knows them by: `name`_0, `name`_1, ..."""
    return {f"{name}_{i}": item for i, item in enumerate(items)}


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """Yield an event that SIGTERM or SIGINT sets, so that the loop can save before it ends."""
    stop = threading.Event()

    def handler(signal_number: int, frame: FrameType | None) -> None:
        stop.set()

    if threading.current_thread() is not threading.main_thread():  # only the main thread may listen
        yield stop
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, previous in before.items():
            signal.signal(number, previous)


class CheckpointClock:
    """The clock by which all processes know alike when a checkpoint is due."""

    def __init__(self, interval: Interval, processes: Processes) -> None:
        self.interval = interval
        self.processes = processes
        self.restart()

    def restart(self) -> None:
        """Count the time from now on."""
        self.started = time.monotonic()

    def due(self, done: int, agreeing: bool) -> bool:
        """Return whether a checkpoint is due after `done` steps.

        All processes must call it with the same arguments; a time ends only where they agree on it.
        """
        if self.interval.seconds is None:
            return done % cast(int, self.interval.steps) == 0
        elapsed = time.monotonic() - self.started
        return agreeing and self.processes.any(self.processes.is_main and elapsed >= self.interval.seconds)


@dataclass(frozen=True)
class LoopSettings:
    """How long the loop runs, and how.

    Attributes:
        seed: of torch's global random state in every step.
        checkpoint_every: steps between checkpoints, or a time such as 30s or 5min (`parse_interval`).
        description: stands before the progress bar.
    """

    num_train_steps: int
    seed: int
    checkpoint_every: int | str
    description: str


def run_steps(
    settings: LoopSettings,
    train_step: Step,
    state: Mapping[str, Stateful],
    records: Records,
    store: CheckpointStore,
    processes: Processes = ALONE,
) -> None:
    """Run `train_step` for every step that the checkpoint in `store` does not already hold.

    Args:
        state: everything that a step changes.
        records: rows that `train_step` and its callers append; they are saved and cut back with the state.
        processes: those that train together, all of which run this; process 0 alone saves and shows progress.

    Raises:
        InputError: the loss or a weight is not finite, or a signal asked to stop; the last good checkpoint is kept and named.
            Or the processes read different checkpoints.
        OSError: the disk takes no checkpoint; the last good one is kept.
    """
    keep_freed_memory()
    clock = CheckpointClock(parse_interval(settings.checkpoint_every), processes)
    num_train_steps = settings.num_train_steps
    first = store.load(state, records)
    require_same_start(first, store, processes)
    bar = progress_bar(settings, first, silent=None if processes.is_main else True)
    with stop_requests() as stop, bar as progress:
        for step in range(first, num_train_steps):
            torch.manual_seed(step_seed(settings.seed, step, processes))
            show(train_step(step), step, progress, store)
            done = step + 1
            agreeing = processes.count == 1 or done % AGREE_EVERY == 0 or done == num_train_steps
            stopping = agreeing and processes.any(stop.is_set())
            saving = clock.due(done, agreeing) and done < num_train_steps
            if stopping or saving or done == num_train_steps:
                require_finite_weights(state, done, store)
            if (stopping or saving) and processes.is_main:
                store.save(done, state, records)
                clock.restart()
            if stopping:
                processes.wait()  # whoever ends first may be what ends the others
                raise InputError(
                    f"stopped by a signal after step {done} of {num_train_steps}; the next run goes on from there ({store.path})"
                )


def progress_bar(settings: LoopSettings, first: int, silent: bool | None) -> Any:
    """Return tqdm's bar for a training that begins after `first` steps, on a line of `COLUMNS`.

    Args:
        silent: None shows it where someone watches, on a terminal.
    """
    total = settings.num_train_steps
    return tqdm(desc=settings.description, total=total, initial=first, bar_format=BAR, ncols=COLUMNS, disable=silent)


def require_same_start(first: int, store: CheckpointStore, processes: Processes) -> None:
    """Check that all processes have read the same checkpoint; else they would wait for each other at different steps.

    It returns once all have read it.

    Raises:
        InputError: they start from different steps.
    """
    total = int(processes.sum(torch.tensor(first, device=processes.device)))
    if processes.any(total != first * processes.count):
        raise InputError(f"the processes find different checkpoints in {store.folder}: it must be a folder that all of them see")


def step_seed(seed: int, step: int, processes: Processes) -> int:
    """Return the seed of torch's global random state: processes drop out different units, and the first the same as one alone."""
    return derive_seed(seed, "step", step) if processes.is_main else derive_seed(seed, "step", step, processes.rank)


def show(shown: Values | None, step: int, progress: Any, store: CheckpointStore) -> None:
    """Count the step, and show its values where it has any.

    Raises:
        InputError: the loss is not finite.
    """
    if shown is not None:
        values = {name: value.item() if isinstance(value, torch.Tensor) else value for name, value in shown.items()}
        require_finite(values["loss"], step, store)
        progress.set_postfix({name: f"{values[name]:.4g}" for name in SHOWN if name in values}, refresh=False)
    progress.update()


def require_finite(loss: float, step: int, store: CheckpointStore) -> None:
    """Check that the loss is a finite number.

    Raises:
        InputError: it is not; the last good checkpoint is named.
    """
    if not math.isfinite(loss):
        raise diverged(f"the loss is {loss} at step {step}", store)


def require_finite_weights(state: Mapping[str, Stateful], done: int, store: CheckpointStore) -> None:
    """Check that all weights are finite.

    The loss is looked at only now and then: without this, weights that it has ruined since could be saved as good.

    Raises:
        InputError: a weight is not finite; the last good checkpoint is named.
    """
    weights = [weight for item in state.values() if isinstance(item, nn.Module) for weight in item.parameters()]
    if not all(bool(weight.isfinite().all()) for weight in weights):
        raise diverged(f"the weights are not finite after step {done}", store)


def diverged(finding: str, store: CheckpointStore) -> InputError:
    """Return the error of a training that has gone wrong, with what to change and the last good checkpoint."""
    kept = f"the last good checkpoint is {store.path}" if store.path.exists() else "there is no checkpoint yet"
    return InputError(f"{finding}: lower the learning rate or use mixed_precision: no; {kept}")
