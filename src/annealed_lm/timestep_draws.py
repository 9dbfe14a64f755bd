"""Draws from a density over t: its inverse CDF at stratified uniforms.

They have less variance than independent ones (Kingma et al. 2021, arXiv 2107.00630, appendix I.1) and the same density.
"""

from typing import Any

import torch
from torch import Tensor

from annealed_lm.schedule_settings import Array
from annealed_lm.timestep_sampling import TimestepSampler


def stratified_uniforms(count: int, random: torch.Generator) -> Tensor:
    """`count` uniforms in [0, 1), one in each of `count` equal intervals, in random order, float64 [count]."""
    offsets = torch.rand(count, generator=random, device=random.device, dtype=torch.float64)
    order = torch.randperm(count, generator=random, device=random.device)
    return (order + offsets) / count


def draw_timesteps(density: Array, uniforms: Tensor) -> Tensor:
    """t int64 [batch], on the device of `uniforms`: the smallest t whose cumulated density exceeds u."""
    cumulated = torch.from_numpy(density.cumsum()).to(uniforms.device)
    last = int(density.nonzero()[0].max())  # rounding may leave the cumulated density a little under 1
    return torch.searchsorted(cumulated / cumulated[-1], uniforms, right=True).clamp(max=last)


class SamplerState:
    """The state of a sampler as a checkpoint holds it: tensors."""

    def __init__(self, sampler: TimestepSampler) -> None:
        self.sampler = sampler

    def state_dict(self) -> dict[str, Any]:
        return {name: torch.from_numpy(array.copy()) for name, array in self.sampler.state().items()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.sampler.restore({name: tensor.numpy() for name, tensor in state_dict.items()})
