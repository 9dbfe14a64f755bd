"""Attention alone: what the relative position bias costs, beside rotated queries and keys, no mask, and flex_attention."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any
from warnings import catch_warnings

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.flex_attention import flex_attention

from annealed_lab.benchmarks.captured import captured
from annealed_lab.benchmarks.machine import median_seconds
from annealed_lab.benchmarks.sizes import config_of
from annealed_lab.gpu_report.items import Item, Setting
from annealed_lm.diffusion.denoiser import rotate, rotations

Form = Callable[[Tensor, Tensor, Tensor], Tensor]
FLEX = "bias, flex_attention"
LENGTH = 32
REPEATS = 20
CALLS = 10
"""Timed together, forwards and backwards, on a GPU as one graph: to start them one by one takes longer than they do."""
BACKENDS = (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH)


def attention_items(setting: Setting) -> list[Item]:
    """Return an item for every form; flex_attention is compiled, for a GPU."""
    section = config_of(setting.size.size, setting.presets, setting.device).train_diffusion
    flexes = setting.device.type == "cuda" and setting.compiler and setting.size.compiles
    shape = (section.train_batch_size, section.tx_heads, LENGTH, section.tx_dim // section.tx_heads)
    names = ["bias", "rotary", "no mask", *([FLEX] if flexes else [])]
    return [Item(name, 20, measure_attention, (setting.device, shape, name)) for name in names]


def forms(shape: tuple[int, ...], device: torch.device) -> dict[str, Form]:
    """Return the forms of attention by name, functions of query, key and value [batch, heads, length, width] in bf16."""
    batch, heads, length, width = shape
    lengths = torch.linspace(length // 2, length, batch, device=device).long()
    mask = (torch.arange(length, device=device) < lengths[:, None])[:, None, None]
    learned = torch.zeros(1, heads, length, length, device=device, requires_grad=True)
    # As a block is given it: made once for all of them, and with a gradient of its own.
    bias = learned.detach().masked_fill(~mask, float("-inf")).bfloat16().requires_grad_()
    padding = torch.zeros(mask.shape, device=device).masked_fill(~mask, float("-inf")).bfloat16()
    rotation = rotations(length, width, device)

    def biased(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(query, key, value, attn_mask=bias)

    def rotary(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return F.scaled_dot_product_attention(rotate(query, rotation), rotate(key, rotation), value, attn_mask=padding)

    def score(logit: Tensor, text: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return torch.where(key < lengths[text], logit + learned[0, head, query, key], float("-inf"))

    flex = torch.compile(flex_attention)
    return {
        "bias": biased,
        "rotary": rotary,
        "no mask": F.scaled_dot_product_attention,
        FLEX: lambda query, key, value: flex(query, key, value, score_mod=score),
    }


def measure_attention(device: torch.device, shape: tuple[int, ...], name: str) -> dict[str, Any]:
    """Time the attention of one block in a form, forwards and backwards, in microseconds: by the kernels that torch chooses, and
    by every kind of them that takes this form.
    """
    form = forms(shape, device)[name]
    batch, heads, length, width = shape
    described = {"batch": batch, "heads": heads, "length": length, "width": width}
    chosen = {"microseconds": microseconds(form, shape, device)}
    return described | chosen | ({} if name == FLEX else {"by_kernels": by_kernels(form, shape, device)})


def microseconds(form: Form, shape: tuple[int, ...], device: torch.device) -> float:
    """Return how long one call takes, forwards and backwards."""
    query, key, value = (torch.randn(shape, device=device, dtype=torch.bfloat16, requires_grad=True) for _ in range(3))

    def calls() -> None:
        for _ in range(CALLS):
            form(query, key, value).sum().backward()

    replay = captured(calls, device)
    replay()
    return 1e6 * median_seconds(replay, device, REPEATS) / CALLS


def by_kernels(form: Form, shape: tuple[int, ...], device: torch.device) -> dict[str, float]:
    """Return the microseconds of every kind of kernels of scaled_dot_product_attention that takes a form, backwards too."""
    found = {}
    for backend in BACKENDS:
        with suppress(RuntimeError), catch_warnings(action="ignore"), sdpa_kernel(backend):  # told by both where it does not
            found[backend.name.lower()] = microseconds(form, shape, device)
    return found
