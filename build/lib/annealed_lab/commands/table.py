"""Show the last commit, finished experiments, real texts, baseline, control and ceiling in one Markdown table.

Shares, perplexities, diversity and memorization have their 95 % interval over texts; with several sampling seeds every number
has its deviation over them. Neither tells how another training seed would come out.

Reads: the last commit and the commits of finished experiments. Writes: nothing but what --out names.
Example: python src/lab.py table --experiments main linear --metrics grammatical perplexity
"""

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annealed_lab.experiments.checkout import check_machine
from annealed_lab.experiments.evaluations import all_evaluations, named_evaluations
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import write_text
from annealed_lm.config.types import nearest
from annealed_lm.reporting.report import SHOWN_METRICS, scores_table, set_rows


def reference_rows(evaluations: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of real texts, baseline, control and ceiling, once for each version that experiments were compared with."""
    versions: dict[str, list[str]] = {}
    for name, evaluation in evaluations.items():
        versions.setdefault(json.dumps(evaluation["references"], sort_keys=True), []).append(name)
    rows: dict[str, Any] = {}
    for version, names in versions.items():
        suffix = f" (of {', '.join(names)})" if len(versions) > 1 else ""
        strategies = evaluations[names[0]]["samples"]
        named = set_rows(strategies, json.loads(version))
        rows |= {f"{name}{suffix}": row for name, row in named.items() if not name.endswith(", generated")}
    return rows


def table_rows(evaluations: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of the table: the references, then one for each experiment and strategy of decoding."""
    rows = reference_rows(evaluations)
    for name, evaluation in evaluations.items():
        rows |= {f"{name} ({evaluation['run']}): {strategy}": row for strategy, row in evaluation["samples"].items()}
    return rows


def require_known(metrics: Sequence[str], rows: Mapping[str, Any]) -> None:
    """Refuse a metric that no row has.

    Raises:
        InputError: which, and what there is.
    """
    known = list(dict.fromkeys(metric for row in rows.values() for metric in row))
    for metric in metrics:
        if metric not in known:
            raise InputError(f"--metrics {metric}: no row has it{nearest(metric, known)}; there are {', '.join(known)}")


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiments", nargs="+", help="names, branches or commits (HEAD and all finished experiments)")
    parser.add_argument("--metrics", nargs="+", default=[], help=f"columns (all that there are of {', '.join(SHOWN_METRICS)})")
    parser.add_argument("--out", type=Path, help="also write the table to this file")
    args = parser.parse_args(arguments)

    evaluations, left_out = (named_evaluations(args.experiments), []) if args.experiments else all_evaluations()
    if not args.experiments and (finding := check_machine()):
        print(f"note: {finding}")
    for reason in left_out:
        print(f"left out: {reason}")
    rows = table_rows(evaluations)
    require_known(args.metrics, rows)
    text = scores_table(rows, args.metrics or SHOWN_METRICS)
    if args.out is not None:
        write_text(args.out, text)
    print(text)
