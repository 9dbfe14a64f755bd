"""Curves of variants: means over training seeds with a band, and the loss by log-SNR relative to a baseline."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from annealed_lab.comparison.paired_tests import mean_and_interval
from annealed_lab.comparison.variant_groups import Member, Members
from annealed_lm.reporting.tables import Columns

Variants = Mapping[str, Members]


def mean_curves(variants: Variants, name: str, read: Callable[[Member], Columns]) -> dict[str, list[dict[str, float]]]:
    """Variant -> rows of step, n, mean, and from two seeds on sd, low and high, of the column `name`."""
    return {label: mean_curve([read(each) for each in members], name) for label, members in variants.items()}


def mean_curve(curves: Sequence[Columns], name: str) -> list[dict[str, float]]:
    """The mean at every step that any of the curves has, over those that have it."""
    at: dict[float, list[float]] = {}
    for curve in curves:
        for step, value in zip(curve["step"], curve[name], strict=True):
            at.setdefault(step, []).append(value)
    return [{"step": step} | mean_and_interval(at[step]) for step in sorted(at)]


def log_snr_curves(variants: Variants, baseline: str) -> dict[str, dict[str, Any]]:
    """Variant -> bin of log-SNR -> the loss at the end, and its ratio to that of the baseline over the seeds that both have."""
    own = {each.seed: last_losses(each) for each in variants.get(baseline, [])}
    result: dict[str, dict[str, Any]] = {}
    for label, members in variants.items():
        losses = {each.seed: last_losses(each) for each in members}
        bins = dict.fromkeys(
            name for found in losses.values() for name in found
        )  # in the order of the file, from noise to signal
        result[label] = {name: bin_entry(name, losses, own) for name in bins}
    return result


def bin_entry(name: str, losses: Mapping[int, Mapping[str, float]], own: Mapping[int, Mapping[str, float]]) -> dict[str, Any]:
    """One bin: mean loss over seeds, and `relative`, the mean ratio to the baseline."""
    values = [found[name] for found in losses.values() if name in found]
    pairs = [found[name] / own[seed][name] for seed, found in losses.items() if name in found and own.get(seed, {}).get(name)]
    return mean_and_interval(values) | ({"relative": mean_and_interval(pairs)} if pairs else {})


def last_losses(member: Member) -> dict[str, float]:
    """The last loss of each bin of log-SNR."""
    return {name: curve["loss"][-1] for name, curve in member.record.curves.by_log_snr.items() if curve["loss"]}
