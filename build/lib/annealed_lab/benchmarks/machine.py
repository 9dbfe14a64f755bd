"""What a measurement needs of the machine: its name and speed, clocks, memory, a process of its own."""

import multiprocessing
import resource
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from statistics import median
from typing import ParamSpec, TypeVar

import torch

from annealed_lm.common.devices import PRECISIONS
from annealed_lm.common.errors import InputError

P = ParamSpec("P")
Result = TypeVar("Result")
PRELOADED = ["torch", "accelerate", "tqdm", "transformers.models.bart.modeling_bart", "transformers.generation.utils"]
"""What takes seconds to import, imported once, by a process that does nothing else: every measurement is a fork of it."""
MATRIX_SIZES = {"cpu": 2048, "cuda": 8192}


def in_fresh_process(work: Callable[P, Result], *args: P.args, **kwargs: P.kwargs) -> Result:
    """Return the result of `work`, or its error, from a process that has done nothing before: its peak memory is that of `work`.

    Raises:
        InputError: the process was killed.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    with ProcessPoolExecutor(1, mp_context=context) as executor:
        try:
            return executor.submit(work, *args, **kwargs).result()
        except BrokenProcessPool as error:
            raise InputError(
                "the process that measures was killed, which systems do when memory runs out: leave large sizes out (--sizes)"
            ) from error


def seconds_of(work: Callable[[], object], device: torch.device) -> float:
    """Return the seconds until the device has done the work."""
    synchronise(device)
    start = time.perf_counter()
    work()
    synchronise(device)
    return time.perf_counter() - start


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def median_seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    return median(seconds_of(work, device) for _ in range(repeats))


def peak_memory(device: torch.device) -> float:
    """Return the peak memory of this process so far, in GB: on a GPU what its tensors took, else all that it had in memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def matrix_rates(device: torch.device, size: int, repeats: int) -> dict[str, float]:
    """Measure the FLOP/s of a product of square matrices, the best of `repeats`, by precision: what bounds any model here."""
    rates = {}
    for precision in ("no", "bf16"):
        matrix = torch.randn(size, size, device=device, dtype=PRECISIONS[precision])
        fastest = min(seconds_of(partial(torch.mm, matrix, matrix), device) for _ in range(repeats))
        rates[precision] = 2 * size**3 / fastest
    return rates
