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
from annealed_lm.evaluation import score_texts
from annealed_lm.files import read_texts, write_json
from annealed_lm.judges import Judges, load_judges
from annealed_lm.ngrams import TrainingNgrams, tokenise
from annealed_lm.references import References, choose_references
from annealed_lm.tables import markdown_table


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def evaluate(texts: list[str], references: References, judges: Judges) -> None:
    features = judges.features_of_sets({"texts": texts})["texts"]
    score_texts(texts, features, references, judges.language_model)


def recompute_references(train: list[str], held_out: list[str], known: References, judges: Judges, seed: int) -> References:
    """What prepare_references leaves of real texts, with their own scores, computed anew."""
    settings = known.settings
    choice = choose_references(len(train), len(held_out), settings.held_out, settings.num_samples, seed)
    texts = {
        "train": [train[row] for row in choice.train],
        settings.held_out: [held_out[row] for row in choice.held_out],
        "second": [train[row] for row in choice.second_train],
    }
    features = judges.features_of_sets(texts)
    references = References(
        features={kind: {name: features[name][kind] for name in ("train", settings.held_out)} for kind in settings.mauve},
        train_labels=known.train_labels,
        training=TrainingNgrams.of(tokenise(train)),
        settings=settings,
    )
    score_texts(texts["second"], features["second"], references, judges.language_model)
    return references


def measure_evaluation(args: argparse.Namespace, repeats: int) -> dict[str, Any]:
    """Seconds to evaluate one set of samples, with the references at hand and with the references recomputed, models loaded."""
    config = load_config(args.params)
    references = References.load(args.references)
    judges = load_judges(list(references.settings.mauve), args.language_model, args.pretrained, default_device())
    held_out = references.settings.held_out
    train, valid = (read_texts(args.texts / f"{split}.jsonl") for split in ("train", held_out))
    seed = config.sample_texts.eval_seeds[0]
    texts = read_texts(args.samples / str(seed) / f"{config.sample_texts.strategies[0]}.jsonl")
    evaluate(texts, references, judges)  # what is loaded at first use is no part of either

    def with_references_recomputed() -> None:
        evaluate(texts, recompute_references(train, valid, references, judges, config.prepare_references.seed), judges)

    kept, recomputed = [], []
    for _ in range(repeats):  # in turn, so that a slow moment of the machine meets both
        kept.append(seconds(lambda: evaluate(texts, References.load(args.references), judges)))
        recomputed.append(seconds(with_references_recomputed))
    return {
        "texts": len(texts),
        "training_texts": len(train),
        "references_kept_seconds": min(kept),
        "references_recomputed_seconds": min(recomputed),
        "share": min(kept) / min(recomputed),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    paths = {
        "params": "params.yaml",
        "texts": "data/prepared",
        "samples": "data/samples",
        "references": "data/references",
        "language-model": "models/language_model",
        "pretrained": "models/pretrained",
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
    machine = {"processor": platform.machine(), "threads": torch.get_num_threads(), "device": str(default_device())}
    write_json(args.out, {"machine": machine, "evaluation": evaluation})
    print(markdown_table([evaluation]))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
