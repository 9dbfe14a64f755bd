"""Curves of variants along the training: means over training seeds with a band, the loss by log-SNR relative to a baseline, and
how many steps a run takes to what another reached at its end.

Steps are the measure of efficiency, as annealing makes no step cheaper. The target is the last value of the baseline with the
same seed and setting. A curve that never reaches it is right-censored: it would have taken more steps than it was trained for.
The recorded steps are the resolution: nothing is interpolated between them.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from annealed_lab.comparison.seed_statistics import beside_baseline, groups, mean_and_interval
from annealed_lab.comparison.variant_groups import Member, Members
from annealed_lm.reporting.tables import Columns

Variants = Mapping[str, Members]

DIRECTIONS = {
    "validation_loss": -1,
    "perplexity": -1,
    "perplexity_corpus": -1,
    "grammatical": 1,
    "has_label": 1,
    "mauve_train": 1,
    "mauve_valid": 1,
    "mauve_test": 1,
    "mauve_lm_train": 1,
    "mauve_lm_valid": 1,
    "mauve_lm_test": 1,
    "diversity": 1,
    "seen_trigrams": 1,
}
"""1 where more is better, -1 where less is; only of these is there a target."""
TERA = 1e12


def mean_curves(variants: Variants, name: str, read: Callable[[Member], Columns]) -> dict[str, list[dict[str, float]]]:
    """Return variant -> rows of step, n, mean, and from two seeds on sd, low and high, of the column `name`."""
    return {label: mean_curve([read(each) for each in members], name) for label, members in variants.items()}


def mean_curve(curves: Sequence[Columns], name: str) -> list[dict[str, float]]:
    """Return the mean at every step that any of the curves has, over those that have it."""
    points = pd.concat([pd.DataFrame({"step": curve["step"], "value": curve[name]}) for curve in curves])
    at: dict[Any, list[float]] = points.groupby("step")["value"].agg(list).to_dict()
    return [{"step": step} | mean_and_interval(values) for step, values in at.items()]


def log_snr_curves(variants: Variants, baseline: str) -> dict[str, dict[str, Any]]:
    """Return variant -> bin of log-SNR, from noise to signal -> the mean loss at the end over seeds, and `relative`, its mean
    ratio to that of the baseline over the seeds that both have."""
    rows = [
        (label, each.seed, name, curve["loss"][-1])
        for label, members in variants.items()
        for each in members
        for name, curve in each.record.curves.by_log_snr.items()
        if curve["loss"]
    ]
    losses = beside_baseline(pd.DataFrame(rows, columns=["variant", "seed", "bin", "value"]), baseline, "bin")
    losses["ratio"] = losses["value"] / losses["own"].where(losses["own"] != 0)
    result: dict[str, dict[str, Any]] = {label: {} for label in variants}
    for label, name, found in groups(losses, "variant", "bin"):
        ratios = found["ratio"].dropna().tolist()
        relative = {"relative": mean_and_interval(ratios)} if ratios else {}
        result[label][name] = mean_and_interval(found["value"].tolist()) | relative
    return result


def first_step(curve: Columns, name: str, target: float, direction: int) -> int | None:
    """Return the first recorded step at which the column `name` is as good as `target`; None: at none.

    Args:
        direction: as in `DIRECTIONS`.
    """
    reached = (step for step, value in zip(curve["step"], curve[name], strict=True) if direction * (value - target) >= 0)
    step = next(reached, None)
    return None if step is None else int(step)


def seconds_at(timing: Columns, step: float) -> float:
    """Return the seconds of training until `step`, linear between the recorded steps and from step 0."""
    return float(np.interp(step, [0, *timing["step"]], [0, *timing["seconds"]]))


def reach(curve: Columns, own: Columns, name: str, direction: int, timing: Columns, flops_per_step: float) -> dict[str, Any]:
    """Find when one run reaches the end of the baseline's curve.

    Args:
        curve, own: columns step and `name` of the run and of the baseline of its seed.

    Returns:
        target; step and ratio to the baseline's own first step at it; teraflops and seconds until then. `censored` if the target
        is never reached: all are then those of the last recorded step, and the truth is above.
    """
    target = own[name][-1]
    step = first_step(curve, name, target, direction)
    until = int(curve["step"][-1]) if step is None else step
    baseline = first_step(own, name, target, direction) or int(own["step"][-1])
    return {
        "target": target,
        "step": until,
        "censored": step is None,
        "ratio": until / baseline,
        "teraflops": until * flops_per_step / TERA,
        "seconds": seconds_at(timing, until),
    }


def median_above(values: Sequence[float], censored: Sequence[bool]) -> tuple[float, bool]:
    """Return the smallest median that is possible where censored values are lower bounds, and whether it may be larger."""
    lowest = median(values)
    highest = median(math.inf if above else value for value, above in zip(values, censored, strict=True))
    return lowest, lowest != highest


def summarise(by_seed: Mapping[int, Mapping[str, Any]]) -> dict[str, Any]:
    """Count how many of n seeds reached the target, and take medians over the seeds of step, ratio, teraflops and seconds.

    A median `above` is a lower bound. The values of each seed stand below them.
    """
    censored = [bool(each["censored"]) for each in by_seed.values()]
    medians: dict[str, Any] = {}
    for name in ("step", "ratio", "teraflops", "seconds"):
        value, above = median_above([each[name] for each in by_seed.values()], censored)
        medians[name] = {"median": value, "above": above}
    return {"n": len(censored), "reached": censored.count(False), **medians, "by_seed": dict(by_seed)}


def is_finite(curve: Columns, name: str) -> bool:
    """Return whether a curve has a last value to aim at."""
    return bool(curve[name]) and math.isfinite(curve[name][-1])
