"""The last commit, experiments, the baseline, real texts, control and ceiling in one Markdown table.

Shares, perplexities, diversity and memorization have their 95 % interval over texts; with several sampling seeds every number
has its deviation over them. Neither tells how another training seed would come out.
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from annealed_lab.experiments.finished import commit_of, finished_experiments, read_text_at
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import write_text
from annealed_lm.reporting.report import SHOWN_METRICS, scores_table, set_rows

EVALUATION = "metrics/evaluation.json"


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """What was evaluated differently in two records, None if nothing was."""
    first, second = one["settings"], other["settings"]
    keys = [key for key in {**first, **second} if first.get(key) != second.get(key)]
    return f"{keys[0]}: {first.get(keys[0])} and {second.get(keys[0])}" if keys else None


def named_records(names: Sequence[str]) -> dict[str, Any]:
    """The records of the experiments that were asked for.

    Raises:
        InputError: one has no record, or two were evaluated differently.
    """
    records = {name: read_record(commit_of(name)) for name in names}
    first = names[0]
    for name in names[1:]:
        if found := difference(records[first], records[name]):
            raise InputError(
                f"{first} and {name} were evaluated differently ({found}), so their numbers cannot stand in one table: name "
                "experiments of equal settings"
            )
    return records


def all_records() -> dict[str, Any]:
    """The records of the last commit and of every finished experiment that was evaluated like it; the others are told."""
    records = {"HEAD": read_record(commit_of("HEAD"))}
    for name, commit in finished_experiments().items():
        try:
            record = read_record(commit)
        except InputError as error:
            print(f"left out: {error}")
            continue
        if found := difference(records["HEAD"], record):
            print(f"left out: {name} was evaluated differently from HEAD ({found})")
        elif record == records["HEAD"]:
            print(f"left out: {name} has the numbers of HEAD")
        else:
            records[name] = record
    return records


def reference_rows(records: Mapping[str, Any]) -> dict[str, Any]:
    """Real texts, baseline, control and ceiling; once for each version of them that experiments were compared with."""
    versions: dict[str, list[str]] = {}
    for name, record in records.items():
        versions.setdefault(json.dumps(record["references"], sort_keys=True), []).append(name)
    rows: dict[str, Any] = {}
    for version, names in versions.items():
        suffix = f" (of {', '.join(names)})" if len(versions) > 1 else ""
        strategies = records[names[0]]["samples"]
        named = set_rows(strategies, json.loads(version))
        rows |= {f"{name}{suffix}": row for name, row in named.items() if not name.endswith(", generated")}
    return rows


def table(records: Mapping[str, Any], metrics: Sequence[str]) -> str:
    rows = reference_rows(records)
    for name, record in records.items():
        rows |= {f"{name} ({record['run']}): {strategy}": row for strategy, row in record["samples"].items()}
    return scores_table(rows, metrics)


def read_record(commit: str) -> dict[str, Any]:
    """The scores of an experiment, and in a few words what was varied in it."""
    values = YAML(typ="safe", pure=True).load(read_text_at(commit, "params.yaml"))
    schedule = f"polynomial {values['power']:g}" if values["T_schedule"] == "polynomial" else values["T_schedule"]
    run = f"T_schedule {schedule}, {values['optimizer']}, seed {values['random_seed']}"
    record: dict[str, Any] = json.loads(read_text_at(commit, EVALUATION))
    return record | {"run": run}


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__)
    parser.add_argument("--experiments", nargs="+", help="names, branches or commits (HEAD and all finished experiments)")
    parser.add_argument("--metrics", nargs="+", default=list(SHOWN_METRICS))
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    args = parser.parse_args(arguments)

    records = named_records(args.experiments) if args.experiments else all_records()
    text = table(records, args.metrics)
    if args.out is not None:
        write_text(args.out, text)
    print(text)
