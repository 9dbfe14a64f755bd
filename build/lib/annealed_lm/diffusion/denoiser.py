"""The denoising network: a pre-norm transformer over the latent vectors of a text, conditioned on the noise level.

It has a GEGLU feed-forward (Shazeer 2020, arXiv 2002.05202), learned absolute positions and relative ones, and a scale and shift
by the noise level in every block. Self-conditioning is by concatenation, so that it is aligned by position. A class, where the
network knows classes, is added to the time embedding (Lovelace et al. 2023, LD4LG, arXiv 2212.09462).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

RELATIVE_POSITION_BUCKETS = 32
MAX_RELATIVE_DISTANCE = 128
ROTARY_BASE = 10_000


@dataclass(frozen=True)
class DenoiserSettings:
    """The sizes of the network, and what it is conditioned on.

    Attributes:
        latent_dim: width of x_t.
        max_length: the most positions of a text.
        tx_dim, tx_depth, tx_heads: width, blocks and attention heads of the transformer.
        tx_position: how attention knows distances: "bias": a learned one, added to its logits; "rotary": queries and keys are
            rotated.
        scale_shift: whether every block is modulated by the noise level and the class; the input is, in any case.
        num_classes: that the network knows; 0: unconditional.
    """

    latent_dim: int
    max_length: int
    tx_dim: int
    tx_depth: int
    tx_heads: int
    tx_position: str
    dropout: float
    scale_shift: bool
    self_condition: bool
    num_classes: int


def sinusoidal_embedding(noise_level: Tensor, width: int) -> Tensor:
    """Embed noise levels [batch] in [0, 1] as sines and cosines [batch, width], of 1 to 1000 radians over the range."""
    frequencies = torch.exp(torch.linspace(0, math.log(1000), width // 2, device=noise_level.device))
    angles = noise_level[:, None] * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=1)


def relative_position_buckets(length: int, device: torch.device) -> Tensor:
    """Return the bucket of the distance from every query to every key, int64 [length, length].

    Near distances have buckets of their own, far ones share them on a logarithmic scale (Raffel et al. 2020, T5, arXiv
    1910.10683, section 2.1).
    """
    half, exact = RELATIVE_POSITION_BUCKETS // 2, RELATIVE_POSITION_BUCKETS // 4
    positions = torch.arange(length, device=device)
    offset = positions[None, :] - positions[:, None]
    distance = offset.abs()
    far = exact + (distance.clamp(min=1) / exact).log() / math.log(MAX_RELATIVE_DISTANCE / exact) * (half - exact)
    return torch.where(distance < exact, distance, far.long().clamp(max=half - 1)) + half * (offset > 0)


def rotations(length: int, width: int, device: torch.device) -> Tensor:
    """Return cosines and sines of the angles by which the positions of a text are rotated, float32 [2, length, width / 2].

    Attention then knows distances alone (Su et al. 2021, RoFormer, arXiv 2104.09864, section 3.2).
    """
    frequencies = ROTARY_BASE ** -torch.linspace(0, 1, width // 2 + 1, device=device)[:-1]
    angles = torch.arange(length, device=device)[:, None] * frequencies
    return torch.stack([angles.cos(), angles.sin()])


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Rotate queries or keys [batch, heads, length, width] by what `rotations` returned; of an odd width the last stays."""
    cosine, sine = rotation.to(x.dtype)
    half = cosine.shape[-1]
    one, other = x[..., :half], x[..., half : 2 * half]
    return torch.cat([one * cosine - other * sine, one * sine + other * cosine, x[..., 2 * half :]], dim=-1)


