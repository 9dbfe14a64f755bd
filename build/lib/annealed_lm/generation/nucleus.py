"""Nucleus sampling (Holtzman et al. 2020, arXiv 1904.09751) in which each text draws with random numbers of its own."""

from collections.abc import Iterable

import torch
from torch import Tensor
from transformers import LogitsProcessor

from annealed_lm.common.seeds import generator


class NucleusChoice(LogitsProcessor):
    """Leave each text one token, drawn from its nucleus with a uniform of its own, so that a text's draws do not depend on
    the batch that it stands in.

    Args:
        top_p: mass of the nucleus.
        uniforms: [batch, tokens], one for each token to be written.
    """

    def __init__(self, top_p: float, uniforms: Tensor) -> None:
        self.top_p = top_p
        self.uniforms = uniforms
        self.written = 0

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        probabilities, tokens = scores.float().softmax(-1).sort(dim=-1, descending=True)
        before = probabilities.cumsum(-1) - probabilities
        in_nucleus = before < self.top_p  # the smallest set whose mass reaches top_p
        in_nucleus[:, 0] = True  # of which a top_p that rounds to 0 would leave none
        cumulated = torch.where(in_nucleus, probabilities, 0.0).cumsum(-1)
        threshold = self.uniforms[:, self.written, None] * cumulated[:, -1:]
        rank = (cumulated <= threshold).sum(-1, keepdim=True)
        rank = rank.minimum(in_nucleus.sum(-1, keepdim=True) - 1)  # the threshold may round to the whole mass
        self.written += 1
        return torch.full_like(scores, float("-inf")).scatter(1, tokens.gather(1, rank), 0.0)


def text_uniforms(indices: Iterable[int], tokens: int, seed: int) -> Tensor:
    """Draw uniforms in [0, 1), float32 [batch, tokens]; the row of text i depends on (seed, i); fewer tokens get its first."""
    return torch.stack([torch.rand(tokens, generator=generator("cpu", seed, "token", index)) for index in indices])
