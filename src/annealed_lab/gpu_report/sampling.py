"""How long it takes to sample and to decode texts."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from annealed_lab.benchmarks.sampling import DecodingWay, SamplingWay, measure_decoding, measure_sampling
from annealed_lab.benchmarks.sizes import config_of
from annealed_lab.gpu_report.items import Item, Setting
from annealed_lm.config.config import Config


def config_of_sampling(setting: Setting, sampling: Mapping[str, Any]) -> Config:
    """Return the parameters of the report's size with these in the section sample_texts."""
    changes = {**setting.size.size.changes, "sample_texts": sampling}
    return config_of(replace(setting.size.size, changes=changes), setting.presets, setting.device)


def sampling_items(setting: Setting) -> list[Item]:
    """Return the items: latents by two solvers, then texts by two ways of decoding."""
    size, device = setting.size, setting.device
    solvers = {"ddim": size.ddim_steps, "dpm_solver": size.solver_steps}
    items = [
        Item(
            f"{solver}, {steps} steps",
            45,
            time_sampling,
            (
                config_of_sampling(setting, {"solver": solver, "sampling_timesteps": steps}),
                device,
                size.sampled_texts,
                size.sampling_batch,
            ),
        )
        for solver, steps in solvers.items()
    ]
    ways = {name: DecodingWay(name, cache=True, mixed_precision="bf16") for name in ("greedy", "beam")}
    config = config_of_sampling(setting, {})
    return [
        *items,
        *(Item(f"decoding, {name}", 30, time_decoding, (config, way, device, size.sampled_texts)) for name, way in ways.items()),
    ]


def time_sampling(config: Config, device: torch.device, texts: int, batch_size: int) -> dict[str, Any]:
    """Time the sampling of latents in bf16; the share of noise is of a solver that draws it at every step."""
    section = config.sample_texts
    steps = section.sampling_timesteps
    measured = measure_sampling(config, SamplingWay(False, batch_size, "bf16"), device, texts, steps)
    if section.solver != "ddim":
        del measured["share_of_noise"]
    return {"solver": section.solver, "steps": steps, "seconds": texts / measured["texts_per_second"]} | measured


def time_decoding(config: Config, way: DecodingWay, device: torch.device, texts: int) -> dict[str, Any]:
    """Time the decoding of texts, each to the most tokens there may be."""
    measured = measure_decoding(config, way, device, texts)
    return {"strategy": way.strategy, "seconds": texts / measured["texts_per_second"]} | measured
