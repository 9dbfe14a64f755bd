"""Which rows make up the batch of a step: a pure function of (seed, step), so that resuming needs no state."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from annealed_lm.common.seeds import derive_seed

Indices = npt.NDArray[np.int64]
WINDOW_BATCHES = 50
"""So many batches are cut from a window of rows sorted by length: little padding, and yet every epoch is shuffled anew."""


class BatchOrder:
    """Epochs of shuffled batches.

    An epoch visits every row once, but for the last `len(lengths) % batch_size` of its permutation. With fewer rows than
    `batch_size`, rows repeat within a batch.

    Bucketed, texts of like length stand together within a window of `WINDOW_BATCHES` batches. A text still comes once an epoch;
    what changes is its company: the texts of a batch are of one length, so the lengths of successive batches vary more than
    chance would have it.

    Args:
        lengths: tokens of every row.
        batch_size: rows of a batch.
        seed: of the permutations.
        bucketed: False for batches of any texts.
    """

    def __init__(self, lengths: Sequence[int] | Indices, batch_size: int, seed: int, bucketed: bool = True) -> None:
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.batch_size = batch_size
        self.seed = seed
        self.bucketed = bucketed and self.lengths.min() != self.lengths.max()
        self.batches_per_epoch = max(len(self.lengths) // batch_size, 1)
        self.epoch_batches = lru_cache(maxsize=2)(self._epoch_batches)

    def batch(self, step: int) -> Indices:
        """Return the row numbers of the batch of `step` (0-based), int64 [batch_size]."""
        epoch, position = divmod(step, self.batches_per_epoch)
        rows: Indices = self.epoch_batches(epoch)[position]
        return rows

    def _epoch_batches(self, epoch: int) -> Indices:
        random = np.random.default_rng(derive_seed(self.seed, "order", epoch))
        size = self.batches_per_epoch * self.batch_size
        rows = np.resize(random.permutation(len(self.lengths)), size)
        if self.bucketed:
            window = WINDOW_BATCHES * self.batch_size
            parts = [rows[start : start + window] for start in range(0, size, window)]
            rows = np.concatenate([part[np.argsort(self.lengths[part], kind="stable")] for part in parts])
        batches: Indices = rows.reshape(-1, self.batch_size)
        return batches[random.permutation(len(batches))]
