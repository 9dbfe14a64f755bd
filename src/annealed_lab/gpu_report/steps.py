"""Training steps: how fast every way to train is, the minutes of a whole training, and where the time of a step goes."""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from statistics import median
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from annealed_lab.benchmarks.machine import peak_memory, seconds_of, synchronise
from annealed_lab.benchmarks.sizes import config_of
from annealed_lab.benchmarks.training import Way, extrapolated, run, trainer_of, ways_to_train
from annealed_lab.gpu_report.items import Clock, Item, Setting
from annealed_lm.common.devices import keep_freed_memory
from annealed_lm.config.config import Config
from annealed_lm.diffusion.denoiser import training_flops

GRAPHS = "+ CUDA graphs"
CHUNK = 50
"""Steps between two looks at the clock."""
PROFILED_STEPS = 5
PROFILE_ROWS = 10


def ways(setting: Setting) -> list[Way]:
    """Return the ways to train: from plain on, each adding one saving; then the last of them changed in one thing each."""
    compiled = setting.compiler and setting.size.compiles
    adding = ways_to_train(with_padding=True, compiler=compiled)
    fastest = replace(adding[-1], name=GRAPHS, captured=True)
    large = setting.size.large_batch
    others: dict[str, dict[str, Any]] = {"rotary": {"tx_position": "rotary"}, f"batch {large}": {"train_batch_size": large}}
    changed = [replace(fastest, name=f"{GRAPHS}, {name}", training={**fastest.training, **each}) for name, each in others.items()]
    if compiled:
        changed.append(replace(fastest, name=f"{GRAPHS}, not compiled", training={**fastest.training, "compile": False}))
    return [*adding, fastest, *changed]


def config_of_way(setting: Setting, way: Way) -> Config:
    """Return the parameters of a way."""
    return config_of(setting.size.size, setting.presets, setting.device, way.training)


def training_items(setting: Setting) -> list[Item]:
    """Return an item for every way to train."""
    window, windows = setting.size.window, setting.size.windows
    return [
        Item(way.name, 60 if way.training["compile"] else 25, measure_way, (config_of_way(setting, way), way, window, windows))
        for way in ways(setting)
    ]


def measure_way(config: Config, way: Way, window: int, windows: int) -> dict[str, Any]:
    """Time windows of steps in a row, after one in which everything is compiled and captured.

    Steps are timed in a row: the CPU may be ahead of the device, as it is in a training.
    """
    keep_freed_memory()  # as every training does
    trainer = trainer_of(config, way)
    device, section, lengths = trainer.accelerator.device, config.train_diffusion, trainer.latents.index.lengths
    stretches = [range(number * window, (number + 1) * window) for number in range(windows + 1)]
    first, *timed = [seconds_of(partial(run, trainer, stretch), device) for stretch in stretches]
    seconds = median(timed) / window
    seen = [int(length) for step in stretches[-1] for length in lengths[trainer.order.batch(step)]]
    tokens = sum(seen) / window
    return {
        "same_work": does_the_same(way),
        "batch": section.train_batch_size,
        "precision": section.mixed_precision,
        "seconds_per_step": seconds,
        "texts_per_second": section.train_batch_size / seconds,
        "tokens_per_second": tokens / seconds,
        "tflops": training_flops(trainer.denoiser, seen, section.self_condition) / window / seconds / 1e12,
        "fastest_to_slowest": min(timed) / max(timed),
        "first_window_seconds": first,
        "peak_memory_gb": peak_memory(device),
    }


def does_the_same(way: Way) -> bool:
    """Return whether a way trains the model of the thesis in its batches."""
    return not {"tx_position", "train_batch_size"} & set(way.training)


def best_way(setting: Setting) -> Way:
    """Return the fastest measured way with the model and the batch of the thesis; the one with all savings if none was."""
    comparable = [way for way in ways(setting) if does_the_same(way)]
    rows = setting.known.get("training", {})
    measured = [way for way in comparable if "seconds_per_step" in rows.get(way.name, {})]
    return min(measured, key=lambda way: float(rows[way.name]["seconds_per_step"]), default=comparable[-1])


def whole_items(setting: Setting) -> list[Item]:
    """Return the one item of the minutes of a whole training."""
    way = best_way(setting)
    arguments = (config_of_way(setting, way), way, setting.size.window, setting.size.whole_steps, setting.clock)
    return [Item(f"{setting.size.whole_steps} steps", 75, measure_whole, arguments)]


def measure_whole(config: Config, way: Way, warm_up: int, steps: int, clock: Clock) -> dict[str, Any]:
    """Tell the minutes of the whole training from `steps` of its steps in a row, or from those that the time allows."""
    keep_freed_memory()
    trainer = trainer_of(config, way)
    device, done, losses = trainer.accelerator.device, 0, []
    run(trainer, range(warm_up))
    synchronise(device)
    seconds = 0.0
    while done < steps and (done == 0 or clock.left() > 2 * seconds / done * CHUNK):
        chunk = range(warm_up + done, warm_up + min(done + CHUNK, steps))
        start = time.perf_counter()
        run(trainer, chunk[:-1])
        losses.append(float(trainer.train_step(chunk[-1])))  # read as a training reads it, which waits for the device
        seconds += time.perf_counter() - start
        done += len(chunk)
    return {
        "way": way.name,
        **extrapolated(config, done, seconds),
        "first_loss": losses[0],
        "last_loss": losses[-1],
        "peak_memory_gb": peak_memory(device),
    }


def profile_items(setting: Setting) -> list[Item]:
    """Return the items of the profile: a step as it is trained, and the fastest."""
    named = {way.name: way for way in ways(setting)}
    chosen = {name: named[name] for name in ("+ bf16", GRAPHS)}
    return [
        Item(name, 40, profile_steps, (config_of_way(setting, way), way, setting.size.window)) for name, way in chosen.items()
    ]


def profile_steps(config: Config, way: Way, warm_up: int) -> dict[str, Any]:
    """Return where the time of a step goes: what took the most of it, by name, and the share of it in which the device worked."""
    trainer = trainer_of(config, way)
    device = trainer.accelerator.device
    run(trainer, range(warm_up))
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
    with profile(activities=activities) as profiled:
        steps = range(warm_up, warm_up + PROFILED_STEPS)
        seconds = seconds_of(lambda: run(trainer, steps), device)
    rows = profile_rows(profiled.key_averages(), device)
    return {
        "milliseconds_per_step": 1000 * seconds / PROFILED_STEPS,
        "busy_share": sum(row["milliseconds"] for row in rows) * PROFILED_STEPS / 1000 / seconds,
        "rows": rows[:PROFILE_ROWS],
    }


def is_kernel(event: Any) -> bool:
    """Return whether something ran on a GPU, and is no name that spans what did."""
    return str(event.device_type).endswith("CUDA") and not event.is_user_annotation


def profile_rows(events: Sequence[Any], device: torch.device) -> list[dict[str, Any]]:
    """Return what ran in a step, by name, the longest first: kernels on a GPU, operations on a CPU, without what they call."""
    kernels = [event for event in events if is_kernel(event)] if device.type == "cuda" else events
    rows = [
        {
            "name": event.key[:90],
            "calls": event.count / PROFILED_STEPS,
            "milliseconds": (event.self_device_time_total if device.type == "cuda" else event.self_cpu_time_total)
            / 1000
            / PROFILED_STEPS,
        }
        for event in kernels
    ]
    total = sum(row["milliseconds"] for row in rows)
    ranked = sorted(rows, key=lambda row: -row["milliseconds"])
    return [row | {"share": row["milliseconds"] / total} for row in ranked]
