"""The device: what it is, and how many operations a second it does, measured and published."""

import os
import platform
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from annealed_lab.benchmarks.machine import matrix_rates
from annealed_lm.common.machine import describe_machine

REPEATS = 20
PUBLISHED = {
    "H200": {"no": 67e12, "tf32": 494.7e12, "bf16": 989.4e12},
    "H100 80GB HBM3": {"no": 67e12, "tf32": 494.7e12, "bf16": 989.4e12},
    "H100 PCIe": {"no": 51e12, "tf32": 378e12, "bf16": 756e12},
    "A100": {"no": 19.5e12, "tf32": 156e12, "bf16": 312e12},
    "L40S": {"no": 91.6e12, "tf32": 183e12, "bf16": 362e12},
    "RTX 4090": {"no": 82.6e12, "tf32": 82.6e12, "bf16": 165.2e12},
}
"""By part of the device's name, the dense FLOP/s that its data sheet states, by precision."""


def published_rates(name: str) -> dict[str, float]:
    """Return the dense FLOP/s of a device by precision, as its data sheet states them; none of a device unknown here."""
    return next((rates for part, rates in PUBLISHED.items() if part in name), {})


def measure_device(device: torch.device, size: int) -> dict[str, Any]:
    """Describe the device and measure FLOP/s of products of matrices with `size` rows, in TFLOP/s."""
    described: dict[str, Any] = describe_machine(device) | {"python": platform.python_version(), "cores": os.cpu_count()}
    rates = matrix_rates(device, size, REPEATS)
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        described |= {
            "cuda": torch.version.cuda,
            "capability": f"{properties.major}.{properties.minor}",
            "multiprocessors": properties.multi_processor_count,
            "memory_gb": properties.total_memory / 1e9,
            "free_gb": torch.cuda.mem_get_info(device)[0] / 1e9,
            "bf16_supported": torch.cuda.is_bf16_supported(),
            "driver": driver(),
        }
        torch.set_float32_matmul_precision("high")
        rates["tf32"] = matrix_rates(device, size, REPEATS)["no"]
    published = published_rates(described["device"])
    return described | {
        "measured_tflops": {name: rate / 1e12 for name, rate in rates.items()},
        "published_tflops": {name: rate / 1e12 for name, rate in published.items()},
    }


def driver() -> str | None:
    """Return the version of NVIDIA's driver, as the system states it; None where it does not."""
    with suppress(OSError):
        words = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8").split()
        return next((word for word in words if word.count(".") >= 1 and word[0].isdigit()), None)
    return None
