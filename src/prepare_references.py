"""Texts, autoencoder, latents, language model -> data/references: what samples are compared with, and how that itself scores."""

import annealed_lm.offline  # noqa: F401, I001  (first: the model libraries read it when they are imported)

import argparse
from pathlib import Path
from typing import Any

from annealed_lm.autoencoder import Autoencoder
from annealed_lm.config import load_config
from annealed_lm.decoding import DecodingSettings, decode_latents
from annealed_lm.devices import default_device
from annealed_lm.errors import one_sentence_errors
from annealed_lm.evaluation import REFERENCE_ROWS, References, choose_references, format_rows, score_references
from annealed_lm.files import atomic_path, read_texts, write_json, write_jsonl
from annealed_lm.language_model import LanguageModel
from annealed_lm.latents import Floats, LatentSet, LatentStatistics, draw_lengths, gaussian_latents
from annealed_lm.ngrams import TrainingNgrams, tokenise
from annealed_lm.text_features import FeatureModel


def bound_latents(latents: Path, valid_rows: list[int], seed: int) -> dict[str, list[Floats]]:
    """What stands in for the diffusion's latents: noise (control), and those of the validation texts (ceiling)."""
    lengths = draw_lengths(LatentSet.load(latents, "train").lengths, len(valid_rows), seed)
    valid = LatentSet.load(latents, "valid")
    return {
        "control": gaussian_latents(LatentStatistics.load(latents), lengths, seed),
        "ceiling": [valid[row] for row in valid_rows],
    }


def write_references(out: Path, references: References, rows: dict[str, dict[str, float]], bounds: dict[str, list[str]]) -> None:
    """Write to the folder `out`; rows and texts of a bound stand under control and ceiling, by strategy."""
    nested: dict[str, Any] = {name: row for name, row in rows.items() if name not in bounds}
    for name in bounds:
        bound, strategy = name.split("/")
        nested.setdefault(bound, {})[strategy] = rows[name]
    with atomic_path(out) as partial:
        partial.mkdir()
        references.save(partial)
        write_json(partial / REFERENCE_ROWS, nested)
        for name, texts in bounds.items():
            write_jsonl(partial / f"{name}.jsonl", ({"text": text} for text in texts))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "texts", "autoencoder", "latents", "language-model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    seed, device = config.prepare_references.seed, default_device()

    train, valid = (read_texts(args.texts / f"{split}.jsonl") for split in ("train", "valid"))
    choice = choose_references(len(train), len(valid), config.sample_texts.num_samples, seed)
    real = {"train_train": [train[row] for row in choice.second_train], "train_valid": [valid[row] for row in choice.valid]}
    settings = DecodingSettings(
        num_beams=config.sample_texts.num_beams,
        top_p=config.sample_texts.top_p,
        min_length=config.sample_texts.min_length,
        no_repeat_ngram_size=config.sample_texts.no_repeat_ngram_size,
        repetition_penalty=config.sample_texts.repetition_penalty,
    )
    autoencoder = Autoencoder.load(args.autoencoder).to(device)
    bounds = {
        f"{bound}/{strategy}": decode_latents(autoencoder, latents, strategy, settings, seed, config.sample_texts.batch_size)
        for bound, latents in bound_latents(args.latents, choice.valid, seed).items()
        for strategy in config.sample_texts.strategies
    }
    features = FeatureModel.load(device).features_of_sets({"train": [train[row] for row in choice.train], **real, **bounds})
    references = References(
        train_features=features["train"],
        valid_features=features["train_valid"],
        training=TrainingNgrams.of(tokenise(train)),
        dataset_name=config.dataset_name,
        mauve_scaling=config.prepare_references.mauve_scaling,
        mauve_seeds=config.prepare_references.mauve_seeds,
    )
    rows = score_references(real | bounds, features, references, LanguageModel.load(args.language_model, device))
    write_references(args.out, references, rows, bounds)
    print(format_rows(rows))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
