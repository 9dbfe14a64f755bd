"""What the reference features that prepare_references leaves save: evaluating one set of samples with and without them."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from annealed_lab.experiments.places import first_samples
from annealed_lm.common.devices import default_device
from annealed_lm.common.files import read_texts
from annealed_lm.config.config import Config
from annealed_lm.evaluation.judges import Judges, load_same_judges
from annealed_lm.evaluation.ngrams import TrainingNgrams, tokenise
from annealed_lm.evaluation.references import References, choose_references
from annealed_lm.evaluation.scores import score_alone


@dataclass(frozen=True)
class ExperimentOutputs:
    """Folders of an experiment: prepared texts, samples, references, the judges."""

    texts: Path
    samples: Path
    references: Path
    language_model: Path
    judges: Path


def seconds_to_score(texts: list[str], references: Callable[[], References], judges: Judges) -> float:
    start = time.perf_counter()
    score_alone(texts, references(), judges)
    return time.perf_counter() - start


def recompute_references(folder: Path, known: References, judges: Judges, with_rows: bool) -> References:
    """Compute anew what prepare_references leaves of the real texts in `folder`: the features that texts are compared with and
    the n-grams of the training texts; with `with_rows` also the scores of real texts, which stand beside those of a model."""
    settings = known.settings
    train, held_out = (read_texts(folder / f"{split}.jsonl") for split in ("train", settings.held_out))
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


def measure_evaluation(config: Config, outputs: ExperimentOutputs, repeats: int) -> dict[str, Any]:
    """Measure the seconds to evaluate a set of samples, models loaded: with references at hand, and with them recomputed."""
    known = References.load(outputs.references)
    judges = load_same_judges(known.settings, outputs.language_model, outputs.judges, default_device())
    section = config.sample_texts
    texts = read_texts(first_samples(outputs.samples, section.eval_seeds, section.strategies))
    ways: dict[str, Callable[[], References]] = {
        "references at hand": lambda: References.load(outputs.references),
        "features and n-grams recomputed": lambda: recompute_references(outputs.texts, known, judges, with_rows=False),
        "and scores of real texts": lambda: recompute_references(outputs.texts, known, judges, with_rows=True),
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
