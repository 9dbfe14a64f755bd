"""What caching brings, measured: the same work with and without it, in one run on the outputs of the default experiment.

Times are of one machine at one moment; the ratios are what to look at.
"""

import annealed_lm.offline  # noqa: F401, I001  (first: the model libraries read it when they are imported)

import argparse
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from annealed_lm.config import load_config
from annealed_lm.devices import default_device
from annealed_lm.errors import InputError, one_sentence_errors
from annealed_lm.evaluation import score_alone
from annealed_lm.files import read_texts, write_json
from annealed_lm.judges import Judges, load_same_judges
from annealed_lm.ngrams import TrainingNgrams, tokenise
from annealed_lm.references import References, choose_references
from annealed_lm.tables import markdown_table


def processor() -> str:
    """The name of the processor, where the system tells it."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def seconds_to_score(texts: list[str], references: Callable[[], References], judges: Judges) -> float:
    start = time.perf_counter()
    score_alone(texts, references(), judges)
    return time.perf_counter() - start


def recompute_references(args: argparse.Namespace, known: References, judges: Judges, with_rows: bool) -> References:
    """What prepare_references leaves of real texts, computed anew: the features that texts are compared with and the n-grams of
    the training texts; with `with_rows` also the scores of real texts, which stand beside those of a model."""
    settings = known.settings
    train, held_out = (read_texts(args.texts / f"{split}.jsonl") for split in ("train", settings.held_out))
    choice = choose_references(len(train), len(held_out), settings.held_out, settings.num_samples, settings.reference_seed)
    texts = {"train": [train[row] for row in choice.train], settings.held_out: [held_out[row] for row in choice.held_out]}
    features = judges.features_of_sets(texts)
    references = References(
        features={kind: {name: features[name][kind] for name in texts} for kind in settings.mauve},
        train_labels=known.train_labels,
        training=TrainingNgrams.of(tokenise(train)),
        settings=settings,
    )
    if with_rows:
        score_alone([train[row] for row in choice.second_train], references, judges)
    return references


def measure_evaluation(args: argparse.Namespace, repeats: int) -> dict[str, Any]:
    """Seconds to evaluate one set of samples, models loaded: with the references at hand, and with references recomputed."""
    config = load_config(args.params)
    known = References.load(args.references)
    judges = load_same_judges(known.settings, args.language_model, args.judges, default_device())
    seed, strategy = config.sample_texts.eval_seeds[0], config.sample_texts.strategies[0]
    texts = read_texts(args.samples / str(seed) / f"{strategy}.jsonl")
    ways: dict[str, Callable[[], References]] = {
        "references at hand": lambda: References.load(args.references),
        "features and n-grams recomputed": lambda: recompute_references(args, known, judges, with_rows=False),
        "and scores of real texts": lambda: recompute_references(args, known, judges, with_rows=True),
    }
    measured: dict[str, list[float]] = {way: [] for way in ways}
    score_alone(texts, known, judges)  # what is loaded at first use is no part of any
    for _ in range(repeats):  # in turn, so that a slow moment of the machine meets all
        for way, references in ways.items():
            measured[way].append(seconds_to_score(texts, references, judges))
    fastest = {way: min(times) for way, times in measured.items()}
    kept = fastest["references at hand"]
    rows = [{"references": way, "seconds": each, "share of it at hand": kept / each} for way, each in fastest.items()]
    return {"texts": len(texts), "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    paths = {
        "params": "params.yaml",
        "texts": "data/prepared",
        "samples": "data/samples",
        "references": "data/references",
        "language-model": "models/language_model",
        "judges": "models/judges",
        "out": "metrics/bench.json",
    }
    for name, default in paths.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(default))
    parser.add_argument("--repeats", type=int, default=3, help="of each measurement, of which the fastest counts")
    args = parser.parse_args()
    if not args.samples.exists():
        raise InputError(
            f"{args.samples} is not there: make bench measures on the outputs of an experiment, run dvc exp run first"
        )
    evaluation = measure_evaluation(args, args.repeats)
    machine = {"processor": processor(), "threads": torch.get_num_threads(), "device": str(default_device())}
    write_json(args.out, {"machine": machine, "evaluation": evaluation})
    print(f"evaluating {evaluation['texts']} texts\n\n{markdown_table(evaluation['rows'])}")


if __name__ == "__main__":
    with one_sentence_errors():
        main()
