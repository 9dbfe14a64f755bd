"""The machine that something is computed on: what decides how it rounds there, and what is installed."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from annealed_lm.common.errors import InputError

if TYPE_CHECKING:
    import torch


def processor() -> str:
    """Return the name of the processor, where the system says it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Return what decides how a computation rounds here and how fast it is: what numbers must share to be compared."""
    import torch  # takes seconds, and whoever asks for the processor alone does not need it

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {"processor": processor(), "threads": torch.get_num_threads(), "device": name, "torch": torch.__version__}


def require_trackers(trackers: Sequence[str]) -> None:
    """Check that all trackers are installed: accelerate would leave out one that is not and not say so.

    Raises:
        InputError: a tracker's package, which has its name, is not installed.
    """
    missing = [name for name in trackers if find_spec(name) is None]
    if missing:
        raise InputError(
            f"trackers names {', '.join(missing)}, which is not installed: pip install -r requirements-trackers.txt, "
            "or take it out of trackers"
        )
