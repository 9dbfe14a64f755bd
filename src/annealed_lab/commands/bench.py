"""Measure how fast training, checkpoints, sampling, decoding and evaluation are here, and what every saving brings.

Everything but evaluation is measured on random weights and needs no outputs of an experiment. Times are of one machine at one
moment; the ratios are what to look at.

Reads: presets/ and, for the evaluation, params.yaml and what the stages made. Writes: outputs/bench.json.
Example: python src/lab.py bench --sizes default --sections training,sampling
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from annealed_lab.benchmarks.evaluation import ExperimentOutputs, measure_evaluation
from annealed_lab.benchmarks.machine import MATRIX_SIZES, in_fresh_process, matrix_rates
from annealed_lab.benchmarks.results import Results, Rows, rate_rows, titled_table
from annealed_lab.benchmarks.sampling import WAYS_TO_DECODE, measure_decoding, measure_sampling, rows_of_ways, ways_to_sample
from annealed_lab.benchmarks.sizes import GPU_FACTOR, SIZES, config_of, lengths_vary
from annealed_lab.benchmarks.training import (
    IN_FULL,
    has_compiler,
    measure_checkpoint,
    measure_extrapolation,
    measure_training,
    training_rows,
)
from annealed_lab.experiments.places import add_places
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import InputError
from annealed_lm.common.intervals import parse_interval
from annealed_lm.common.machine import describe_machine
from annealed_lm.config.config import Config, load_config
from annealed_lm.training.checkpoints import resume_folder

MATRIX_REPEATS = 8
EXTRAPOLATED_STEPS = 2000
FASTEST = IN_FULL | {"mixed_precision": "bf16"}


class Benchmarks:
    """Measure the sections, one size at a time and every row in a process of its own."""

    def __init__(self, args: argparse.Namespace, device: torch.device, rates: Mapping[str, float], results: Results) -> None:
        self.args = args
        self.device = device
        self.rates = rates
        self.results = results
        self.factor = GPU_FACTOR if device.type == "cuda" else 1

    def config(self, size: str, training: Mapping[str, Any] | None = None) -> Config:
        return config_of(SIZES[size], self.args.presets, self.device, training)

    def training(self, size: str) -> Rows:
        steps = self.args.steps or SIZES[size].steps * self.factor
        return training_rows(
            lambda changes: self.config(size, changes),
            lambda config, way: in_fresh_process(measure_training, config, way, steps),
            self.rates,
        )

    def checkpoint(self, size: str) -> Rows:
        """Return the row with the share of the time of training that saving takes, if training was measured."""
        config = self.config(size, IN_FULL)
        folder = resume_folder(self.args.resume) / f"benchmark_{os.getpid()}"
        row = in_fresh_process(measure_checkpoint, config, folder)
        every, step_seconds = config.train_diffusion.checkpoint_every, self.results.seconds_per_step(size)
        interval = parse_interval(every)
        seconds = interval.seconds
        if interval.steps is not None and step_seconds is not None:
            seconds = interval.steps * step_seconds
        share = None if seconds is None else row["seconds_to_save"] / (seconds + row["seconds_to_save"])
        return [row | {"checkpoint_every": every, "share_of_training": share}]

    def sampling(self, size: str) -> Rows:
        config, chosen = self.config(size), SIZES[size]
        all_steps = config.sample_texts.sampling_timesteps
        some = chosen.sampling_steps if self.device.type == "cpu" else all_steps  # a GPU draws noise for many steps at once
        steps = min(self.args.steps or some, all_steps)
        texts = chosen.sampled_texts * self.factor
        return rows_of_ways(
            ways_to_sample(self.device, lengths_vary(config)) if texts else {},
            lambda way: in_fresh_process(measure_sampling, config, way, self.device, texts, steps),
        )

    def decoding(self, size: str) -> Rows:
        config, texts = self.config(size), SIZES[size].decoded_texts * self.factor
        return rows_of_ways(
            WAYS_TO_DECODE if texts else {},
            lambda way: in_fresh_process(measure_decoding, config, way, self.device, texts),
        )

    def extrapolation(self, size: str) -> Rows:
        config = self.config(size, FASTEST | {"compile": has_compiler()})
        return [in_fresh_process(measure_extrapolation, config, self.args.steps or EXTRAPOLATED_STEPS)]


SECTIONS: dict[str, Callable[[Benchmarks, str], Rows]] = {
    "training": Benchmarks.training,
    "checkpoint": Benchmarks.checkpoint,
    "sampling": Benchmarks.sampling,
    "decoding": Benchmarks.decoding,
}
EXTRAPOLATION: dict[str, Callable[[Benchmarks, str], Rows]] = {"extrapolation": Benchmarks.extrapolation}


def measure_section(benchmarks: Benchmarks, section: str, size: str, measure: Callable[[Benchmarks, str], Rows]) -> None:
    """Measure a section, print and keep it; do nothing where it is not for this size."""
    if rows := measure(benchmarks, size):
        print(titled_table(f"{section}, {size}", rows))
        benchmarks.results.put(section, rows, size)


def evaluate(args: argparse.Namespace, results: Results) -> None:
    """Measure the evaluation of the experiment whose outputs are there, if they are."""
    if not args.samples.exists():
        print(f"evaluation is left out: {args.samples} is not there, dvc exp run makes it")
        return
    outputs = ExperimentOutputs(args.texts, args.samples, args.references, args.language_model, args.judges)
    measured = measure_evaluation(load_config(args.params), outputs, args.repeats)
    print(titled_table(f"evaluating {measured['texts']} texts", measured["rows"]))
    results.put("evaluation", measured)


def names(text: str, option: str, allowed: list[str]) -> list[str]:
    """Return the names in a list with commas.

    Raises:
        InputError: one that is not among those allowed.
    """
    chosen = [name.strip() for name in text.split(",")]
    for name in chosen:
        if name not in allowed:
            raise InputError(f"{option} {name}: it should be some of {', '.join(allowed)}")
    return chosen


def parse_arguments(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_places(parser, "params", "texts", "samples", "references", "language-model", "judges")
    parser.add_argument("--resume", type=Path, default=Path(".resume"), help="folder that checkpoints are timed in (%(default)s)")
    parser.add_argument("--out", type=Path, default=Path("outputs/bench.json"), help="file (%(default)s)")
    sections = [*SECTIONS, "evaluation"]
    parser.add_argument(
        "--sections", default=",".join(sections), help="with commas between (%(default)s); results of the others are kept"
    )
    parser.add_argument(
        "--sizes", default=",".join(SIZES), help="of models, with commas between (%(default)s); results of the others are kept"
    )
    parser.add_argument("--presets", type=Path, default=Path("presets"), metavar="PATH", help="(%(default)s)")
    parser.add_argument("--steps", type=int, help="of training or sampling to time; the default depends on the size")
    parser.add_argument("--repeats", type=int, default=3, help="of an evaluation, of which the fastest counts (%(default)s)")
    parser.add_argument("--matrix-size", type=int, help="of the matrices whose product measures the machine")
    parser.add_argument("--extrapolate", action="store_true", help="measure only how long a whole training takes")
    args = parser.parse_args(arguments)
    args.sections = names(args.sections, "--sections", sections)
    args.sizes = names(args.sizes, "--sizes", [*SIZES])
    return args


def main(program: str, arguments: Sequence[str]) -> None:
    args = parse_arguments(program, arguments)
    device = default_device()
    results = Results(args.out, describe_machine(device))
    rates = in_fresh_process(matrix_rates, device, args.matrix_size or MATRIX_SIZES[device.type], MATRIX_REPEATS)
    results.put("matrix_products", rate_rows(rates))
    print(titled_table("matrix products", rate_rows(rates)))
    if not has_compiler():
        print("+ compile is left out: there is no C++ compiler\n")
    benchmarks = Benchmarks(args, device, rates, results)
    chosen = {name: measure for name, measure in SECTIONS.items() if name in args.sections}
    for section, measure in (EXTRAPOLATION if args.extrapolate else chosen).items():
        for size in args.sizes:
            measure_section(benchmarks, section, size, measure)
    if "evaluation" in args.sections and not args.extrapolate:
        evaluate(args, results)
