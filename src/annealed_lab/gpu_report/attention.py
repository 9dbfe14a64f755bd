"""Attention alone: what the relative position bias costs, beside rotated queries and keys, no mask, and flex_attention."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from annealed_lab.benchmarks.machine import median_seconds
from annealed_lab.benchmarks.sizes import config_of
from annealed_lab.gpu_report.items import Item, Setting
from annealed_lm.diffusion.denoiser import rotate, rotations

LENGTH = 32
REPEATS = 20
CALLS = 10
"""Timed together, forwards and backwards."""


def attention_items(setting: Setting) -> list[Item]:
    """Return the one item of all forms."""
    section = config_of(setting.size.size, setting.params, setting.device).train_diffusion
    flexes = setting.device.type == "cuda" and setting.compiler and setting.size.compiles
    shape = (section.train_batch_size, section.tx_heads, LENGTH, section.tx_dim // section.tx_heads)
    return [Item("forms", 45, measure_attention, (setting.device, shape, flexes))]


def forms(shape: tuple[int, ...], device: torch.device, flexes: bool) -> dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]]:
    """Return the forms of attention by name, functions of query, key and value [batch, heads, length, width] in bf16."""
    batch, heads, length, width = shape
    lengths = torch.linspace(length // 2, length, batch, device=device).long()
    mask = (torch.arange(length, device=device) < lengths[:, None])[:, None, None]
    learned = torch.zeros(1, heads, length, length, device=device, requires_grad=True)
    padding = torch.zeros(mask.shape, device=device).masked_fill(~mask, float("-inf")).bfloat16()
    rotation = rotations(length, width, device)

    def biased(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        bias = learned.masked_fill(~mask, float("-inf")).to(query.dtype)
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    def rotary(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(rotate(query, rotation), rotate(key, rotation), value, attn_mask=padding)

    def score(logit: Tensor, text: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return torch.where(key < lengths[text], logit + learned[0, head, query, key], float("-inf"))

    found: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
        "bias": biased,
        "rotary": rotary,
        "no mask": F.scaled_dot_product_attention,
    }
    if flexes:
        compiled = torch.compile(flex_attention)
        found["bias, flex_attention"] = lambda query, key, value: compiled(query, key, value, score_mod=score)
    return found


def measure_attention(device: torch.device, shape: tuple[int, ...], flexes: bool) -> dict[str, Any]:
    """Time the attention of one block, forwards and backwards, in every form, in microseconds."""
    rows = []
    for name, form in forms(shape, device, flexes).items():
        query, key, value = (torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))

        def calls(form: Callable[..., Tensor] = form, inputs: tuple[Tensor, ...] = (query, key, value)) -> None:
            for _ in range(CALLS):
                form(*inputs).sum().backward()

        calls()
        seconds = median_seconds(calls, device, REPEATS) / CALLS
        kernels = ", ".join(backends(form, (query, key, value))) if device.type == "cuda" and "flex" not in name else None
        rows.append({"form": name, "microseconds": 1e6 * seconds, "kernels": kernels})
    return {"shape": list(shape), "rows": rows}


def backends(form: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> list[str]:
    """Return the kernels of scaled_dot_product_attention that take a form, backwards too."""
    found = []
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION):
        with suppress(RuntimeError), sdpa_kernel(backend):
            form(*inputs).sum().backward()
            found.append(backend.name.lower())
    return found
