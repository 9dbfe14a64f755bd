"""Which experiments are the same run but for the seed, which differ in the timestep distribution (variants), and which in
anything else (settings): only variants of one setting are compared.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annealed_lab.experiments.records import Record, relevant_parameters
from annealed_lm.config.effects import USED_ONLY_WITH, parameters_of_T_schedule
from annealed_lm.config.yaml_files import flat

SEED = "random_seed"
T_SCHEDULE, BASE, POWER = "T_schedule", "train_diffusion.base_schedule", "power"
WEIGHTS = "train_diffusion.loss_weight"
RANGE_IN = "train_diffusion.range_in"
ALWAYS_OF_THE_VARIANT = (T_SCHEDULE, WEIGHTS, "train_diffusion.sampling_weights")
PLAIN = {WEIGHTS: "none", "train_diffusion.sampling_weights": "published", RANGE_IN: "t"}
"""What a run is unless something else was asked for: weighted as its source has it and no further, its range in t."""
MOST_NAMED = 4
"""A setting that differs in more parameters is named by those alone that tell it from every other."""
FIRST_NAMED = ("dataset_name", "train_diffusion.num_train_steps", "train_diffusion.noise_schedule")
WHEN = ("train_diffusion.log_every", "train_diffusion.validate_every", "train_diffusion.evaluate_every")
"""When something is written down: named only where nothing else tells two settings apart."""

Key = tuple[tuple[str, str], ...]
"""Sorted dotted keys, with their values as JSON."""


def canonical(value: Any) -> str:
    """Return a value as JSON; 2 and 2.0 are one value."""
    return json.dumps(int(value) if isinstance(value, float) and value.is_integer() else value, sort_keys=True)


def key_of(values: Mapping[str, Any]) -> Key:
    return tuple(sorted((name, canonical(value)) for name, value in values.items()))


@dataclass(frozen=True)
class Member:
    """A record and the group that it is of.

    Attributes:
        variant: the parameters of its timestep distribution.
        setting: every other parameter that changes something, and how its texts were evaluated.
    """

    record: Record
    variant: Key
    setting: Key

    @property
    def seed(self) -> int:
        return int(self.record.values[SEED])


Members = Sequence[Member]


def member(record: Record) -> Member:
    """Split the parameters of a record into those of its variant and those of its setting."""
    relevant = relevant_parameters(record.values)
    read = parameters_of_T_schedule(record.values[T_SCHEDULE], record.values["train_diffusion"]["base_schedule"])
    if record.values["train_diffusion"]["range_start"]:
        read = read - {RANGE_IN}  # it says which timesteps there are, for uniform draws as for any others
    weights = {parameter for choice in USED_ONLY_WITH[WEIGHTS].values() for parameter in choice}
    of_variant = (read | weights | set(ALWAYS_OF_THE_VARIANT)) & set(relevant)
    variant = {key: relevant[key] for key in of_variant}
    setting = {key: value for key, value in relevant.items() if key not in of_variant and key != SEED}
    evaluated = {f"evaluation.{key}": value for key, value in flat(record.evaluation["settings"]).items()}
    # What the decoder makes of noise and of real latents tells one autoencoder from another.
    bounds = {bound: record.evaluation["references"].get(bound) for bound in ("control", "ceiling")}
    evaluated["evaluation.bounds"] = hashlib.sha256(json.dumps(bounds, sort_keys=True).encode()).hexdigest()
    return Member(record, key_of(variant), key_of(setting | evaluated))


def without_repeats(members: Iterable[Member]) -> tuple[list[Member], list[str]]:
    """Return the members, of those of one variant, setting and seed the newest alone; and what was left out for it, in sentences.

    Folders have no date: of those the last by name is kept.
    """
    kept: dict[tuple[Key, Key, int], Member] = {}
    repeats = []
    for each in sorted(members, key=lambda member: (member.record.source.newness, member.record.name)):
        found = kept.pop((each.variant, each.setting, each.seed), None)
        if found is not None:
            repeats.append(f"{found.record.name} is the same run as {each.record.name}, seed included, and not the newest")
        kept[each.variant, each.setting, each.seed] = each
    return sorted(kept.values(), key=lambda member: (member.seed, member.record.name)), repeats


def shown(value: str | None) -> str:
    """Return a value as a label shows it: JSON without quotes, digests by their first digits."""
    if value is None:
        return "absent"
    text = value.strip('"')
    return text[:8] if len(text) >= 40 and set(text) <= set("0123456789abcdef") else text


def varying(found: Collection[Mapping[str, str]]) -> list[str]:
    """Return the names whose value is not one and the same everywhere, in order of the alphabet."""
    names = sorted({name for values in found for name in values})
    return [name for name in names if len({values.get(name) for values in found}) > 1]


def phrase(names: Sequence[str], values: Mapping[str, str]) -> str:
    """Put the named values in words; a name by its last part where no other ends so."""
    lasts = [name.rsplit(".", 1)[-1] for name in names]
    short = [last if lasts.count(last) == 1 else name for last, name in zip(lasts, names, strict=True)]
    return ", ".join(f"{word} {shown(values.get(name))}" for word, name in zip(short, names, strict=True))


def schedule_name(T_schedule: str, base: str | None, power: str | None) -> str:
    """Name a schedule, such as: linear, polynomial 3, static (of linear)."""
    if base is not None:
        return f"{T_schedule} (of {schedule_name(base, None, power)})"
    return f"{T_schedule} {power}" if T_schedule == "polynomial" else T_schedule


def usual_values(variants: Collection[Mapping[str, str]]) -> dict[str, str]:
    """Return parameter -> the value that labels do not name: that of `PLAIN`, or that of most of those that have one."""
    counts: dict[str, Counter[str]] = {}
    for values in variants:
        for name, value in values.items():
            counts.setdefault(name, Counter())[value] += 1
    most = {name: count.most_common(1)[0] for name, count in counts.items()}
    usual = {name: value for name, (value, times) in most.items() if 2 * times > counts[name].total()}
    return usual | {name: canonical(value) for name, value in PLAIN.items()}


def variant_labels(variants: Iterable[Key]) -> dict[Key, str]:
    """Give every variant a short name: its schedule, and those of its parameters that are not as usual among these variants."""
    found = {key: dict(key) for key in sorted(set(variants))}
    usual = usual_values(found.values())
    labels = {}
    for key, values in found.items():
        base = shown(values[BASE]) if BASE in values else None
        name = schedule_name(shown(values[T_SCHEDULE]), base, values.get(POWER))
        in_name = {T_SCHEDULE, BASE} | ({POWER} if "polynomial" in name else set())
        unusual = [other for other, value in values.items() if other not in in_name and value != usual.get(other)]
        labels[key] = f"{name}, {phrase(unusual, values)}" if unusual else name
    return labels


def setting_labels(settings: Iterable[Key]) -> dict[Key, str]:
    """Give every setting a name that says what differs between them; "all" for a single one.

    Parameters go before what the references were: another corpus has other ones, which needs no words.
    """
    found = {key: dict(key) for key in sorted(set(settings))}
    if len(found) == 1:
        return dict.fromkeys(found, "all")
    names = sorted(varying(found.values()), key=lambda name: (is_evaluated(name), *preference(name)))
    parameters = [name for name in names if not is_evaluated(name) and name not in WHEN]
    named = parameters if len(parameters) <= MOST_NAMED else []
    for name in names:
        if classes(found, [*named, name]) > classes(found, named):
            named = [*named, name]
    return {key: phrase(named, values) for key, values in found.items()}


def is_evaluated(name: str) -> bool:
    return name.startswith("evaluation.")


def preference(name: str) -> tuple[int, str]:
    """Return a key to sort by what to name first."""
    return (FIRST_NAMED.index(name) if name in FIRST_NAMED else len(FIRST_NAMED), name)


def classes(settings: Mapping[Key, Mapping[str, str]], names: Sequence[str]) -> int:
    """Count how many settings the named parameters tell apart."""
    return len({tuple(values.get(name) for name in names) for values in settings.values()})


@dataclass(frozen=True)
class Setting:
    """The members of one setting.

    Attributes:
        variants: by label, members in order of their seed.
    """

    label: str
    key: Key
    variants: dict[str, Members]

    @property
    def members(self) -> list[Member]:
        return [each for members in self.variants.values() for each in members]

    @property
    def strategies(self) -> list[str]:
        return list(self.members[0].record.evaluation["samples"])


def settings_of(members: Members, baseline: str) -> list[Setting]:
    """Sort the members by setting and variant, the baseline first and then by label, seeds from the smallest."""
    variants = variant_labels(each.variant for each in members)
    labels = setting_labels(each.setting for each in members)
    order = sorted(variants, key=lambda key: (variants[key] != baseline, variants[key]))
    found = []
    for key in sorted(labels, key=lambda each: natural(labels[each])):
        inside = [each for each in members if each.setting == key]
        by_label: dict[str, Members] = {
            variants[variant]: [each for each in inside if each.variant == variant] for variant in order
        }
        by_label = {label: sorted(group, key=lambda each: each.seed) for label, group in by_label.items() if group}
        found.append(Setting(labels[key], key, by_label))
    return found


def natural(label: str) -> list[tuple[float, str]]:
    """Return a key to sort by in which 600 goes before 2400."""
    return [(float(word), "") if word.isdigit() else (math.inf, word) for word in label.replace(",", " ,").split()]
