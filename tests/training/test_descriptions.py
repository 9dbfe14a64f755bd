"""What decides the result of a training names it, and nothing else does."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from annealed_lm.config.sections import TrainDiffusion
from annealed_lm.training.descriptions import DESCRIPTION, NOT_DECISIVE, Ingredients, TrainingDescription, code_digests

VALUES = {"steps": 10, "power": 2.0, "strategies": ("greedy",)}


class Training:
    """One of which everything can be changed, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.latents, self.source, self.values = folder / "latents", folder / "src", dict[str, Any](VALUES)
        (self.latents / "inner").mkdir(parents=True)
        (self.latents / "train.npy").write_bytes(b"1")
        (self.latents / "inner" / "mean.npy").write_bytes(b"2")
        for name in ("package", "annealed_lm/config"):
            (self.source / name).mkdir(parents=True)
        self.write("train_walk", "import annealed_lm.config.schema\nimport package.module\n")
        self.write("package/module", "x = 1\n")
        self.write("package/unused", "x = 1\n")
        self.write("annealed_lm/config/schema", "import package.unused\n")

    def write(self, name: str, text: str) -> None:
        (self.source / f"{name}.py").write_text(text)

    def ingredients(self) -> Ingredients:
        return Ingredients.of(self.source / "train_walk.py", self.values, {"latents": self.latents})


@pytest.fixture
def training(tmp_path: Path) -> Training:
    return Training(tmp_path)


def test_the_key_is_the_same_for_the_same_training(training: Training, tmp_path: Path) -> None:
    key = training.ingredients().key
    assert len(key) == 32
    training.values = dict(reversed(training.values.items()))
    (training.latents / "train.npy").touch()  # a new time stamp
    (training.source / "package" / "__pycache__").mkdir()
    (training.source / "package" / "notes.txt").touch()
    assert training.ingredients().key == key
    assert Training(tmp_path / "elsewhere").ingredients().key == key


@pytest.mark.parametrize("name", sorted(NOT_DECISIVE))
def test_how_a_machine_carries_it_out_is_not_in_the_key(name: str, training: Training) -> None:
    key = training.ingredients().key
    training.values[name] = 7
    assert training.ingredients().key == key
    assert name in TrainDiffusion.model_fields


def test_code_that_is_not_imported_and_the_schema_are_not_in_the_key(training: Training) -> None:
    key = training.ingredients().key
    training.write("package/unused", "x = 2\n")
    training.write("annealed_lm/config/schema", "import package.unused  # of another stage\n")
    training.write("another_stage", "import package.unused\n")
    assert training.ingredients().key == key


@pytest.mark.parametrize(
    ("changed", "finding"),
    [
        ("parameter", "differs in power (2.0, here 3.0)"),
        ("new parameter", "differs in random_seed (absent, here 1)"),
        ("parameter gone", "differs in power (2.0, here absent)"),
        ("input", "differs in input latents"),
        ("inner input", "differs in input latents"),
        ("input renamed", "differs in input latents"),
        ("input added", "differs in input latents"),
        ("script", "differs in code train_walk.py"),
        ("imported code", "differs in code package/module.py"),
        ("new import", "differs in code annealed_lm/late.py, package/module.py"),
    ],
)
def test_the_key_changes_with_whatever_decides_the_result(changed: str, finding: str, training: Training) -> None:
    before = training.ingredients()
    match changed:
        case "parameter":
            training.values["power"] = 3.0
        case "new parameter":
            training.values["random_seed"] = 1
        case "parameter gone":
            del training.values["power"]
        case "input":
            (training.latents / "train.npy").write_bytes(b"3")
        case "inner input":
            (training.latents / "inner" / "mean.npy").write_bytes(b"3")
        case "input renamed":
            (training.latents / "train.npy").rename(training.latents / "valid.npy")
        case "input added":
            (training.latents / "valid.npy").touch()
        case "script":
            training.write("train_walk", "import annealed_lm.config.schema\nimport package.module\nx = 1\n")
        case "imported code":
            training.write("package/module", "x = 1  # a comment counts: what it changes is not looked at\n")
        case "new import":
            training.write("annealed_lm/late", "x = 1\n")
            training.write("package/module", "def f() -> None:\n    import annealed_lm.late\n")
    after = training.ingredients()
    assert after.key != before.key
    assert described(after).difference(described(before)) == finding


def described(ingredients: Ingredients | None) -> TrainingDescription:
    return TrainingDescription("train_walk", "a walk", 12, ingredients)


def test_many_differences_are_counted_and_a_few_of_each_kind_are_named() -> None:
    here = Ingredients(dict.fromkeys("abcde", 1), {"latents": "1"}, {"x.py": "1", "y.py": "1"})
    there = Ingredients(dict.fromkeys("abcde", 2), {"latents": "2"}, {"x.py": "2", "y.py": "1"})
    assert described(here).distance(described(there)) == 7
    assert described(here).difference(described(there)) == (
        "differs in a (2, here 1), b (2, here 1), c (2, here 1) and 2 more; input latents; code x.py"
    )


def test_inputs_may_be_files(tmp_path: Path) -> None:
    script, file = tmp_path / "stage.py", tmp_path / "texts.jsonl"
    script.touch()
    file.write_text("1")
    before = Ingredients.of(script, {}, {"texts": file})
    file.write_text("2")
    assert Ingredients.of(script, {}, {"texts": file}).key != before.key


def test_a_description_is_read_as_it_was_written(training: Training, tmp_path: Path) -> None:
    description = described(training.ingredients())
    assert TrainingDescription.read(tmp_path) is None
    description.write(tmp_path)
    read = TrainingDescription.read(tmp_path)
    assert read == description
    assert read.distance(description) == 0
    assert read.ingredients is not None
    assert read.ingredients.code == code_digests(training.source / "train_walk.py")
    assert read.ingredients.key == training.ingredients().key


def test_what_old_code_wrote_has_no_ingredients(tmp_path: Path) -> None:
    (tmp_path / DESCRIPTION).write_text(json.dumps({"stage": "train_walk", "trains": "a walk", "steps": 12, "code": "0123"}))
    old, new = TrainingDescription.read(tmp_path), described(Ingredients({}, {}, {}))
    assert old == dataclasses.replace(new, ingredients=None)
    assert new.distance(old) > new.distance(described(Ingredients(dict.fromkeys("abcdefgh", 1), {}, {})))
    assert new.difference(old) == "does not say what decides it"
