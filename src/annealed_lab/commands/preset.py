"""Merge a preset into params.yaml, whose comments stay; the result is checked before it is written.

Reads: the preset, a file of values for some keys of params.yaml. Writes: params.yaml; git checkout params.yaml takes it back.
Example: python src/lab.py preset presets/e2e_scratch.yaml --params params.yaml
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ruamel.yaml import YAML

from annealed_lm.common.files import atomic_path
from annealed_lm.config.config import parse_config
from annealed_lm.config.yaml_files import merge_preset, read_mapping


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", type=Path, help="such as presets/e2e_scratch.yaml")
    parser.add_argument("--params", type=Path, required=True, help="the file to change, params.yaml")
    args = parser.parse_args(arguments)
    yaml = YAML()  # keeps comments, and writes in the style in which DVC's -S does
    values = read_mapping(args.params, hint="", yaml=yaml)
    merge_preset(values, read_mapping(args.preset, hint="", yaml=yaml))
    parse_config(values, str(args.preset))
    with atomic_path(args.params) as partial:
        yaml.dump(values, partial)
