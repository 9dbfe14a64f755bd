"""Metrics of the variants of a setting over their training seeds: means, shares between control and ceiling, and differences."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from annealed_lab.comparison.paired_tests import holm, mean_and_interval, paired_test
from annealed_lab.comparison.variant_groups import Member, Members, Setting

LOSS = "validation_loss"
COMPARED = (
    "grammatical",
    "perplexity",
    "perplexity_corpus",
    "mauve_train",
    "mauve_valid",
    "mauve_lm_train",
    "diversity",
    "memorization",
    "seen_trigrams",
    "doubled_word",
    "distinct",
)
"""Metrics of the samples, of which those that there are."""

CLOSE = 0.2
"""Control and ceiling that differ by a smaller share of the larger one are no scale to read a metric on."""

Reader = Callable[[Member], float | None]
Values = dict[str, dict[str, dict[int, float]]]
"""Metric -> variant -> seed -> value."""


def metric_key(metric: str, strategy: str) -> str:
    return f"{metric} ({strategy})"


def sampled_value(member: Member, strategy: str, metric: str) -> float | None:
    return finite(member.record.evaluation["samples"].get(strategy, {}).get(metric))


def finite(entry: Mapping[str, Any] | None) -> float | None:
    """The value of an entry, if it has one."""
    value = None if entry is None else entry.get("value")
    return float(value) if value is not None and math.isfinite(value) else None


def share_of_bounds(member: Member, strategy: str, metric: str) -> float | None:
    """(value - control) / (ceiling - control): 0 as if decoded from noise, 1 from real latents; None where the metric hardly
    tells the two apart (diversity: texts from noise are as diverse as real ones)."""
    references = member.record.evaluation["references"]
    control, ceiling = (finite(references.get(bound, {}).get(strategy, {}).get(metric)) for bound in ("control", "ceiling"))
    value = sampled_value(member, strategy, metric)
    if value is None or control is None or ceiling is None:
        return None
    if abs(ceiling - control) <= CLOSE * max(abs(ceiling), abs(control)):
        return None
    return (value - control) / (ceiling - control)


def validation_loss(member: Member) -> float | None:
    return float(member.record.training[LOSS])


def by_seed(members: Members, read: Reader) -> dict[int, float]:
    """Seed -> value, of the members that have one."""
    found = {each.seed: read(each) for each in members}
    return {seed: value for seed, value in found.items() if value is not None}


def read_all(setting: Setting, readers: Mapping[str, Reader]) -> Values:
    """What each reader finds; metrics and variants without any value are left out."""
    values = {}
    for key, read in readers.items():
        rows = {label: by_seed(members, read) for label, members in setting.variants.items()}
        values[key] = {label: row for label, row in rows.items() if row}
    return {key: rows for key, rows in values.items() if rows}


def sample_readers(setting: Setting, read: Callable[[Member, str, str], float | None]) -> dict[str, Reader]:
    """A reader for each strategy and metric, of a function of member, strategy and metric."""

    def reader(strategy: str, metric: str) -> Reader:
        return lambda member: read(member, strategy, metric)

    return {metric_key(metric, strategy): reader(strategy, metric) for strategy in setting.strategies for metric in COMPARED}


def metric_values(setting: Setting) -> Values:
    return read_all(setting, {LOSS: validation_loss, **sample_readers(setting, sampled_value)})


def summaries(setting: Setting) -> dict[str, dict[str, Any]]:
    """Metric -> variant -> mean and interval over seeds, the values by seed, and the share between control and ceiling."""
    shares = read_all(setting, sample_readers(setting, share_of_bounds))
    result: dict[str, dict[str, Any]] = {}
    for key, rows in metric_values(setting).items():
        result[key] = {}
        for label, values in rows.items():
            share = shares.get(key, {}).get(label)
            between = {"share": mean_and_interval(list(share.values()))} if share else {}
            result[key][label] = {**mean_and_interval(list(values.values())), **between, "by_seed": values}
    return result


def differences(setting: Setting, baseline: str) -> dict[str, dict[str, Any]]:
    """Metric -> variant -> paired test of variant - baseline over the seeds that both have."""
    result: dict[str, dict[str, Any]] = {}
    for key, rows in metric_values(setting).items():
        own = rows.get(baseline, {})
        for label, values in rows.items():
            pairs = {seed: value - own[seed] for seed, value in values.items() if seed in own}
            if label != baseline and pairs:
                result.setdefault(key, {})[label] = {**paired_test(list(pairs.values())), "by_seed": pairs}
    return result


def add_holm(settings: Sequence[Mapping[str, Any]]) -> None:
    """Put `p_holm` beside each p, corrected over all variants of all settings that are compared in one metric."""
    for key in sorted({key for each in settings for key in each["differences"]}):
        tests = {
            (number, label): test
            for number, each in enumerate(settings)
            for label, test in each["differences"].get(key, {}).items()
            if "p" in test
        }
        for place, corrected in holm({place: test["p"] for place, test in tests.items()}).items():
            tests[place]["p_holm"] = corrected


def bounds(setting: Setting) -> dict[str, dict[str, float]]:
    """Metric -> control and ceiling, of the first record."""
    references = setting.members[0].record.evaluation["references"]
    found: dict[str, dict[str, float]] = {}
    for strategy in setting.strategies:
        for metric in COMPARED:
            both = {bound: finite(references.get(bound, {}).get(strategy, {}).get(metric)) for bound in ("control", "ceiling")}
            known = {bound: value for bound, value in both.items() if value is not None}
            if known:
                found[metric_key(metric, strategy)] = known
    return found
