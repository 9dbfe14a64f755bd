"""Merge a preset into params.yaml, comments and all: python src/apply_preset.py presets/e2e_scratch.yaml --params params.yaml

The result is checked before it is written.
"""

import argparse
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from annealed_lm.config import parse_config
from annealed_lm.errors import InputError, one_sentence_errors
from annealed_lm.files import atomic_path
from annealed_lm.presets import merge_preset


def read_mapping(yaml: YAML, path: Path) -> Any:
    try:
        values = yaml.load(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there") from error
    except YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(values, dict):
        raise InputError(f"{path} does not hold keys and values")
    return values


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", type=Path)
    parser.add_argument("--params", type=Path, required=True)
    args = parser.parse_args()
    yaml = YAML()  # keeps comments, and writes in the style in which DVC's -S does
    values = read_mapping(yaml, args.params)
    merge_preset(values, read_mapping(yaml, args.preset))
    parse_config(values, str(args.preset))
    with atomic_path(args.params) as partial:
        yaml.dump(values, partial)


if __name__ == "__main__":
    with one_sentence_errors():
        main()
