"""Texts, autoencoder, latents, language models -> data/references: what samples are compared with, and how that itself scores;
how well the autoencoder gives texts back."""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annealed_lm.autoencoder.latents import LatentIndex
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import one_sentence_errors, tell
from annealed_lm.common.files import atomic_path, read_json, read_labels, read_texts, write_json, write_jsonl
from annealed_lm.config.config import Config, load_config, require_unchanged
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.evaluation.judges import Judges, load_judges
from annealed_lm.evaluation.mauve_metric import mauve_buckets
from annealed_lm.evaluation.ngrams import TrainingNgrams, tokenise
from annealed_lm.evaluation.references import RECONSTRUCTION, REFERENCE_ROWS, EvaluationSettings, References, choose_references
from annealed_lm.evaluation.scores import FeaturesByKind, format_rows, score_by_label, score_texts, summarise, summarise_labels
from annealed_lm.generation.bounds import Bounds, DecodedTexts
from annealed_lm.generation.decoding import DecodingSettings
from annealed_lm.generation.language_model import BASELINE, LanguageModel
from annealed_lm.generation.reconstruction import reconstruction_report

Texts = Mapping[str, list[str]]
FeaturesOfSets = Mapping[str, FeaturesByKind]
"""Both by set."""


def bound_texts(latents: Path, autoencoder: Autoencoder, held_out: list[str], config: Config) -> dict[str, DecodedTexts]:
    """Decode what stands in for the diffusion's latents, at the noise level at which the decoder takes over.

    Returns:
        Texts by bound/strategy.
    """
    seed = config.prepare_references.seed
    statistics, train = LatentStatistics.load(latents), LatentIndex.load(latents, "train")
    bounds = Bounds(autoencoder, statistics, train, held_out, seed, config.sample_texts.batch_size)
    settings = DecodingSettings(
        num_beams=config.sample_texts.num_beams,
        top_p=config.sample_texts.top_p,
        min_length=config.sample_texts.min_length,
        no_repeat_ngram_size=config.sample_texts.no_repeat_ngram_size,
        repetition_penalty=config.sample_texts.repetition_penalty,
        mixed_precision=config.sample_texts.mixed_precision,
    )
    return {
        f"{bound}/{strategy}": decoded
        for strategy in config.sample_texts.strategies
        for bound, decoded in bounds.decoded(config.sample_texts.decode_at, strategy, settings).items()
    }


def evaluation_settings(config: Config, judges: Judges, held_out: str, fingerprint: str, labels: int) -> EvaluationSettings:
    """Return all that the scores depend on, as it is written beside them; `labels` is the number of different labels."""
    scalings = {
        "sentence": config.prepare_references.sentence_scaling,
        "language_model": config.prepare_references.language_model_scaling,
    }
    count = config.sample_texts.num_samples
    judge = judges.language_model.description
    return EvaluationSettings(
        dataset_name=config.dataset_name,
        fingerprint=fingerprint,
        reference_seed=config.prepare_references.seed,
        held_out=held_out,
        num_samples=count,
        label_texts=count // (labels + 1) if labels else 0,  # so few that random sets have as many of every label
        mauve={kind: {**model._asdict(), "scaling": scalings[kind]} for kind, model in judges.descriptions().items()},
        mauve_seeds=config.prepare_references.mauve_seeds,
        mauve_buckets=mauve_buckets(count),
        perplexity={"name": judge.name, "sha256": judge.sha256},
        bootstrap_samples=config.prepare_references.bootstrap_samples,
    )


