"""Scores, curves and samples -> metrics/*.json and plots/*: small files that are kept in git and that DVC compares."""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annealed_lm.common.errors import one_sentence_errors, tell
from annealed_lm.common.files import copy_file, one_line, read_json, read_texts, read_tsv, write_json, write_text
from annealed_lm.config.config import load_config, require_unchanged, schedule_settings
from annealed_lm.reporting.plots import (
    log_snr_figure,
    quality_figure,
    samples_figure,
    save_figure,
    schedules_figure,
    training_figure,
)
from annealed_lm.reporting.report import T_schedule_densities, bare_values, closing_lines, evaluation_record
from annealed_lm.reporting.tables import by_log_snr, columns, curve

CURVES = ("training", "validation", "validation_by_log_snr", "timing")
BOUNDS = ("control", "ceiling")
NOT_A_METRIC = "pure_noise_texts"  # of the reconstruction report: texts to read
DRAWN_METRICS = ("grammatical", "perplexity", "mauve_train", "mauve_lm_train", "diversity", "memorization")
SHOWN_SAMPLES = 10
"""The first so many texts of a set: nobody chooses."""


def read_samples(samples: Path, references: Path, strategies: list[str], seed: int) -> dict[str, list[str]]:
    """Return the first texts of every strategy and of the baseline, by title.

    A strategy has texts from generated latents, from noise (control) and from real latents (ceiling).
    """
    paths = {f"{strategy}, generated": samples / str(seed) / f"{strategy}.jsonl" for strategy in strategies}
    paths |= {f"{strategy}, {bound}": references / bound / f"{strategy}.jsonl" for strategy in strategies for bound in BOUNDS}
    paths["baseline"] = references / "baseline.jsonl"
    return {title: read_texts(path)[:SHOWN_SAMPLES] for title, path in paths.items()}


def write_curves(curves: Path, plots: Path) -> None:
    """Write the curves as tables, for `dvc plots`, and as figures."""
    for name in CURVES:
        copy_file(curves / f"{name}.tsv", plots / f"{name}.tsv")
    training = columns(read_tsv(curves / "training.tsv"), ("step", "loss", "T_now", "mean_t", "learning_rate"))
    validation = columns(read_tsv(curves / "validation.tsv"), ("step", "loss"))
    save_figure(training_figure(training, validation), plots / "training")
    bins = by_log_snr(read_tsv(curves / "validation_by_log_snr.tsv"))
    save_figure(log_snr_figure(bins), plots / "validation_by_log_snr")


def write_quality(quality: Path, references: Mapping[str, Any], strategy: str, seed: int, plots: Path) -> None:
    """Write how the texts came out along the training, between control and ceiling, as a table and as a figure."""
    copy_file(quality / "quality.tsv", plots / "quality.tsv")
    rows = read_tsv(quality / "quality.tsv")
    drawn = {metric: curve(rows, metric) for metric in DRAWN_METRICS if metric in rows[0]}
    levels = {bound: references[bound][strategy] for bound in BOUNDS} | {"baseline": references["baseline"]}
    title = f"Texts of the averaged model: {strategy} decoding, sampling seed {seed}"
    save_figure(quality_figure(drawn, levels, title), plots / "quality")


def write_samples(samples: Mapping[str, list[str]], plots: Path) -> None:
    """Write the texts as a figure and as a file of one text a line."""
    save_figure(samples_figure(samples), plots / "samples")
    blocks = ("\n".join([title, *map(one_line, texts)]) for title, texts in samples.items())
    write_text(plots / "samples.txt", "\n\n".join(blocks) + "\n")


def write_metrics(args: argparse.Namespace, scores: Mapping[str, Any], rows: Mapping[str, Any]) -> None:
    """Write the values alone where DVC compares them, and to evaluation.json all that stands beside them."""
    statistics = read_json(args.prepared / "statistics.json")
    counts = {part: statistics[part] for part in ("files", "splits", "labels") if part in statistics}
    write_json(args.metrics / "dataset.json", counts)
    reconstruction = read_json(args.references / "reconstruction.json")
    shares = {name: share for name, share in reconstruction.items() if name != NOT_A_METRIC}
    write_json(args.metrics / "autoencoder.json", shares)
    for name in ("training", "machine"):
        copy_file(args.curves / f"{name}.json", args.metrics / f"{name}.json")
    write_json(args.metrics / "references.json", bare_values(rows))
    by_label = {"by_label": bare_values(scores["by_label"])} if scores["by_label"] else {}
    write_json(args.metrics / "samples.json", bare_values(scores["strategies"]) | by_label)
    settings = read_json(args.references / "settings.json")
    write_json(args.metrics / "evaluation.json", evaluation_record(settings, scores, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    inputs = ("params", "prepared", "references", "curves", "quality", "samples", "scores")
    for name in (*inputs, "metrics", "plots"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)

    schedules = schedule_settings(config.train_diffusion, "normal", config.power)
    scores, rows = read_json(args.scores / "scores.json"), read_json(args.references / "rows.json")
    strategies = list(scores["strategies"])
    write_metrics(args, scores, rows)
    args.plots.mkdir(parents=True, exist_ok=True)
    write_curves(args.curves, args.plots)
    save_figure(schedules_figure(T_schedule_densities(schedules), schedules.timesteps), args.plots / "T_schedules")
    write_quality(args.quality, bare_values(rows), strategies[0], scores["sampling"]["eval_seeds"][0], args.plots)
    write_samples(read_samples(args.samples, args.references, strategies, scores["sampling"]["eval_seeds"][0]), args.plots)
    require_unchanged(args.params)
    tell(closing_lines(strategies[0], bare_values(scores["strategies"]), bare_values(rows)))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
