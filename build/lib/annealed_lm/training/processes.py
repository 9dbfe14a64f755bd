"""The processes that train together: which one this is, and what they agree on."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import Tensor

from annealed_lm.common.errors import InputError
from annealed_lm.common.machine import require_trackers


@dataclass(frozen=True)
class Processes:
    """One of `count` processes on one batch; alone, agreeing costs nothing.

    Attributes:
        rank: from 0; process 0 writes what is written.
        device: where tensors of this process are.
    """

    rank: int
    count: int
    device: torch.device

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Return the sum of every process's `value`; all must call it."""
        if self.count > 1:
            torch.distributed.all_reduce(value := value.clone())
        return value

    def any(self, flag: bool) -> bool:
        """Return whether `flag` is set in any process; all must call it."""
        if self.count == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.count > 1:
            torch.distributed.barrier()

    def share(self, count: int) -> range:
        """Return the part of `count` things that falls to this process: contiguous, and as equal as can be."""
        return range(self.rank * count // self.count, (self.rank + 1) * count // self.count)


ALONE = Processes(0, 1, torch.device("cpu"))


def start_processes(num_processes: int) -> None:
    """Become `num_processes` processes that run this same program together, under torchrun, unless this is one of them already.

    With one process nothing happens. Several take a GPU each, or share the CPU.
    """
    if num_processes > 1 and "WORLD_SIZE" not in os.environ:
        launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(num_processes)]
        os.execv(sys.executable, [sys.executable, *launcher, *sys.argv])


def make_accelerator(mixed_precision: str, trackers: Sequence[str], tracker_folder: Path) -> Accelerator:
    """Return an accelerator with the device at hand, autocast to `mixed_precision` and trackers, which `tracking` opens.

    Args:
        mixed_precision: "no", "bf16" or "fp16".

    Raises:
        InputError: the device cannot compute in this precision, or a tracker is not installed.
    """
    require_trackers(trackers)
    try:
        accelerator = Accelerator(
            cpu=not torch.accelerator.is_available(),  # else accelerate sees one process where several share a CPU
            mixed_precision=mixed_precision,
            log_with=list(trackers) or None,
            project_dir=tracker_folder,
        )
    except ValueError as error:
        raise InputError(f"train_diffusion.mixed_precision = {mixed_precision} is not for this machine: {error}") from error
    if mixed_precision != "no" and not accelerator.native_amp:  # accelerate would compute in full precision and not say so
        raise InputError(f"train_diffusion.mixed_precision = {mixed_precision} is not for this machine: it needs a GPU")
    return accelerator


def require_compiler() -> None:
    """Check that torch.compile finds a C++ compiler.

    Raises:
        InputError: it finds none.
    """
    from torch._inductor.cpp_builder import get_cpp_compiler  # slow to import
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        get_cpp_compiler()
    except InvalidCxxCompiler as error:
        raise InputError(
            "train_diffusion.compile = true needs a C++ compiler (g++ or clang++), which is not installed"
        ) from error


def processes_of(accelerator: Accelerator) -> Processes:
    """Return the processes that an accelerator knows, this one among them."""
    return Processes(accelerator.process_index, accelerator.num_processes, accelerator.device)
