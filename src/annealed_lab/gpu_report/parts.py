"""The parts of the report in order of worth, and how they are gone through: what is there is not measured again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from annealed_lab.gpu_report import attention, checks, device, experiment, sampling, steps
from annealed_lab.gpu_report.items import Item, NotMeasuredError, Part, Runner, Setting, Values, failure
from annealed_lab.gpu_report.summary import write_summary
from annealed_lm.common.errors import tell
from annealed_lm.common.files import read_json, write_json


def device_items(setting: Setting) -> list[Item]:
    """Return the one item of the device."""
    return [Item("device", 10, device.measure_device, (setting.device, setting.size.matrix))]


PARTS: dict[str, Part] = {
    "device": Part("The device", device_items),
    "tests": Part("Tests that need a GPU", checks.test_items),
    "training": Part("Ways to train, each with one saving more", steps.training_items),
    "whole": Part("The whole training", steps.whole_items),
    "sampling": Part("Sampling and decoding", sampling.sampling_items),
    "profile": Part("Where the time of a step goes", steps.profile_items),
    "attention": Part("Attention of one block, forwards and backwards", attention.attention_items),
    "experiment": Part("A training from texts to samples", experiment.experiment_items, chained=True),
}


MOST = 4
"""Times what an item needs that it may take on a GPU, so that one that hangs does not cost all others their time; of parts whose
items need each other, a training may take what is left."""


class Store:
    """What has been measured, in a file that is whole at any time.

    Args:
        identity: of code, size and machine; results of another are not kept.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any]) -> None:
        self.path = path
        found = read_json(path) if path.exists() else {}
        if found and found["identity"] != identity:
            tell(f"{path} holds results of other code, another size or another machine: all is measured anew")
            found = {}
        self.values: dict[str, Any] = found or {"identity": dict(identity), "parts": {}, "left_out": {}}

    @property
    def measured(self) -> dict[str, dict[str, Values]]:
        """Results by part and item."""
        parts: dict[str, dict[str, Values]] = self.values["parts"]
        return parts

    def put(self, part: str, item: str, values: Values) -> None:
        """Keep a result and write the file."""
        self.values["left_out"].pop(f"{part}: {item}", None)
        self.measured.setdefault(part, {})[item] = values
        write_json(self.path, self.values)

    def leave_out(self, part: str, item: str, reason: str) -> None:
        """Note why an item has no result, and write the file."""
        self.values["left_out"][f"{part}: {item}"] = reason
        tell(f"{part}: {item} is left out: {reason}")
        write_json(self.path, self.values)


def measure_part(name: str, setting: Setting, store: Store, runner: Runner) -> None:
    """Measure the items of a part that have no result and for which there is time; what goes wrong stops nothing else."""
    part, failed = PARTS[name], None
    try:
        items = part.items(replace(setting, known=store.measured))
    except Exception as error:
        store.leave_out(name, "all", failure(error))
        return
    for item in items:
        if item.name in store.measured.get(name, {}):
            continue
        if failed is not None and part.chained:
            store.leave_out(name, item.name, f"it needs {failed}")
            continue
        reason = measure_item(name, item, setting, store, runner)
        if reason is not None:
            store.leave_out(name, item.name, reason)
            failed = item.name


def measure_item(part: str, item: Item, setting: Setting, store: Store, runner: Runner) -> str | None:
    """Measure an item and keep its result; return why there is none, if there is none."""
    left, on_gpu = setting.clock.left(), setting.device.type == "cuda"
    least = item.least if on_gpu else 0
    if left <= least:
        return f"{left:.0f} seconds were left, and it may take {least:.0f}"
    most = min(left, MOST * item.least) if on_gpu and not PARTS[part].chained else left
    try:
        store.put(part, item.name, runner(most, item))
    except NotMeasuredError as error:
        return str(error)
    tell(f"{part}: {item.name} is measured, {setting.clock.left():.0f} seconds are left")
    return None


def measure_parts(names: Sequence[str], setting: Setting, store: Store, runner: Runner) -> None:
    """Measure the named parts in order and write the tables after each of them."""
    for name in names:
        measure_part(name, setting, store, runner)
        write_summary(store.values, {part: PARTS[part].title for part in PARTS}, setting.out)