def scored_rows(
    texts: Texts,
    agreement: Mapping[str, list[float]],
    features: FeaturesOfSets,
    references: References,
    judges: Judges,
    second_labels: list[str | None],
) -> tuple[dict[str, Any], str]:
    """Score every set of texts.

    Args:
        agreement: of the texts that were decoded, by set.

    Returns:
        Rows by set, those of a bound by strategy; and by label, where there are labels, those of the second set of training
            texts.
        The values of all sets as a table to be read.
    """
    held_out = references.settings.held_out
    scores = {
        name: score_texts(
            each,
            features[name],
            references,
            judges.language_model,
            # a set is not compared with itself
            compared_with=references.sets[:1] if name == f"train_{held_out}" else references.sets,
            agreement=agreement.get(name),
        )
        for name, each in texts.items()
    }
    rows: dict[str, Any] = {}
    real = summarise([scores["train_train"]], {})
    for name, score in scores.items():
        bound, _, strategy = name.partition("/")
        row = summarise([score], real)
        rows |= {bound: rows.get(bound, {}) | {strategy: row}} if strategy else {name: row}
    labels = [label for label in second_labels if label is not None]
    if labels:
        name = "train_train"
        by_label = score_by_label(texts[name], labels, features[name], references, scores[name].likelihoods)
        rows["by_label"] = {name: summarise_labels([by_label], {})}
    return rows, format_rows({name: score.values for name, score in scores.items()})


def write_references(
    out: Path, references: References, rows: Mapping[str, Any], texts: Texts, reconstruction: Mapping[str, Any]
) -> None:
    """Write the references, their scores, the reconstruction and all generated texts to `out`."""
    with atomic_path(out) as partial:
        partial.mkdir()
        references.save(partial)
        write_json(partial / REFERENCE_ROWS, rows)
        write_json(partial / RECONSTRUCTION, reconstruction)
        for name, each in texts.items():
            write_jsonl(partial / f"{name}.jsonl", ({"text": text} for text in each))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "texts", "autoencoder", "latents", "language-model", "judges", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--held-out", choices=("valid", "test"), default="valid", help="the split that stands for unseen texts")
    args = parser.parse_args()
    config = load_config(args.params)
    count, seed, device = config.sample_texts.num_samples, config.prepare_references.seed, default_device()

    train, held_out = (read_texts(args.texts / f"{split}.jsonl") for split in ("train", args.held_out))
    choice = choose_references(len(train), len(held_out), args.held_out, count, seed)
    train_labels = read_labels(args.texts / "train.jsonl")
    chosen = [held_out[row] for row in choice.held_out]
    baseline = LanguageModel.load(args.language_model / BASELINE, device)
    autoencoder = Autoencoder.load(args.autoencoder).to(device)
    reconstruction = reconstruction_report(autoencoder, read_texts(args.texts / "valid.jsonl"), seed)
    bounds = bound_texts(args.latents, autoencoder, chosen, config)
    generated = {name: decoded.texts for name, decoded in bounds.items()}
    generated["baseline"] = baseline.sample(
        count, config.prepare_references.baseline_top_p, autoencoder.settings.max_tokens, seed, config.sample_texts.batch_size
    )
    real = {"train_train": [train[row] for row in choice.second_train], f"train_{args.held_out}": chosen}

    judges = load_judges(config.prepare_references.mauve_features, args.language_model, args.judges, device)
    # All in one call: a text has the same features in whichever set it stands.
    features = judges.features_of_sets({"train": [train[row] for row in choice.train], **real, **generated})
    known = {"train": features["train"], args.held_out: features[f"train_{args.held_out}"]}
    fingerprint = read_json(args.texts / "statistics.json")["fingerprint"]
    labels = len({label for label in train_labels if label is not None})
    references = References(
        features={kind: {name: known[name][kind] for name in known} for kind in judges.feature_models},
        train_labels=[train_labels[row] for row in choice.train],
        training=TrainingNgrams.of(tokenise(train)),
        settings=evaluation_settings(config, judges, args.held_out, fingerprint, labels),
    )
    second_labels = [train_labels[row] for row in choice.second_train]
    agreement = {name: decoded.agreement for name, decoded in bounds.items()}
    rows, table = scored_rows(real | generated, agreement, features, references, judges, second_labels)
    write_references(args.out, references, rows, generated, reconstruction)
    require_unchanged(args.params)
    tell(table)


if __name__ == "__main__":
    with one_sentence_errors():
        main()
