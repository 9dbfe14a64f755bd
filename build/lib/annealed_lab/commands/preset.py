"""Merge a preset into params.yaml, whose comments stay; the result is checked before it is written.

Reads: the preset, a file of values for some keys of params.yaml. Writes: params.yaml; git checkout params.yaml takes it back.
Example: python src/lab.py preset presets/e2e_scratch.yaml --params params.yaml
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from annealed_lab.experiments.params_file import change_params
from annealed_lm.config.yaml_files import read_mapping


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path, help="such as presets/e2e_scratch.yaml")
    parser.add_argument("--params", type=Path, required=True, help="the file to change, params.yaml")
    args = parser.parse_args(arguments)
    change_params(args.params, [read_mapping(args.preset, hint="")], str(args.preset))
