"""Random numbers by position: a number is a function of its text's key and of where it stands, not of what was drawn before.

So the numbers of all texts of a batch come out of one expression, on any device, and those of a text depend neither on the
batch nor on its padding. The generator is SplitMix64 (Steele, Lea & Flood 2014, "Fast splittable pseudorandom number generators",
OOPSLA, doi 10.1145/2660193.2660195, with the finaliser of java.util.SplittableRandom): its state grows by a constant a draw, so
that draw n needs none before it. Arithmetic is that of int64 tensors, which wraps around as that of uint64 does.
"""

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from annealed_lm.common.seeds import derive_seed


def wrapped(number: int) -> int:
    """The int64 with the last 64 bits of `number`."""
    return (number + 2**63) % 2**64 - 2**63


GOLDEN_GAMMA = 0x9E3779B97F4A7C15
"""What the state grows by: the odd number nearest to 2^64 over the golden ratio."""
MIXING = ((30, wrapped(0xBF58476D1CE4E5B9)), (27, wrapped(0x94D049BB133111EB)))
"""(shift, factor) of the finaliser's rounds."""
LAST_SHIFT = 31
HALF = 2**32


def shifted_right(bits: Tensor, places: int, out: Tensor | None = None) -> Tensor:
    """A logical shift: zeros come in from the left, whatever the sign."""
    return torch.bitwise_right_shift(bits, places, out=out).bitwise_and_(2 ** (64 - places) - 1)


def mix(states: Tensor) -> Tensor:
    """The numbers that SplitMix64 gives out at these states, int64 of the same shape; `states` is overwritten."""
    shifted = torch.empty_like(states)  # used three times: to allocate takes longer than to shift
    for places, factor in MIXING:
        states.bitwise_xor_(shifted_right(states, places, shifted)).mul_(factor)
    return states.bitwise_xor_(shifted_right(states, LAST_SHIFT, shifted))


def text_keys(indices: Iterable[int], device: torch.device | str, *parts: int | str) -> Tensor:
    """A key for each text, int64 [texts]: of text i, derive_seed(*parts, i)."""
    return torch.tensor([derive_seed(*parts, index) for index in indices], dtype=torch.int64, device=device)


def split_keys(keys: Tensor, number: int) -> Tensor:
    """Keys for the draws of one purpose among many, such as a sampling step: draw `number`, from 0, of each key's generator."""
    return mix(keys + wrapped((number + 1) * GOLDEN_GAMMA))


def splitmix64(keys: Tensor, count: int) -> Tensor:
    """The first `count` numbers of the generators seeded with `keys` [texts]: all 64 bits random, int64 [texts, count]."""
    growth = torch.arange(1, count + 1, device=keys.device) * wrapped(GOLDEN_GAMMA)
    return mix(keys[:, None] + growth)


def uniforms(keys: Tensor, count: int) -> Tensor:
    """Uniforms in [0, 1), multiples of 2^-24, float32 [texts, count]."""
    return shifted_right(splitmix64(keys, count), 40).float().mul_(2**-24)


def normals(keys: Tensor, count: int) -> Tensor:
    """Standard normals, float32 [texts, count], of magnitude up to 6.66.

    Two from each 64 random bits (Box & Muller 1958, doi 10.1214/aoms/1177706645), so a smaller `count` gives the first of a
    larger one.
    """
    bits = splitmix64(keys, (count + 1) // 2)
    radius = shifted_right(bits, 32).float().add_(1).mul_(1 / HALF).log_().mul_(-2).sqrt_()
    angle = bits.bitwise_and_(HALF - 1).float().mul_(2 * math.pi / HALF)
    pairs = radius.new_empty(*radius.shape, 2)
    torch.mul(radius, angle.cos(), out=pairs[..., 0])
    torch.mul(radius, angle.sin_(), out=pairs[..., 1])
    return pairs.flatten(1)[:, :count]
