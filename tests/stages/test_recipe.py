"""The recipe "Add a T schedule" of docs/t-schedules.md, followed literally in a copy of the code."""

import re
import shutil
from pathlib import Path

from support.projects import ROOT, call


def follow(copy: Path) -> str:
    """Do what the recipe's block of Python says to the copy; the name of the new schedule."""
    section = (ROOT / "docs" / "t-schedules.md").read_text(encoding="utf-8").split("## Add a T schedule")[1].split("\n## ")[0]
    block = section.split("```python\n")[1].split("```")[0]
    function, entry = block.split("T_SCHEDULES")
    name = re.search(r"def (\w+)\(", function)
    line = re.search(r'"\w+": \w+', entry)
    assert name
    assert line
    path = copy / "src" / "annealed_lm" / "annealing" / "t_schedules.py"
    code = path.read_text(encoding="utf-8")
    before, registry = code.split("T_SCHEDULES: dict[str, Shape] = {")
    changed = f"{before}{function}T_SCHEDULES: dict[str, Shape] = {{\n    {line[0]},{registry}"
    path.write_text(changed, encoding="utf-8")
    assert len(changed.splitlines()) - len(code.splitlines()) <= 5  # one function and one line
    return name[1]


def test_the_recipe_gives_a_schedule_that_keeps_the_contract(tmp_path: Path) -> None:
    for name in ("src", "tests", "presets"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("dvc.yaml", "params.yaml", "pyproject.toml"):
        shutil.copy2(ROOT / name, tmp_path / name)
    name = follow(tmp_path)
    params = tmp_path / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("T_schedule: normal", f"T_schedule: {name}"), encoding="utf-8")
    call(tmp_path, "python", "src/validate_params.py", "--params", "params.yaml", "--out", "ok")
    tests = [f"tests/annealing/test_{module}.py" for module in ("timesteps", "t_schedules", "ranges")]
    printed = call(tmp_path, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", name, *tests)
    passed = re.search(r"(\d+) passed", printed)
    assert passed
    assert int(passed[1]) > 40