class Block(nn.Module):
    """Attention and feed-forward, both normalised before and modulated by the time embedding."""

    def __init__(self, dim: int, heads: int, dropout: float, scale_shift: bool) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_norm = nn.LayerNorm(dim, elementwise_affine=not scale_shift)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.attention_out = nn.Linear(dim, dim)
        self.feed_forward_norm = nn.LayerNorm(dim, elementwise_affine=not scale_shift)
        hidden = 8 * dim // 3  # as many parameters as a plain feed-forward of 4 * dim
        self.gate_and_value = nn.Linear(dim, 2 * hidden)
        self.feed_forward_out = nn.Linear(hidden, dim)
        self.modulation = nn.Linear(dim, 4 * dim) if scale_shift else None
        if self.modulation is not None:
            nn.init.zeros_(self.modulation.weight)
            nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, time: Tensor, bias: Tensor, rotation: Tensor | None = None) -> Tensor:
        """Return the block's output, [batch, length, dim].

        Args:
            x: [batch, length, dim].
            time: embedding of noise level and class, [batch, dim].
            bias: added to the attention's logits, [batch, heads or 1, length or 1, length].
            rotation: of queries and keys, from `rotations`; None: they are not rotated.
        """
        modulation = self.modulation(time)[:, None].chunk(4, dim=-1) if self.modulation is not None else None
        attended = self.attention_norm(x)
        if modulation is not None:
            attended = attended * (1 + modulation[0]) + modulation[1]
        x = x + self.drop(self.attention(attended, bias, rotation))
        fed = self.feed_forward_norm(x)
        if modulation is not None:
            fed = fed * (1 + modulation[2]) + modulation[3]
        gate, value = self.gate_and_value(fed).chunk(2, dim=-1)
        return x + self.drop(self.feed_forward_out(F.gelu(gate) * value))

    def attention(self, x: Tensor, bias: Tensor, rotation: Tensor | None) -> Tensor:
        """Let every position attend to all, [batch, length, dim] -> the same shape."""
        # All three are [batch, heads, length, dim / heads].
        query, key, value = self.qkv(x).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        if rotation is not None:
            query, key = rotate(query, rotation), rotate(key, rotation)
        out = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        mixed: Tensor = self.attention_out(out.transpose(1, 2).flatten(2))
        return mixed

    def drop(self, x: Tensor) -> Tensor:
        """Apply dropout while training."""
        return F.dropout(x, self.dropout, self.training)


