from pathlib import Path

import pytest

from annealed_lm.training.import_closure import code_of, source_of

FILES = {
    "stage.py": "import json\nimport ours.a\nfrom ours.rooms import b\n",
    "other_stage.py": "import ours.unused\n",
    "ours/__init__.py": "",
    "ours/a.py": "def late() -> None:\n    from ours.rooms.c import name\n",
    "ours/unused.py": "import ours.a\n",
    "ours/rooms/__init__.py": "from ours import speaking\n",
    "ours/rooms/b.py": "import torch.nn\nimport ours.a\n",
    "ours/rooms/c.py": "import ours.schema.keys\n",
    "ours/schema/__init__.py": "",
    "ours/schema/keys.py": "import ours.checks\n",
    "ours/checks.py": "x = 1\n",
    "ours/speaking.py": "x = 1\n",
}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def names(source: Path, script: str, left_out: str | None = None) -> set[str]:
    return {str(path.relative_to(source)) for path in code_of(source / script, left_out)}


def test_code_is_what_is_imported_directly_or_not_late_or_by_a_package(source: Path) -> None:
    rooms = {"ours/rooms/__init__.py", "ours/rooms/b.py", "ours/rooms/c.py", "ours/speaking.py"}
    schema = {"ours/schema/keys.py", "ours/checks.py"}
    assert names(source, "stage.py") == {"stage.py", "ours/a.py"} | rooms | schema
    assert names(source, "stage.py", "ours/schema") == {"stage.py", "ours/a.py"} | rooms


def test_imports_start_from_the_folder_above_the_packages(source: Path) -> None:
    assert source_of(source / "stage.py") == source_of(source / "ours" / "rooms" / "b.py") == source
    assert "ours/a.py" in names(source, "ours/unused.py")


def test_modules_that_import_each_other_are_found_once(source: Path) -> None:
    (source / "ours" / "checks.py").write_text("import ours.schema.keys\n")
    assert names(source, "ours/checks.py") == {"ours/checks.py", "ours/schema/keys.py"}


def test_a_relative_import_is_not_overlooked(source: Path) -> None:
    (source / "stage.py").write_text("from . import a\n")
    with pytest.raises(AssertionError, match=r"stage.py imports relatively"):
        code_of(source / "stage.py", None)
