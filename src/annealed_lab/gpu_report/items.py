"""What the report is made of: parts of items, each measured in a process of its own, within the time that is left."""

import multiprocessing
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import torch

from annealed_lab.benchmarks.machine import PRELOADED
from annealed_lab.gpu_report.sizes import ReportSize
from annealed_lm.common.errors import InputError

Values = dict[str, Any]
GRACE = 30.0
"""Seconds that a process has to save what it needs once it is asked to end."""


class NotMeasuredError(InputError):
    """What kept an item from being measured, in a sentence or as the end of a traceback."""


class Item(NamedTuple):
    """One measurement.

    Attributes:
        name: in its part.
        least: seconds that must be left for it to be begun, on a GPU.
        work: what measures it, a function of a module, since it is called in another process.
        arguments: of `work`.
    """

    name: str
    least: float
    work: Callable[..., Values]
    arguments: tuple[Any, ...]


@dataclass(frozen=True)
class Clock:
    """A limit of the time: a moment of time.monotonic, which all processes of a machine share."""

    end: float

    @classmethod
    def of_minutes(cls, minutes: float) -> "Clock":
        """Return a clock that ends in so many minutes."""
        return cls(time.monotonic() + 60 * minutes)

    def left(self) -> float:
        """Return the seconds that are left, 0 where the time is up."""
        return max(0.0, self.end - time.monotonic())


@dataclass(frozen=True)
class Setting:
    """What the items of a part may depend on.

    Attributes:
        presets: the folder presets/.
        texts: folder of prepared texts, for the training from texts to samples.
        out: folder of all that is written.
        device: that is measured.
        compiler: whether torch.compile finds a C++ compiler.
        clock: when everything must end.
        known: what has been measured, by part and item.
    """

    size: ReportSize
    presets: Path
    texts: Path
    out: Path
    device: torch.device
    compiler: bool
    clock: Clock
    known: Mapping[str, Mapping[str, Values]]


@dataclass(frozen=True)
class Part:
    """Items that belong together.

    Attributes:
        title: stands above their table.
        items: that this setting has.
        chained: every item needs those before it.
    """

    title: str
    items: Callable[[Setting], Sequence[Item]]
    chained: bool = False


Runner = Callable[[float, Item], Values]
"""(seconds at most, item) -> what its work returned."""


def in_own_process(seconds: float, item: Item) -> Values:
    """Run an item's work in a process that has done nothing before and return its result.

    Raises:
        NotMeasuredError: it failed, was killed, or took longer; it is then asked to end, and killed after `GRACE`.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    here, there = context.Pipe(duplex=False)
    process = context.Process(target=send_result, args=(there, item))
    process.start()
    there.close()
    try:
        if not here.poll(seconds):
            raise NotMeasuredError(f"it took more than the {seconds:.0f} seconds that it had")
        result = here.recv()
        process.join(GRACE)
    except EOFError as error:
        process.join()
        raise NotMeasuredError(f"its process ended without a result, with status {process.exitcode}") from error
    finally:
        if process.is_alive():
            process.terminate()
            process.join(GRACE)
            process.kill()
            process.join()
    if isinstance(result, str):
        raise NotMeasuredError(result)
    values: Values = result
    return values


def send_result(there: Connection, item: Item) -> None:
    """Send what an item's work returns, or as text what it failed with."""
    try:
        there.send(item.work(*item.arguments))
    except (Exception, SystemExit) as error:
        there.send(failure(error))


def failure(error: BaseException) -> str:
    """Return the sentence of an error that is one, and of others where they arose."""
    if isinstance(error, InputError | SystemExit):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{Path(frame.filename).name} line {frame.lineno}" for frame in frames[-4:]]
    return f"{type(error).__name__}: {str(error)[:800]} ({' > '.join(places)})"
