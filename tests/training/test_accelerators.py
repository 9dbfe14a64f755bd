import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch._inductor import cpp_builder
from torch._inductor.exc import InvalidCxxCompiler

from annealed_lm.common.errors import InputError
from annealed_lm.training import processes as accelerators
from annealed_lm.training.processes import make_accelerator, processes_of, require_compiler, start_processes


@pytest.fixture(autouse=True)
def no_precision_left_over() -> Iterator[None]:
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.mark.parametrize("mixed_precision", ["bf16", "fp16"])
def test_a_precision_that_accelerate_refuses_is_named(mixed_precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(mixed_precision: str, **others: Any) -> Accelerator:
        raise ValueError("the device is too old")

    monkeypatch.setattr(accelerators, "Accelerator", refuse)
    with pytest.raises(InputError, match=f"mixed_precision = {mixed_precision} is not for this machine: the device is too old"):
        make_accelerator(mixed_precision, [], Path("trackers"))


def test_half_precision_needs_a_gpu() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine computes in fp16")
    with pytest.raises(InputError, match="mixed_precision = fp16 is not for this machine: it needs a GPU"):
        make_accelerator("fp16", [], Path("trackers"))


def test_alone_is_the_first_of_one() -> None:
    processes = processes_of(make_accelerator("no", [], Path("trackers")))
    assert (processes.rank, processes.count) == (0, 1)


def test_compiling_without_a_compiler_is_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise InvalidCxxCompiler

    require_compiler()
    monkeypatch.setattr(cpp_builder, "get_cpp_compiler", refuse)
    with pytest.raises(InputError, match=r"train_diffusion.compile = true needs a C\+\+ compiler"):
        require_compiler()


@pytest.mark.parametrize(
    ("num_processes", "environment", "started"), [(1, {}, False), (3, {}, True), (3, {"WORLD_SIZE": "3"}, False)]
)
def test_several_processes_are_started_once(
    num_processes: int, environment: dict[str, str], started: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(os, "execv", lambda program, command: commands.append(command))
    monkeypatch.setattr(sys, "argv", ["src/train_diffusion.py", "--params", "params.yaml"])
    start_processes(num_processes)
    assert len(commands) == started
    if started:
        assert commands[0][commands[0].index("--nproc-per-node") + 1] == str(num_processes)
        assert commands[0][-3:] == sys.argv
