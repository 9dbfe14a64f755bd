"""Random numbers are derived, not consumed: every use of them has a seed of its own, made of what it is for.

So a resumed run equals an uninterrupted one, evaluation never disturbs training, and sample i does not depend on the batch that
it stands in.
"""

import hashlib

import torch


def derive_seed(*parts: int | str) -> int:
    """Return a seed in [0, 2^63) that depends on every part and on their order, the same on every machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def generator(device: torch.device | str, *parts: int | str) -> torch.Generator:
    """Return a fresh generator on `device`, seeded by `derive_seed(*parts)`."""
    return torch.Generator(device).manual_seed(derive_seed(*parts))
