"""Samples and references -> data/scores/scores.json: every metric of the samples of each decoding strategy."""

import annealed_lm.offline  # noqa: F401, I001  (first: the model libraries read it when they are imported)

import argparse
from pathlib import Path

from annealed_lm.config import load_config
from annealed_lm.devices import default_device
from annealed_lm.errors import one_sentence_errors
from annealed_lm.evaluation import REFERENCE_ROWS, References, format_rows, score_texts
from annealed_lm.files import atomic_path, read_json, read_texts, write_json
from annealed_lm.language_model import LanguageModel
from annealed_lm.text_features import FeatureModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "samples", "references", "language-model", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)

    strategies: list[str] = list(config.sample_texts.strategies)
    samples = {strategy: read_texts(args.samples / f"{strategy}.jsonl") for strategy in strategies}
    references, language_model = References.load(args.references), LanguageModel.load(args.language_model, default_device())
    features = FeatureModel.load(default_device()).features_of_sets(samples)
    scores = {name: score_texts(texts, features[name], references, language_model) for name, texts in samples.items()}
    with atomic_path(args.out) as partial:
        partial.mkdir()
        write_json(partial / "scores.json", scores)

    rows = read_json(args.references / REFERENCE_ROWS)
    for strategy, score in scores.items():
        bounds = {bound: rows[bound][strategy] for bound in ("control", "ceiling")}
        print(f"{strategy} decoding")
        print(format_rows({"generated": score, **bounds, "train_train": rows["train_train"]}))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
