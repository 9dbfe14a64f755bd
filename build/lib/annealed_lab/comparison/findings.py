"""What a comparison found: which variants are better or worse than the baseline, in a word, a sign, and one sentence for all."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from annealed_lab.comparison.curves import DIRECTIONS
from annealed_lab.comparison.seed_statistics import ALPHA, LOSS, metric_key

BETTER, WORSE, NOT_TOLD_APART, EQUAL, ONE_PAIR = "better", "worse", "not told apart", "equal", "of one seed alone"
SIGNS = {BETTER: "▲ ", WORSE: "▼ "}


def judgement(entry: Mapping[str, Any], metric: str) -> str | None:
    """Say what a paired difference is: better or worse if Holm's p is under `ALPHA`; None where the metric has no better.

    Args:
        entry: of `differences`.
        metric: its name without a strategy.
    """
    if entry.get("equal"):
        return EQUAL
    if metric not in DIRECTIONS:
        return None
    if "p_holm" not in entry:
        return ONE_PAIR
    if entry["p_holm"] >= ALPHA:
        return NOT_TOLD_APART
    return BETTER if DIRECTIONS[metric] * entry["mean"] > 0 else WORSE


def sign(entry: Mapping[str, Any], metric: str) -> str:
    """Return the sign of better and worse, with a space, nothing for all else."""
    return SIGNS.get(judgement(entry, metric) or "", "")


def main_keys(setting: Mapping[str, Any]) -> dict[str, str]:
    """Return the quality metric, if there is one, and the validation loss -> their keys."""
    quality = setting["quality_metric"]
    first = {} if quality is None else {quality: metric_key(quality, setting["strategies"][0])}
    return first | {LOSS: LOSS}


def judgements(comparison: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield metric and judgement of every difference in quality and in validation loss, those in quality first."""
    keys = [(metric, key, setting) for setting in comparison["settings"] for metric, key in main_keys(setting).items()]
    for metric, key, setting in sorted(keys, key=lambda each: each[0] == LOSS):
        for entry in setting["differences"].get(key, {}).values():
            yield metric, judgement(entry, metric) or NOT_TOLD_APART


def verdict(comparison: Mapping[str, Any]) -> str:
    """Return in one sentence what was found in quality and in validation loss."""
    baseline = comparison["baseline"]
    counts: dict[str, Counter[str]] = {}
    for metric, judged in judgements(comparison):
        counts.setdefault(metric, Counter())[judged] += 1
    if not counts:
        return f"Nothing is told: no other variant stands beside {baseline} with the same seed and setting."
    names = {LOSS: "validation loss"}
    parts = [f"in {names.get(metric, metric)}, {outcome(found, baseline)}" for metric, found in counts.items()]
    sentence = "; ".join(parts)
    return f"{sentence[0].upper()}{sentence[1:]}."


def outcome(counts: Mapping[str, int], baseline: str) -> str:
    """Say in words what was found in one metric, then the counts."""
    better, worse = counts[BETTER], counts[WORSE]
    if better and worse:
        told = f"some variants are better than {baseline} and some are worse"
    elif better:
        told = f"some variants are better than {baseline} and none is worse"
    elif worse:
        told = f"no variant is better than {baseline} and some are worse"
    elif counts[ONE_PAIR]:
        told = f"nothing is told, for single seeds differ as much as variants may (beside {baseline})"
    else:
        told = f"no variant was told apart from {baseline}"
    shown = [f"{counts[each]} {each}" for each in (BETTER, WORSE, NOT_TOLD_APART, EQUAL, ONE_PAIR) if counts[each]]
    compared = sum(counts.values())
    return f"{told} (of {compared} comparison{'s' if compared > 1 else ''} {', '.join(shown)})"
