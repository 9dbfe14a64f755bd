"""Variants of the timestep distribution, compared under each setting: means over seeds, paired differences from a baseline, steps
to its quality. The result is plain JSON; tables, figures and pages are drawn from it alone.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from annealed_lab.comparison.curves import DIRECTIONS, is_finite, log_snr_curves, mean_curves, reach, summarise
from annealed_lab.comparison.seed_statistics import ALPHA, LOSS, POWER, add_holm, bounds, differences, seed_values, summaries
from annealed_lab.comparison.variant_groups import Member, Members, Setting, is_evaluated, settings_of, varying, without_repeats
from annealed_lm.common.errors import InputError
from annealed_lm.reporting.tables import Columns

BASELINE = "normal"
MOST_REASONS = 3
"""So many reasons of leaving out are given, where nothing is left to compare."""
PREFERRED_QUALITY = ("grammatical", "mauve_train", "mauve_lm_train", "perplexity_corpus")
"""The quality to reach is the first of these that all records of a setting have."""


def quality_curve(member: Member, metric: str) -> Columns:
    return member.record.curves.quality.get(metric, {"step": [], metric: []})


def quality_of(setting: Setting, wanted: str | None) -> str | None:
    """Return the quality metric of a setting, the wanted one or else the preferred one; None where its records share none."""
    choices = PREFERRED_QUALITY if wanted is None else (wanted,)
    has = (metric for metric in choices if all(is_finite(quality_curve(each, metric), metric) for each in setting.members))
    return next(has, None)


def steps_to_target(setting: Setting, baseline: str, name: str, curve: Callable[[Member], Columns]) -> dict[str, Any]:
    """Return variant -> when its curve reaches the end of the baseline's.

    Args:
        name: the column of the curve, and `validation_loss` or the metric.
    """
    direction = DIRECTIONS[LOSS if name == "loss" else name]
    own = {each.seed: curve(each) for each in setting.variants.get(baseline, [])}
    result = {}
    for label, members in setting.variants.items():
        reached = {
            each.seed: reach(
                curve(each), own[each.seed], name, direction, each.record.curves.timing, each.record.training["flops_per_step"]
            )
            for each in members
            if each.seed in own
        }
        if reached:
            result[label] = summarise(reached)
    return result


def shown_samples(setting: Setting) -> dict[str, Any]:
    """Return the first texts of the variants under one seed, the smallest of those that most have, and of the references.

    Sample i of every variant has the same sampling seed, so it starts from the same noise.
    """
    strategy = setting.strategies[0]
    seeds = sorted({each.seed for each in setting.members})
    seed = max(seeds, key=lambda one: (sum(each.seed == one for each in setting.members), -one))
    of_seed = {label: each for label, members in setting.variants.items() for each in members if each.seed == seed}
    texts = {label: each.record.samples.get(f"{strategy}, generated", []) for label, each in of_seed.items()}
    first = next(iter(of_seed.values())).record.samples
    titles = {"control": f"{strategy}, control", "ceiling": f"{strategy}, ceiling", "baseline": "baseline", "real": "real"}
    others = {f"({name})": first[title] for name, title in titles.items() if title in first}
    return {"seed": seed, "strategy": strategy, "texts": {label: found for label, found in texts.items() if found} | others}


def variant_entry(members: Members) -> dict[str, Any]:
    """Say what a variant is, and of which records."""
    return {
        "parameters": dict(members[0].variant),
        "seeds": [each.seed for each in members],
        "records": [each.record.name for each in members],
        "commits": [each.record.source.commit for each in members],
        "flops_per_step": members[0].record.training["flops_per_step"],
        "parameters_of_the_model": members[0].record.training.get("parameters"),
    }


def compare_setting(setting: Setting, baseline: str, wanted: str | None, differing: Iterable[str]) -> dict[str, Any]:
    """Compare all that there is under one setting."""
    quality = quality_of(setting, wanted)
    curves: dict[str, tuple[str, Callable[[Member], Columns]]] = {LOSS: ("loss", lambda each: each.record.curves.validation)}
    if quality is not None:
        curves[quality] = (quality, lambda each: quality_curve(each, quality))
    several = {key: each for key, each in curves.items() if all(len(each[1](one)["step"]) > 1 for one in setting.members)}
    parameters, values = dict(setting.key), seed_values(setting)
    return {
        "label": setting.label,
        "parameters": {name: parameters.get(name) for name in differing},
        "strategies": setting.strategies,
        "quality_metric": quality,
        "evaluation": setting.members[0].record.evaluation["settings"],
        "variants": {label: variant_entry(members) for label, members in setting.variants.items()},
        "bounds": bounds(setting),
        "metrics": summaries(values),
        "differences": differences(values, baseline),
        "steps_to_target": {key: steps_to_target(setting, baseline, name, read) for key, (name, read) in several.items()},
        "curves": {key: mean_curves(setting.variants, name, read) for key, (name, read) in curves.items()},
        "log_snr": log_snr_curves(setting.variants, baseline),
        "samples": shown_samples(setting),
    }


NOTES = (
    "Means are over training seeds, ± is half the 95 % t interval. They tell how another training seed would come out, of the "
    "same data, autoencoder and judges.",
    "In brackets: the share (value - control) / (ceiling - control). The control decodes noise, the ceiling real latents; 0 is "
    "as bad as the one and 1 as good as the other.",
    "Differences are of runs with the same seed; intervals and p are of the paired t-test, two-sided. p (Holm) is corrected over "
    "all variants and settings compared in that metric, not over metrics. p (flips) is the exact sign-flip test, which needs no "
    "normal distribution and is never below 2 / 2^n: 1/16 with 5 seeds.",
    "Equal: no pair differs by more than rounding, a millionth of the value, and nothing is tested.",
    "Detectable: the true difference that these seeds, with this spread, find with probability 0.8 in one test; after Holm's "
    "correction they find less. A difference that was not found may still be as large as that, so no difference found does not "
    "mean none.",
    "Steps to target: the first recorded step at which a run is as good as the baseline of its seed at its end. Recorded steps "
    "are the resolution. A value with > is a lower bound: the run never got there in the steps that it had.",
    "A T schedule is tied to the length of its training, and so is the learning rate: a run that reaches the target at an "
    "earlier step is a part of a run that was to be longer, not a run of that length.",
    "Seconds are of the machines on which the runs happened to be, and of what else ran there; compare steps and FLOP first.",
    "Training losses of different T schedules cannot be compared (they rise as T_now grows), and are not shown. The validation "
    "loss is over the whole range of t, or what range_start leaves of it, with the same noise for every variant; it is no "
    "measure of texts.",
)


def compare(members: Members, baseline: str, quality: str | None, left_out: Sequence[str]) -> dict[str, Any]:
    """Compare all members; the result is the same whatever their order.

    Args:
        baseline: label of the variant that the others are compared with.
        quality: metric whose target is to be reached; None: the first of `PREFERRED_QUALITY` that there is.
        left_out: sentences about experiments that are not members.

    Raises:
        InputError: there are no members, no variant has the name `baseline` (the default may be missing), or no record `quality`.
    """
    kept, repeats = without_repeats(members)
    if not kept:
        more = [f"and {len(left_out) - MOST_REASONS} more"] if len(left_out) > MOST_REASONS else []
        reasons = "; ".join([*left_out[:MOST_REASONS], *more]) or "there are none"
        raise InputError(f"no finished experiment has all that a comparison needs: {reasons}")
    settings = settings_of(kept, baseline)
    found = {label for each in settings for label in each.variants}
    labels = sorted(found, key=lambda label: (label != baseline, label))
    if baseline not in labels and baseline != BASELINE:
        raise InputError(f"no variant is called {baseline!r} (--baseline); there are {', '.join(labels)}")
    differing = [name for name in varying([dict(each.key) for each in settings]) if not is_evaluated(name)]
    compared = [compare_setting(each, baseline, quality, differing) for each in settings]
    if quality is not None and all(each["quality_metric"] is None for each in compared):
        raise InputError(f"no setting has {quality} along the training of all its records (--quality-metric)")
    add_holm(compared)
    return {
        "baseline": baseline,
        "level": 1 - ALPHA,
        "power": POWER,
        "variants": labels,
        "notes": list(NOTES),
        "left_out": sorted([*left_out, *repeats]),
        "settings": compared,
    }
