"""The house: which folder may import which."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
MODEL = [
    "common",
    "corpora",
    "fetching",
    "diffusion",
    "annealing",
    "config",
    "autoencoder",
    "generation",
    "publishing",
    "training",
    "trainers",
    "evaluation",
    "reporting",
]
INSTRUMENT = ["experiments", "studies", "comparison", "benchmarks", "gpu_report", "own_texts", "handing_over", "commands"]
FOLDERS = [*(f"annealed_lm/{name}" for name in MODEL), *(f"annealed_lab/{name}" for name in INSTRUMENT)]
"""From the leaves on: a folder imports itself and those before it."""
SPEAKING = {"annealed_lm", "annealed_lm/annealing"}
"""Folders whose __init__.py is not empty: `TextGenerator` and `diffusion_range` are imported from there."""


def imports(path: Path) -> Iterator[str]:
    """The folders of ours that a file imports from."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        modules = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom):
            modules = [f"{node.module}.{alias.name}" for alias in node.names]
        yield from ("/".join(module.split(".")[:2]) for module in modules if module.startswith("annealed_"))


def test_every_folder_has_its_place() -> None:
    found = {str(path.parent.relative_to(SOURCE)) for path in SOURCE.rglob("*.py")} - {".", "annealed_lm", "annealed_lab"}
    assert found == set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_a_folder_imports_only_those_before_it(folder: str) -> None:
    allowed = FOLDERS[: FOLDERS.index(folder) + 1]
    for path in (SOURCE / folder).glob("*.py"):
        assert set(imports(path)) <= set(allowed), path


def test_packages_say_nothing() -> None:
    for path in SOURCE.rglob("__init__.py"):
        assert (path.read_text() == "") == (str(path.parent.relative_to(SOURCE)) not in SPEAKING), path


def test_the_door_is_light_and_decides_nothing() -> None:
    """Every stage runs it, and none depends on it: it imports nothing of ours before it is asked."""
    path = SOURCE / "annealed_lm" / "__init__.py"
    assert list(imports(path)) == []
    assert all(
        isinstance(node, ast.Expr | ast.Import | ast.ImportFrom | ast.Assign | ast.FunctionDef)
        for node in ast.parse(path.read_text()).body
    )
    code = "import sys, annealed_lm; assert not {'torch', 'transformers', 'numpy', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=SOURCE, check=True)


def test_the_model_knows_nothing_of_the_instrument() -> None:
    for path in (SOURCE / "annealed_lm").rglob("*.py"):
        assert not [module for module in imports(path) if module.startswith("annealed_lab")], path
