import ctypes
from pathlib import Path
from typing import Any

import pytest

from annealed_lm.common.devices import keep_freed_memory
from support.projects import ROOT, call

FAULTS = """
import resource, sys
import numpy as np
from annealed_lm.common.devices import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(2**23)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(20):
    np.ones(2**23)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not keep_freed_memory(), reason="another C library than glibc")
def test_the_system_is_asked_for_memory_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "faults.py").write_text(FAULTS)
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    faults = [int(call(tmp_path, "python", "faults.py", way)) for way in ("keep", "default")]
    assert faults[0] < faults[1] / 3


@pytest.mark.parametrize("library", ["none", "without mallopt"])
def test_another_c_library_is_left_alone(library: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(name: str) -> Any:
        if library == "none":
            raise OSError(name)
        return object()

    monkeypatch.setattr(ctypes, "CDLL", load)
    assert not keep_freed_memory()