class DenoisingTransformer(nn.Module):
    """The network: (x_t, noise level, mask, self_cond, class_id) -> output of the shape of x_t."""

    def __init__(self, settings: DenoiserSettings) -> None:
        super().__init__()
        self.settings = settings
        dim = settings.tx_dim
        self.input = nn.Linear(settings.latent_dim * (2 if settings.self_condition else 1), dim)
        self.position = nn.Parameter(torch.randn(settings.max_length, dim) * 0.02)
        self.relative_position = (
            nn.Embedding(RELATIVE_POSITION_BUCKETS, settings.tx_heads) if settings.tx_position == "bias" else None
        )
        if self.relative_position is not None:
            nn.init.zeros_(self.relative_position.weight)
        self.time = nn.Sequential(nn.Linear(dim, 4 * dim), nn.SiLU(), nn.Linear(4 * dim, dim), nn.SiLU())
        self.class_embedding = nn.Embedding(settings.num_classes + 1, dim) if settings.num_classes else None
        if self.class_embedding is not None:
            nn.init.normal_(self.class_embedding.weight, std=0.02)
        self.time_to_input = nn.Linear(dim, dim)
        self.blocks = nn.ModuleList(
            Block(dim, settings.tx_heads, settings.dropout, settings.scale_shift) for _ in range(settings.tx_depth)
        )
        self.norm = nn.LayerNorm(dim)
        self.output = nn.Linear(dim, settings.latent_dim)
        nn.init.zeros_(self.output.weight)
        nn.init.zeros_(self.output.bias)

    def forward(
        self,
        x_t: Tensor,
        noise_level: Tensor,
        mask: Tensor,
        self_cond: Tensor | None = None,
        class_id: Tensor | None = None,
    ) -> Tensor:
        """Return the network's output, [batch, length, latent_dim].

        Args:
            x_t: [batch, length, latent_dim].
            noise_level: [batch], in (0, 1].
            mask: [batch, length], True: real.
            self_cond: [batch, length, latent_dim]; without it, a network with self-conditioning reads zeros.
            class_id: int64 [batch], in which `num_classes` stands for no class; without it, no text has a class.

        Raises:
            ValueError: `class_id` for a network without classes.
        """
        if self.settings.self_condition:
            x_t = torch.cat([x_t, torch.zeros_like(x_t) if self_cond is None else self_cond], dim=-1)
        time = self.time(sinusoidal_embedding(noise_level, self.settings.tx_dim))
        if self.class_embedding is not None:
            no_class = torch.full((len(x_t),), self.settings.num_classes, device=x_t.device)
            time = time + self.class_embedding(no_class if class_id is None else class_id)
        elif class_id is not None:
            raise ValueError("an unconditional network was given classes")
        x = self.input(x_t) + self.position[: x_t.shape[1]] + self.time_to_input(time)[:, None]
        bias, rotation = self.attention_bias(mask), self.rotation(x)
        for block in self.blocks:
            x = block(x, time, bias, rotation)
        output: Tensor = self.output(self.norm(x))
        return output

    def compile_blocks(self) -> None:
        """Compile the blocks with torch.compile, for any batch size and length; they share their code, so that one is compiled.

        A shape that needs another graph than those compiled so far is an error, never a return to uncompiled code.
        """
        torch._dynamo.config.fail_on_recompile_limit_hit = True
        for block in self.blocks:
            block.compile(fullgraph=True, dynamic=True)

    def hidden_matrices(self) -> list[nn.Parameter]:
        """Return the matrices of the blocks."""
        return [parameter for parameter in self.blocks.parameters() if parameter.ndim == 2]

    def attention_bias(self, mask: Tensor) -> Tensor:
        """Return what is added to the logits of attention: the relative position bias, if any, and minus infinity where the key
        is padding, [batch, heads or 1, length or 1, length]."""
        padding = ~mask[:, None, None, :]
        if self.relative_position is None:
            return torch.zeros(padding.shape, device=mask.device).masked_fill(padding, float("-inf"))
        buckets = relative_position_buckets(mask.shape[1], mask.device)
        bias: Tensor = self.relative_position(buckets).permute(2, 0, 1)[None]
        return bias.masked_fill(padding, float("-inf"))

    def rotation(self, x: Tensor) -> Tensor | None:
        """Return the rotations of the positions of x [batch, length, dim]; None where none are rotated."""
        if self.relative_position is not None:
            return None
        return rotations(x.shape[1], self.settings.tx_dim // self.settings.tx_heads, x.device)


def forward_flops(denoiser: DenoisingTransformer, lengths: Sequence[int]) -> float:
    """Count the operations of evaluating the network on texts of these lengths, without padding.

    They are 2 for every weight that multiplies a position or, in the embedding of t, a text; and 4 dim length^2 for the attention
    of a block.
    """
    per_text, per_position = 0, 0
    for name, module in denoiser.named_modules():
        if isinstance(module, nn.Linear):
            of_text = name.startswith("time") or name.endswith("modulation")
            per_text += of_text * module.weight.numel()
            per_position += (not of_text) * module.weight.numel()
    attention = 2 * denoiser.settings.tx_dim * denoiser.settings.tx_depth * sum(length**2 for length in lengths)
    return 2.0 * (per_text * len(lengths) + per_position * sum(lengths) + attention)


def training_flops(denoiser: DenoisingTransformer, lengths: Sequence[int], self_condition: float) -> float:
    """Count the operations of training on texts of these lengths.

    They are a forward pass, twice that for the backward pass, and a forward pass for the share of the texts that is
    self-conditioned. Recomputation, padding and the encoder are no work of the model's.
    """
    return (3 + self_condition) * forward_flops(denoiser, lengths)
