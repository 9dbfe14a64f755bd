"""What the report is made of: the T schedules side by side, and the scores that a person looks at first."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from annealed_lm.annealing.settings import Array, ScheduleSettings, TimestepDistribution
from annealed_lm.annealing.timesteps import DISTRIBUTIONS, make_distribution
from annealed_lm.reporting.tables import aligned, markdown_table

SHOWN_STEPS, SHOWN_TIMESTEPS = 300, 200
"""So many steps (or up to twice as many) and at most so many bins of t show what training draws, however long it is."""
SHOWN_METRICS = (
    "grammatical",
    "has_label",
    "perplexity",
    "mauve_train",
    "mauve_valid",
    "mauve_test",
    "mauve_lm_train",
    "diversity",
    "distinct",
    "seen_trigrams",
    "doubled_word",
    "memorization",
)
CLOSING_METRICS = ("grammatical", "has_label", "perplexity", "mauve_train", "mauve_valid", "diversity", "memorization")
CLOSING_COLUMNS = 5
WHERE = "scores: metrics/, texts: plots/samples.txt, figures: plots/"
NEXT = "next: make baseline (commit this run), then experiments and make show"


def T_schedule_densities(settings: ScheduleSettings) -> dict[str, Array]:
    """Return, for every T schedule that is known before any training, how often each timestep is drawn along the training, in
    multiples of the uniform density over all timesteps: [bins of t, shown steps], a bin for each t or for some neighbours.

    Args:
        settings: whose own T_schedule does not matter.
    """
    steps = range(0, settings.total_steps, max(settings.total_steps // SHOWN_STEPS, 1))
    edges = np.linspace(0, settings.timesteps, min(settings.timesteps, SHOWN_TIMESTEPS) + 1).round().astype(int)
    uniform = np.diff(edges) / settings.timesteps

    def along(distribution: TimestepDistribution) -> Array:
        return np.stack([np.add.reduceat(distribution.density(step), edges[:-1]) / uniform for step in steps], axis=1)

    known = [name for name, kind in DISTRIBUTIONS.items() if not kind.depends_on_losses]
    return {name: along(make_distribution(replace(settings, T_schedule=name))) for name in known}


def cell(entry: Mapping[str, float]) -> str:
    """Write a value with its deviation over the sampling seeds, or else its interval over texts, if it has either."""
    value = f"{entry['value']:.4g}"
    if "std" in entry:
        return f"{value} ± {entry['std']:.2g}"
    return f"{value} [{entry['low']:.4g}, {entry['high']:.4g}]" if "low" in entry else value


def bare_values(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Reduce each entry of nested scores (a value and what stands beside it) to its value."""
    return {name: each["value"] if "value" in each else bare_values(each) for name, each in scores.items()}


def evaluation_record(settings: Mapping[str, Any], scores: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, Any]:
    """Gather all that is known of the samples of a model: the settings of their scores and of their sampling, the scores by
    strategy and (where texts were to have labels) by label, and those of the reference sets.

    Args:
        settings: of the references.
        scores: as the stage evaluate_samples writes them.
        rows: of the references.
    """
    by_label = {"by_label": scores["by_label"]} if scores["by_label"] else {}
    settings = {**settings, "eval_seeds": scores["sampling"]["eval_seeds"]}
    return {"settings": settings, "sampling": scores["sampling"], "samples": scores["strategies"], **by_label, "references": rows}


def set_rows(strategies: Mapping[str, Any], references: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of one table: what each strategy wrote from generated latents and from its bounds, then the other sets.

    Args:
        strategies: row of the generated texts by strategy.
        references: row by set of texts; those of control and ceiling by strategy.
    """
    rows = {f"{strategy}, generated": row for strategy, row in strategies.items()}
    rows |= {f"{strategy}, {bound}": references[bound][strategy] for strategy in strategies for bound in ("control", "ceiling")}
    return rows | {name: row for name, row in references.items() if name not in ("control", "ceiling", "by_label")}


def scores_table(rows: Mapping[str, Mapping[str, Any]], metrics: Sequence[str], written: Callable[[Any], object] = cell) -> str:
    """Return scored rows as a Markdown table, each score as `written` shows it; of `metrics` those that any row has."""
    shown = [metric for metric in metrics if any(metric in row for row in rows.values())]
    return markdown_table(
        [{"": name} | {metric: written(row[metric]) if metric in row else "" for metric in shown} for name, row in rows.items()]
    )


def closing_lines(strategy: str, strategies: Mapping[str, Mapping[str, float]], references: Mapping[str, Any]) -> str:
    """Return what a run ends with, eight lines of 80 columns at most: how its texts score, beside their bounds, and what is next.

    Args:
        strategy: of decoding, whose rows are shown.
        strategies: row of the generated texts by strategy.
        references: row by set of texts; those of control and ceiling by strategy.
    """
    rows = {
        "generated": strategies[strategy],
        "control, noise": references["control"][strategy],
        "ceiling, real": references["ceiling"][strategy],
        "baseline, GPT-2": references["baseline"],
    }
    shown = [metric for metric in CLOSING_METRICS if metric in rows["generated"]][:CLOSING_COLUMNS]
    lines = [[name, *(f"{row[metric]:.3f}" if metric in row else "-" for metric in shown)] for name, row in rows.items()]
    table = aligned([["", *shown], *lines])
    return "\n".join([table, f"{strategy} decoding; {WHERE}", NEXT])
