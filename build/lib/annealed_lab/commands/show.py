"""List finished experiments, a line each, below the commit that they were made on: what varied, and how their texts came out.

Reads: the commits that DVC keeps for experiments, those of earlier baselines too. Writes: nothing.
Example: python src/lab.py show
"""

import argparse
from collections.abc import Sequence

from annealed_lab.experiments.checkout import check_machine
from annealed_lab.experiments.overview import LOSS, METRICS, overview
from annealed_lm.reporting.tables import aligned

COLUMNS = 120


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.parse_args(arguments)

    if finding := check_machine():
        print(f"note: {finding}")
    rows = overview()
    table = aligned([["", *METRICS, LOSS], *([row.title, *row.numbers] for row in rows)])
    for line, varied in zip(table.splitlines(), ["what varied", *(row.varied for row in rows)], strict=True):
        whole = f"{line}  {varied}".rstrip()
        print(whole if len(whole) <= COLUMNS else f"{whole[: COLUMNS - 1]}…")
    if not any(row.varied for row in rows):
        print("no experiment yet that varies anything: dvc exp run -n linear -S T_schedule=linear")
