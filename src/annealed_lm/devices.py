"""The device that models run on, and the precision that they compute in when they are used, not trained."""

import torch

from annealed_lm.errors import InputError

PRECISIONS = {"no": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def default_device() -> torch.device:
    """The first GPU, or the CPU where there is none."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def autocast(device: torch.device, mixed_precision: str) -> torch.autocast:
    """A context in which matrix products are in `mixed_precision`, a name in `PRECISIONS`; with "no" it changes nothing.

    Weights are cast when they are first used in the context, so one context should hold all that uses them.

    Raises:
        InputError: the device cannot compute in this precision.
    """
    if mixed_precision == "fp16" and device.type == "cpu":
        raise InputError("sample_texts.mixed_precision = fp16 needs a GPU, and this runs on a CPU: it should be no or bf16")
    return torch.autocast(device.type, PRECISIONS[mixed_precision], enabled=mixed_precision != "no")
