"""How fast training is, from the plainest way to the fastest, each adding one saving to the one before; and what a checkpoint
costs."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import torch

from annealed_lab.benchmarks.captured import with_captured_steps
from annealed_lab.benchmarks.machine import median_seconds, peak_memory, seconds_of
from annealed_lab.benchmarks.plain import PaddedTexts, without_fused_kernels, without_padding_saved
from annealed_lab.benchmarks.sizes import latent_shape, lengths_vary, make_autoencoder, random_texts
from annealed_lm.autoencoder.encoding import EncodedTexts
from annealed_lm.autoencoder.latents import LatentSource, nearest_source
from annealed_lm.common.devices import keep_freed_memory
from annealed_lm.common.errors import InputError
from annealed_lm.config.config import Config
from annealed_lm.diffusion.denoiser import training_flops
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.trainers.assembly import Varied, make_trainer
from annealed_lm.trainers.denoiser import DiffusionTrainer
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.training.processes import make_accelerator, require_compiler

WARM_UP_STEPS = 2
COMPILE_STEPS = 6
"""Warm-up where it compiles: so many steps meet every kind of graph."""
SAVES = 3


@dataclass(frozen=True)
class Way:
    """A way to train: its name, which savings it has, and changes of the section train_diffusion.

    Attributes:
        captured: the steps are CUDA graphs (`captured`).
    """

    name: str
    cached: bool
    padded: bool
    fused: bool
    training: Mapping[str, Any]
    captured: bool = False


IN_FULL = {"mixed_precision": "no", "compile": False}
PLAIN = Way("plain", cached=False, padded=True, fused=False, training=IN_FULL)
USUAL = Way("usual", cached=True, padded=False, fused=True, training={})
"""As params.yaml says, without changes."""


def ways_to_train(with_padding: bool, compiler: bool) -> list[Way]:
    """Return ways from plain on: single precision, every batch padded to the longest text there can be, texts encoded again at
    every step, nothing fused. Texts whose latents are all of one length have no padding to save; compiling needs a compiler."""
    bf16 = IN_FULL | {"mixed_precision": "bf16"}
    savings: list[tuple[str, dict[str, Any]]] = [("+ cached latents", {"cached": True})]
    savings += [("+ no padding", {"padded": False})] if with_padding else []
    savings += [("+ fused", {"fused": True}), ("+ bf16", {"training": bf16})]
    savings += [("+ compile", {"training": bf16 | {"compile": True}})] if compiler else []
    ways = [PLAIN]
    for name, change in savings:
        ways.append(replace(ways[-1], name=name, **change))
    return ways


def has_compiler() -> bool:
    """Whether torch.compile finds a C++ compiler."""
    with suppress(InputError):
        require_compiler()
        return True
    return False


def trainer_of(config: Config, way: Way) -> DiffusionTrainer:
    """Return the training of random weights on random texts, without the savings that `way` leaves out."""
    section = config.train_diffusion
    accelerator = make_accelerator(section.mixed_precision, [], Path())
    texts = random_texts(config)
    source: LatentSource = nearest_source(texts.latents, accelerator.device)
    if not way.cached:
        encoder = make_autoencoder(config).to(accelerator.device)
        source_class = PaddedTexts if way.padded else EncodedTexts
        source = source_class(encoder, texts.token_ids, texts.latents.index, accelerator.autocast)
    varied = Varied(config.T_schedule, config.power, config.optimizer, config.random_seed)
    statistics = LatentStatistics.identity(config.train_autoencoder.latent_dim)
    trainer = make_trainer(section, varied, latent_shape(config), source, statistics, accelerator)
    trainer.denoiser.train()
    if way.padded:
        without_padding_saved(trainer)
    if not way.fused:
        without_fused_kernels(trainer)
    if way.captured:
        with_captured_steps(trainer)
    return trainer


def measure_training(config: Config, way: Way, steps: int) -> dict[str, Any]:
    """Time `steps` steps after a warm-up.

    Batches differ in length, so what is taken is the median time of a latent vector; a step is as many as a mean batch has.
    """
    torch.compiler.config.force_disable_caches = True  # so that compiling takes what it takes the first time
    keep_freed_memory()  # as every training does
    trainer = trainer_of(config, way)
    device, section = trainer.accelerator.device, config.train_diffusion
    warm_up = COMPILE_STEPS if section.compile else WARM_UP_STEPS
    first_seconds = seconds_of(lambda: run(trainer, range(warm_up)), device)
    timed = range(warm_up, warm_up + steps)
    index = trainer.latents.index
    vectors = [int(index.lengths[trainer.order.batch(step)].sum()) for step in timed]
    seconds = [seconds_of(partial(trainer.train_step, step), device) for step in timed]
    rate = 1 / median(each / count for each, count in zip(seconds, vectors, strict=True))
    step_seconds = float(index.lengths.mean()) * section.train_batch_size / rate
    lengths = [int(length) for step in timed for length in index.lengths[trainer.order.batch(step)]]
    flops_of_vector = training_flops(trainer.denoiser, lengths, section.self_condition) / sum(vectors)
    return {
        "seconds_per_step": step_seconds,
        "texts_per_second": section.train_batch_size / step_seconds,
        "tokens_per_second": rate,
        "flops_per_second": flops_of_vector * rate,
        "peak_memory_gb": peak_memory(device),
        "compile_seconds": max(0.0, first_seconds - warm_up * median(seconds)) if section.compile else None,
    }


def run(trainer: DiffusionTrainer, steps: range) -> None:
    for step in steps:
        trainer.train_step(step)


def training_rows(
    config_of_way: Callable[[Mapping[str, Any]], Config],
    measure: Callable[[Config, Way], dict[str, Any]],
    rates: Mapping[str, float],
) -> list[dict[str, Any]]:
    """Return a row for every way to train.

    Args:
        config_of_way: the parameters with these changes of the section train_diffusion.
        measure: `measure_training` of parameters and a way.
        rates: FLOP/s of matrix products, by precision.
    """
    rows: list[dict[str, Any]] = []
    for way in ways_to_train(lengths_vary(config_of_way({})), has_compiler()):
        config = config_of_way(way.training)
        section, measured = config.train_diffusion, measure(config, way)
        ratios = {
            "speedup": measured["texts_per_second"] / (rows[0] if rows else measured)["texts_per_second"],
            "mfu": measured.pop("flops_per_second") / rates[section.mixed_precision],
        }
        rows.append({"way": way.name, "batch": section.train_batch_size} | measured | ratios)
    return rows


def measure_extrapolation(config: Config, steps: int) -> dict[str, Any]:
    """Measure the minutes that the whole training would take, from `steps` of its steps in a row."""
    trainer = trainer_of(config, USUAL)
    device, warm_up = trainer.accelerator.device, COMPILE_STEPS
    run(trainer, range(warm_up))
    seconds = seconds_of(lambda: run(trainer, range(warm_up, warm_up + steps)), device)
    return extrapolated(config, steps, seconds) | {"peak_memory_gb": peak_memory(device)}


def extrapolated(config: Config, steps: int, seconds: float) -> dict[str, Any]:
    """Return the minutes that the whole training would take, where `steps` of its steps in a row took so many seconds."""
    section = config.train_diffusion
    return {
        "batch": section.train_batch_size,
        "measured_steps": steps,
        "seconds_per_step": seconds / steps,
        "num_train_steps": section.num_train_steps,
        "minutes": seconds / steps * section.num_train_steps / 60,
    }


def measure_checkpoint(config: Config, folder: Path) -> dict[str, Any]:
    """Measure the seconds to save the state of a training in `folder`, on a disk, and its bytes."""
    trainer = trainer_of(config, USUAL)
    trainer.train_step(0)  # which makes the optimizers' state
    store = CheckpointStore(folder)
    with store.held():
        save = median_seconds(lambda: store.save(1, trainer.state(), {}), trainer.accelerator.device, SAVES)
        size = store.path.stat().st_size
    store.remove()
    return {"seconds_to_save": save, "bytes": size}
