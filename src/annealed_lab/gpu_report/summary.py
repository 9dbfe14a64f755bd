"""What came out, beside the goals: the tables of all parts as Markdown, and the figures that matter as JSON."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annealed_lab.benchmarks.results import titled_table
from annealed_lm.common.files import write_json, write_text
from annealed_lm.reporting.tables import aligned_rows

Parts = Mapping[str, Mapping[str, Mapping[str, Any]]]
GOALS = {
    "minutes_of_80000_steps": "under 10",
    "mfu": "over 0.4",
    "times_as_fast_as_plain": "at least 10",
    "seconds_of_1000_texts": "under 20",
}
"""What the thesis's size is to reach on an H100 or H200."""


def training_rows(parts: Parts) -> list[dict[str, Any]]:
    """Return the ways to train with what they are beside plain, and beside what the device can do: published and measured."""
    rows, plain = parts.get("training", {}), parts.get("training", {}).get("plain", {})
    rates = parts.get("device", {}).get("device", {})
    found = []
    for name, row in rows.items():
        more: dict[str, Any] = {}
        if plain:
            more["speedup"] = row["texts_per_second"] / plain["texts_per_second"]
        for column, kind in (("mfu", "published_tflops"), ("mfu_of_measured", "measured_tflops")):
            if row["precision"] in rates.get(kind, {}):
                more[column] = row["tflops"] / rates[kind][row["precision"]]
        found.append({"way": name, **row, **more})
    return found


def figures(parts: Parts) -> dict[str, Any]:
    """Return the figures that have goals, as far as they were measured; those of a step of the thesis's model and batch."""
    rows, found = [row for row in training_rows(parts) if row["same_work"]], {}
    for whole in parts.get("whole", {}).values():
        found["minutes_of_80000_steps"] = whole["seconds_per_step"] * 80_000 / 60
    if shares := [share for row in rows if (share := row.get("mfu", row.get("mfu_of_measured"))) is not None]:
        found["mfu"] = max(shares)
    if speedups := [row["speedup"] for row in rows if "speedup" in row]:
        found["times_as_fast_as_plain"] = max(speedups)
    times = parts.get("sampling", {})
    sampled = [row["seconds"] / row["texts"] for row in times.values() if row.get("solver") == "ddim"]
    decoded = [row["seconds"] / row["texts"] for row in times.values() if row.get("strategy") == "greedy"]
    if sampled and decoded:
        found["seconds_of_1000_texts"] = 1000 * (sampled[0] + decoded[0])
    return found


def rows_of(part: str, items: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the items of a part as rows; values that are tables or texts of their own stand elsewhere."""
    return [
        {"item": name} | {key: value for key, value in values.items() if not isinstance(value, list | dict)}
        for name, values in items.items()
    ]


def tables(values: Mapping[str, Any], titles: Mapping[str, str]) -> list[str]:
    """Return the tables of all parts as Markdown."""
    parts: Parts = values["parts"]
    found = [
        titled_table(
            "## Goals", [{"figure": name, "found": value, "goal": GOALS[name]} for name, value in figures(parts).items()]
        )
    ]
    for part, items in parts.items():
        rows = training_rows(parts) if part == "training" else rows_of(part, items)
        found.append(titled_table(f"## {titles[part]}", aligned_rows(rows)))
        found += inner_tables(items)
    if values["left_out"]:
        found.append(titled_table("## Left out", [{"what": what, "why": why} for what, why in values["left_out"].items()]))
    return found


def inner_tables(items: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the tables within items: rows, and values by name."""
    found = []
    for name, values in items.items():
        for key, value in values.items():
            if isinstance(value, Mapping) and value:
                found.append(titled_table(f"{name}, {key}", [{key: inner, "value": each} for inner, each in value.items()]))
            elif isinstance(value, Sequence) and value and isinstance(value[0], Mapping):
                found.append(titled_table(f"{name}, {key}", aligned_rows(value)))
    return found


def write_summary(values: Mapping[str, Any], titles: Mapping[str, str], folder: Path) -> None:
    """Write report.md, and bench_gpu.json, which holds the machine, the figures and the ways to train."""
    identity, parts = values["identity"], values["parts"]
    opening = [f"# GPU report, size {identity['size']}", ", ".join(f"{name} {value}" for name, value in identity.items())]
    write_text(folder / "report.md", "\n\n".join([*opening, *tables(values, titles)]))
    found = {"identity": identity, "figures": figures(parts), "goals": GOALS, "training": training_rows(parts)}
    write_json(folder / "bench_gpu.json", found)
