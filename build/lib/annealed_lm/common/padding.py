"""Lists of unequal length as one padded tensor and its mask (True: real)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_ids(rows: Sequence[Sequence[int]], pad_id: int, length: int | None = None) -> tuple[Tensor, Tensor]:
    """Pad token ids to `length`, or to the longest row without it.

    Returns:
        ids int64 [batch, length], and mask bool [batch, length], True: real.
    """
    length = length or max(map(len, rows))
    ids = torch.tensor([[*row, *[pad_id] * (length - len(row))] for row in rows])
    mask = torch.arange(length) < torch.tensor([len(row) for row in rows])[:, None]
    return ids, mask
