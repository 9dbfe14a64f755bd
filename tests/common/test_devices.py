import ctypes
from pathlib import Path
from typing import Any

import pytest

from annealed_lm.common.devices import keep_freed_memory
from support.projects import ROOT, call

FAULTS = """
import resource
import numpy as np
from annealed_lm.common.devices import keep_freed_memory

def faults():
    np.ones(2**23)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        np.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

by_default = faults()
assert keep_freed_memory()
print(by_default, faults())
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="another C library than glibc")
def test_the_system_is_asked_for_memory_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faults.py").write_text(FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    by_default, kept = map(int, call(tmp_path, "python", "faults.py").split())
    assert kept < by_default / 3


@pytest.mark.parametrize("library", ["none", "without mallopt"])
def test_another_c_library_is_left_alone(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if library == "none":
            raise OSError(name)
        return object()

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert not keep_freed_memory()
