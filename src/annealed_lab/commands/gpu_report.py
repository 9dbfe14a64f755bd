"""Measure everything that needs a GPU, in parts in order of worth, within a limit of time, and without internet or DVC.

Each result is written before the next is measured, and what is there is not measured again: call it again for what is left.
With --tiny every part is made at a tiny size, on a CPU too: a rehearsal, whose figures mean nothing.

Reads: presets/, tests/gpu, data/prepared. Writes: outputs/gpu (report.md, gpu.json, bench_gpu.json, samples.jsonl).
Example: python src/lab.py gpu-report --minutes 8
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from annealed_lab.benchmarks.training import has_compiler
from annealed_lab.experiments.places import add_places
from annealed_lab.gpu_report.items import Clock, Runner, Setting, in_own_process
from annealed_lab.gpu_report.package import commit_of, source_digest
from annealed_lab.gpu_report.parts import PARTS, Store, measure_parts
from annealed_lab.gpu_report.sizes import THESIS, TINY
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import InputError, tell
from annealed_lm.common.machine import describe_machine

RESULTS = "gpu.json"


def parse_arguments(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_places(parser, "texts")
    parser.add_argument("--presets", type=Path, default=Path("presets"), metavar="PATH", help="(%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("outputs/gpu"), metavar="PATH", help="folder (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10, help="when it ends, whatever is left (%(default)s)")
    parser.add_argument("--parts", default=",".join(PARTS), help="with commas between (%(default)s)")
    parser.add_argument("--tiny", action="store_true", help="every part at a tiny size")
    args = parser.parse_args(arguments)
    args.parts = [name.strip() for name in args.parts.split(",")]
    for name in args.parts:
        if name not in PARTS:
            raise InputError(f"--parts {name}: it should be some of {', '.join(PARTS)}")
    if args.minutes <= 0:
        raise InputError(f"--minutes {args.minutes:g}: it should be more than 0")
    return args


def identity(size: str, device: torch.device) -> dict[str, Any]:
    """Return what results must share to stand in one report."""
    return {"size": size, "commit": commit_of(Path()), "code": source_digest(Path())[:12], **describe_machine(device)}


def main(program: str, arguments: Sequence[str], runner: Runner = in_own_process) -> None:
    args = parse_arguments(program, arguments)
    clock, device, size = Clock.of_minutes(args.minutes), default_device(), TINY if args.tiny else THESIS
    if device.type == "cpu" and not args.tiny:
        raise InputError("this machine has no GPU that torch can use: --tiny rehearses the report on a CPU")
    if "experiment" in args.parts and not (args.texts / "train.jsonl").exists():
        raise InputError(
            f"{args.texts} holds no prepared texts: dvc repro prepare_data makes them, or name --parts without experiment"
        )
    setting = Setting(size, args.presets, args.texts, args.out, device, has_compiler(), clock, {})
    store = Store(args.out / RESULTS, identity(size.name, device))
    measure_parts(args.parts, setting, store, runner)
    print((args.out / "report.md").read_text(encoding="utf-8"))
    tell(f"{args.out}/report.md; {len(store.values['left_out'])} items are left out")
