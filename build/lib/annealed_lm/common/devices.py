"""The device that models run on, and the precision that they compute in when they are used, not trained."""

import ctypes

import torch

from annealed_lm.common.errors import InputError

PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""By value of mixed_precision."""


def default_device() -> torch.device:
    """Return the first GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def gpu_count() -> int:
    """Return how many GPUs there are."""
    return torch.cuda.device_count() if torch.cuda.is_available() else 0


def autocast(device: torch.device, mixed_precision: str) -> torch.autocast:
    """Return a context that computes matrix products in `mixed_precision`, a name in `PRECISIONS`; "no" changes nothing.

    Weights are cast when they are first used in the context, so one context should hold all that uses them.

    Raises:
        InputError: the device cannot compute in this precision.
    """
    if mixed_precision == "fp16" and device.type == "cpu":
        raise InputError("sample_texts.mixed_precision = fp16 needs a GPU, and this runs on a CPU: it should be no or bf16")
    return torch.autocast(device.type, PRECISIONS[mixed_precision], enabled=mixed_precision != "no")


M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Names of mallopt's settings, as malloc.h numbers them."""
LARGEST = 2**31 - 1
MAPPED_FROM = 2**30
"""From so many bytes on, a piece of memory is still taken from the system, and given back to it."""


def keep_freed_memory() -> bool:
    """Let the C library keep the memory of freed tensors.

    By default glibc gives large pieces back to the system at once, and the next step's tensors get pages that the system has to
    clear first.

    Returns:
        whether it does: other C libraries than glibc have no such setting, and there nothing changes.
    """
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, MAPPED_FROM)) and bool(mallopt(M_TRIM_THRESHOLD, LARGEST))
