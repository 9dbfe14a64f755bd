"""Lists of unequal length as one padded tensor and its mask (True: real)."""

from collections.abc import Sequence

import torch
from torch import Tensor


def pad_ids(rows: Sequence[Sequence[int]], pad_id: int) -> tuple[Tensor, Tensor]:
    """Token ids [batch, longest] and mask [batch, longest]."""
    longest = max(map(len, rows))
    ids = torch.tensor([[*row, *[pad_id] * (longest - len(row))] for row in rows])
    mask = torch.arange(longest) < torch.tensor([len(row) for row in rows])[:, None]
    return ids, mask
