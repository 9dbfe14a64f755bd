"""How much arithmetic a training takes, whatever the machine."""

from collections.abc import Sequence

from torch import nn

from annealed_lm.denoiser import DenoisingTransformer


def forward_flops(denoiser: DenoisingTransformer, lengths: Sequence[int]) -> float:
    """Of evaluating the network on texts of these lengths without padding: 2 for each weight that multiplies a position or, in
    the embedding of t, a text; and 4 dim length^2 for the attention of a block."""
    per_text, per_position = 0, 0
    for name, module in denoiser.named_modules():
        if isinstance(module, nn.Linear):
            of_text = name.startswith("time") or name.endswith("modulation")
            per_text += of_text * module.weight.numel()
            per_position += (not of_text) * module.weight.numel()
    attention = 2 * denoiser.settings.tx_dim * denoiser.settings.tx_depth * sum(length**2 for length in lengths)
    return 2.0 * (per_text * len(lengths) + per_position * sum(lengths) + attention)


def training_flops(denoiser: DenoisingTransformer, lengths: Sequence[int], self_condition: float) -> float:
    """Of training on texts of these lengths: forward, twice that backward, and a forward for the share of the texts that is
    self-conditioned. What is recomputed or padded, and the encoder, is no work of the model's."""
    return (3 + self_condition) * forward_flops(denoiser, lengths)
