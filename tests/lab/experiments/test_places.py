import argparse
from itertools import pairwise
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from annealed_lab.experiments.places import PLACES, add_places, require_places
from annealed_lm.common.errors import InputError

ROOT = Path(__file__).parents[3]


def test_every_place_is_one_of_the_pipeline_under_the_name_that_stages_call_it_by() -> None:
    stages = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
    commands = [stage["cmd"].split() for stage in stages.values()]
    outs = {out for stage in stages.values() for out in stage["outs"] if isinstance(out, str)}
    for name, path in PLACES.items():
        assert any((f"--{name}", path) in pairwise(command) for command in commands), name
        assert path in {*outs, "params.yaml"}


def test_a_command_reads_them_where_they_are_unless_it_is_given_another_place() -> None:
    parser = argparse.ArgumentParser()
    add_places(parser, "language-model", "texts")
    args = parser.parse_args(["--texts", "elsewhere"])
    assert vars(args) == {"language_model": Path("models/language_model"), "texts": Path("elsewhere")}


def test_a_place_where_nothing_is_is_named(tmp_path: Path) -> None:
    parser = argparse.ArgumentParser()
    add_places(parser, "language-model", "texts")
    args = parser.parse_args(["--texts", str(tmp_path), "--language-model", str(tmp_path / "missing")])
    require_places(args, "texts")
    with pytest.raises(InputError, match=rf"^--language-model {tmp_path}/missing is not there: name another, or bring it"):
        require_places(args, "texts", "language-model")
