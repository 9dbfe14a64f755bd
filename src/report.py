"""Scores, curves and samples -> metrics/*.json and plots/*: small files that are kept in git and that DVC compares."""

import argparse
import shutil
from collections.abc import Mapping
from pathlib import Path

from annealed_lm.config import load_config
from annealed_lm.errors import one_sentence_errors
from annealed_lm.files import atomic_path, read_json, read_texts, read_tsv, write_json, write_tsv
from annealed_lm.plots import lines_figure, samples_figure, save_png, training_figure
from annealed_lm.reporting import Columns, by_range, columns, compare_T_schedules, long_table, summary

CURVES = ("training", "validation", "validation_by_range")
BOUNDS = ("control", "ceiling")
NOT_A_METRIC = "pure_noise_texts"  # of the reconstruction report: texts to read
SHOWN_SAMPLES = 10
"""The first so many texts: nobody chooses."""


def read_samples(samples: Path, references: Path, strategies: list[str]) -> dict[str, list[str]]:
    """The first texts of each strategy: written from generated latents, from noise (control) and from real latents (ceiling)."""
    paths = {f"{strategy}, generated": samples / f"{strategy}.jsonl" for strategy in strategies}
    paths |= {f"{strategy}, {bound}": references / bound / f"{strategy}.jsonl" for strategy in strategies for bound in BOUNDS}
    return {title: read_texts(path)[:SHOWN_SAMPLES] for title, path in paths.items()}


def write_curves(curves: Path, T_schedules: Mapping[str, Columns], plots: Path) -> None:
    """The curves as tables, for `dvc plots`, and as figures."""
    for name in CURVES:
        shutil.copyfile(curves / f"{name}.tsv", plots / f"{name}.tsv")
    write_tsv(plots / "T_schedules.tsv", long_table(T_schedules, "T_schedule"))
    training = columns(read_tsv(curves / "training.tsv"), ("step", "loss", "T_now", "learning_rate"))
    validation = columns(read_tsv(curves / "validation.tsv"), ("step", "loss"))
    save_png(training_figure(training, validation), plots / "training.png")
    ranges = by_range(read_tsv(curves / "validation_by_range.tsv"))
    save_png(lines_figure(ranges, "loss", "range of t"), plots / "validation_by_range.png")
    save_png(lines_figure(T_schedules, "T_now", "T_schedule"), plots / "T_schedules.png")


def write_samples(samples: Mapping[str, list[str]], plots: Path) -> None:
    save_png(samples_figure(samples), plots / "samples.png")
    text = "\n\n".join("\n".join([title, *texts]) for title, texts in samples.items())
    (plots / "samples.txt").write_text(text + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "prepared", "autoencoder", "references", "curves", "samples", "scores", "metrics", "plots"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)

    T_schedules = compare_T_schedules(
        total_steps=config.train_diffusion.num_train_steps,
        timesteps=config.train_diffusion.timesteps,
        power=config.power,
        start_fraction=config.train_diffusion.start_fraction,
        anneal_fraction=config.train_diffusion.anneal_fraction,
    )
    scores, references = read_json(args.scores / "scores.json"), read_json(args.references / "rows.json")
    with atomic_path(args.metrics) as metrics:
        statistics = read_json(args.prepared / "statistics.json")
        write_json(metrics / "dataset.json", {part: statistics[part] for part in ("files", "splits")})
        reconstruction = read_json(args.autoencoder / "reconstruction.json")
        write_json(
            metrics / "autoencoder.json", {name: shares for name, shares in reconstruction.items() if name != NOT_A_METRIC}
        )
        write_json(metrics / "training.json", read_json(args.curves / "training.json"))
        write_json(metrics / "references.json", references)
        write_json(metrics / "samples.json", scores)
    with atomic_path(args.plots) as plots:
        plots.mkdir()
        write_curves(args.curves, T_schedules, plots)
        write_samples(read_samples(args.samples, args.references, list(scores)), plots)

    generated = {f"{strategy}, generated": row for strategy, row in scores.items()}
    bounds = {f"{strategy}, {bound}": references[bound][strategy] for strategy in scores for bound in BOUNDS}
    print(summary(generated | bounds | {name: references[name] for name in ("train_train", "train_valid")}))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
