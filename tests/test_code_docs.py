"""docs/code.md names every file of src, where it is, once."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[1]
HEADING = re.compile(r"## `(src/[\w/]*)`: \S.*")
LINE = re.compile(r"- `(\w+\.py)`: \S.*")


def named() -> Counter[str]:
    """Return how often docs/code.md names a file, under the heading of its folder."""
    found: Counter[str] = Counter()
    folder = None
    for line in (ROOT / "docs" / "code.md").read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            heading = HEADING.fullmatch(line)
            folder = heading and heading[1]
        elif line.startswith("-"):
            entry = LINE.fullmatch(line)
            assert entry is not None, f"not `file.py`: what it is for: {line}"
            found[f"{folder}{entry[1]}"] += 1
    return found


def test_every_file_of_src_has_one_line_and_nothing_else_has() -> None:
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "src").rglob("*.py") if path.name != "__init__.py"}
    lines = named()
    findings = {
        "missing": sorted(files - set(lines)),
        "superfluous": sorted(set(lines) - files),
        "twice": sorted(name for name, times in lines.items() if times > 1),
    }
    told = "\n".join(f"docs/code.md, {finding}: {', '.join(names)}" for finding, names in findings.items() if names)
    assert not told, told
