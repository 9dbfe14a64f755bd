"""The processes that train together: which one this is, and what they agree on."""

from dataclasses import dataclass

import torch
from torch import Tensor


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
        """The sum of every process's `value`; all must call it."""
        if self.count > 1:
            torch.distributed.all_reduce(value := value.clone())
        return value

    def any(self, flag: bool) -> bool:
        """Whether `flag` is set in any process; all must call it."""
        if self.count == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)) > 0)

    def wait(self) -> None:
        """Go on when all processes have come here."""
        if self.count > 1:
            torch.distributed.barrier()

    def share(self, count: int) -> range:
        """The part of `count` things that falls to this process: contiguous, and as equal as can be."""
        return range(self.rank * count // self.count, (self.rank + 1) * count // self.count)


ALONE = Processes(0, 1, torch.device("cpu"))
