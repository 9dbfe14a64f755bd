"""The loop that every training of the project runs in: seeded steps, progress, checkpoints, a way to stop.

Before each step torch's global random state is set from (seed, step), so dropout and the like depend on nothing else.
"""

import math
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from annealed_lm.checkpoints import CheckpointStore, Stateful
from annealed_lm.errors import InputError
from annealed_lm.seeds import derive_seed

Records = Mapping[str, list[dict[str, Any]]]
Step = Callable[[int], Mapping[str, float | int | torch.Tensor] | None]
"""step (0-based) -> the values to show and record, or None where nothing is due; they include the loss."""


def numbered(name: str, items: Sequence[Stateful]) -> dict[str, Stateful]:
    """Items of one kind under the names that a checkpoint knows them by."""
    return {f"{name}_{i}": item for i, item in enumerate(items)}


@contextmanager
def stop_requests() -> Iterator[threading.Event]:
    """An event that SIGTERM or SIGINT sets, so that the loop can save before it ends."""
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


def run_steps(
    num_train_steps: int,
    train_step: Step,
    *,
    seed: int,
    state: Mapping[str, Stateful],
    records: Records,
    store: CheckpointStore,
    checkpoint_every: int,
    description: str,
) -> None:
    """Run `train_step` for each step that the checkpoint in `store` does not already hold.

    Args:
        state: everything that a step changes.
        records: rows that `train_step` and its callers append; they are saved and cut back with the state.
        checkpoint_every: steps between checkpoints.

    Raises:
        InputError: the loss or a weight is not finite, or a signal asked to stop; the last good checkpoint is kept and named.
    """
    first = store.load(state, records)
    with stop_requests() as stop, tqdm(total=num_train_steps, initial=first, desc=description, disable=None) as progress:
        for step in range(first, num_train_steps):
            torch.manual_seed(derive_seed(seed, "step", step))
            shown = train_step(step)
            if shown is not None:
                values = {name: value.item() if isinstance(value, torch.Tensor) else value for name, value in shown.items()}
                require_finite(values["loss"], step, store)
                progress.set_postfix({name: f"{value:.4g}" for name, value in values.items()}, refresh=False)
            progress.update()
            done = step + 1
            if stop.is_set() or done % checkpoint_every == 0 or done == num_train_steps:
                require_finite_weights(state, done, store)
            if stop.is_set() or (done % checkpoint_every == 0 and done < num_train_steps):
                store.save(done, state, records)
            if stop.is_set():
                raise InputError(
                    f"stopped by a signal after step {done} of {num_train_steps}; the next run goes on from there ({store.path})"
                )


def require_finite(loss: float, step: int, store: CheckpointStore) -> None:
    if not math.isfinite(loss):
        raise diverged(f"the loss is {loss} at step {step}", store)


def require_finite_weights(state: Mapping[str, Stateful], done: int, store: CheckpointStore) -> None:
    """The loss is looked at now and then only: without this, weights that it ruined since could be saved as good."""
    weights = [weight for item in state.values() if isinstance(item, nn.Module) for weight in item.parameters()]
    if not all(bool(weight.isfinite().all()) for weight in weights):
        raise diverged(f"the weights are not finite after step {done}", store)


def diverged(finding: str, store: CheckpointStore) -> InputError:
    kept = f"the last good checkpoint is {store.path}" if store.path.exists() else "there is no checkpoint yet"
    return InputError(f"{finding}: lower the learning rate or use mixed_precision: no; {kept}")
