"""Samples and references -> data/scores/scores.json: every metric of the samples, for every decoding strategy."""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import one_sentence_errors, tell
from annealed_lm.common.files import LATENT_AGREEMENT, atomic_path, read_json, read_labels, read_numbers, read_texts, write_json
from annealed_lm.config.config import load_config, require_unchanged
from annealed_lm.evaluation.judges import Judges, load_same_judges
from annealed_lm.evaluation.references import REFERENCE_ROWS, References
from annealed_lm.evaluation.scores import (
    ScoredRow,
    format_rows,
    score_by_label,
    score_texts,
    summarise,
    summarise_labels,
    values_of,
)


def score_strategy(
    paths: Sequence[Path], references: References, judges: Judges, rows: Mapping[str, Any]
) -> tuple[ScoredRow, dict[str, ScoredRow]]:
    """Score the sets of samples in `paths`, one a sampling seed.

    Returns:
        The scores, and those by label where the texts were to have one.
    """
    sets = {str(path): read_texts(path) for path in paths}
    features = judges.features_of_sets(sets)
    scores, by_label = [], []
    for number, path in enumerate(map(str, paths)):
        labels = read_labels(Path(path))
        asked = [label for label in labels if label is not None]
        model = judges.language_model
        texts, agreement = sets[path], read_numbers(Path(path), LATENT_AGREEMENT)
        given = labels if asked else None
        scores.append(score_texts(texts, features[path], references, model, labels=given, agreement=agreement, seed=number))
        if asked:
            by_label.append(score_by_label(texts, asked, features[path], references, scores[-1].likelihoods))
    real_labels = rows.get("by_label", {}).get("train_train", {})
    return summarise(scores, rows["train_train"]), summarise_labels(by_label, real_labels)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "samples", "references", "language-model", "judges", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    section = config.sample_texts

    references, rows = References.load(args.references), read_json(args.references / REFERENCE_ROWS)
    judges = load_same_judges(references.settings, args.language_model, args.judges, default_device())
    tables = []
    scores: dict[str, Any] = {"sampling": section.model_dump(), "strategies": {}, "by_label": {}}
    for strategy in section.strategies:
        paths = [args.samples / str(seed) / f"{strategy}.jsonl" for seed in section.eval_seeds]
        scored, by_label = score_strategy(paths, references, judges, rows)
        scores["strategies"][strategy] = scored
        if by_label:
            scores["by_label"][strategy] = by_label
        shown = {bound: values_of(rows[bound][strategy]) for bound in ("control", "ceiling")}
        shown |= {name: values_of(rows[name]) for name in ("baseline", "train_train")}
        shown |= {label: values_of(row) for label, row in by_label.items()}
        tables.append(f"{strategy} decoding\n{format_rows({'generated': values_of(scored), **shown})}")
    with atomic_path(args.out) as partial:
        partial.mkdir()
        write_json(partial / "scores.json", scores)
    require_unchanged(args.params)
    tell("\n".join(tables))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
