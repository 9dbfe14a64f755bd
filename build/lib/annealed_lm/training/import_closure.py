"""The source files of ours that a program runs, as its import statements tell them, without running it.

Asking Python for what is loaded would not do: that depends on the moment, for some modules are imported inside functions, and on
what else this process has run before.
"""

import ast
from collections.abc import Iterator
from pathlib import Path


def imported_modules(file: Path) -> Iterator[str]:
    """Yield the modules that `file` imports anywhere in it, and the names that it takes from them, which may be modules too."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively, which this project does not"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def source_of(script: Path) -> Path:
    """Return the folder that the imports of `script` start from: the first one above it that is no package."""
    folder = script.parent
    while (folder / "__init__.py").exists():
        folder = folder.parent
    return folder


def files_of(module: str, source: Path) -> set[Path]:
    """Return the files in `source` that importing `module` runs: its own, and what is written in the packages above it.

    The outermost package's is left out: it hands out names when they are asked for, and decides nothing (tests/test_house.py).
    """
    above = [source.joinpath(*module.split(".")[:depth]) for depth in range(1, module.count(".") + 2)]
    files = [path for folder in above for path in (folder.with_suffix(".py"), folder / "__init__.py")]
    files.remove(above[0] / "__init__.py")
    return {path for path in files if path.exists() and path.stat().st_size > 0}


def code_of(script: Path, left_out: str | None) -> set[Path]:
    """Return `script` and our files that it imports, directly or not.

    Args:
        left_out: a folder, named from where imports start, whose files are neither counted nor followed.
    """
    source = source_of(script)
    found: set[Path] = set()
    waiting = {script}
    while waiting:
        file = waiting.pop()
        if left_out is not None and file.parent == source / left_out:
            continue
        found.add(file)
        waiting |= {path for module in imported_modules(file) for path in files_of(module, source)} - found
    return found
