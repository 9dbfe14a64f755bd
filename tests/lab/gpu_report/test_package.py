"""What travels to a machine with a GPU: all that the report needs, and where it is unpacked nothing else is needed."""

import json
import os
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest

from annealed_lab.commands import gpu_package
from annealed_lab.gpu_report import package
from annealed_lab.gpu_report.experiment import LEAST
from annealed_lab.gpu_report.package import CONTENTS, make_package
from annealed_lab.gpu_report.parts import PARTS
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import file_sha256, read_json, read_texts
from annealed_lm.training.import_closure import code_of, imported_modules
from support.tiny import ROOT, write_prepared

BLOCKED = ["dvc", "spacy", "sentence_transformers", "mauve", "evaluate", "datasets", "submitit", "matplotlib"]
BLOCKING = f"""
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {BLOCKED!r}:
            raise ModuleNotFoundError(f"{{name}} is not on this machine")

sys.meta_path.insert(0, Blocker())
"""
"""For sitecustomize.py, which every Python runs that finds it: these packages cannot be imported."""


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What of the project travels, by links, and prepared texts."""
    folder = tmp_path_factory.mktemp("checkout")
    for name in {part.split("/")[0] for part in CONTENTS} - {"data"} | {"requirements-gpu.txt"}:
        (folder / name).symlink_to(ROOT / name)
    write_prepared(folder / "data" / "prepared")
    return folder


@pytest.fixture(scope="module")
def unpacked(checkout: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("elsewhere")
    make_package(checkout, folder / "package.tar.gz", python=None)
    subprocess.run(["tar", "xzf", "package.tar.gz"], cwd=folder, check=True)  # as docs/speed.md says
    (folder / "package.tar.gz").unlink()
    return folder / package.ROOT


def test_the_manifest_names_every_file_as_it_is(unpacked: Path) -> None:
    manifest = read_json(unpacked / package.MANIFEST)
    files = {path.relative_to(unpacked).as_posix(): file_sha256(path) for path in unpacked.rglob("*") if path.is_file()}
    assert manifest["files"] == {name: digest for name, digest in files.items() if name != package.MANIFEST}
    assert manifest["texts"] == {"dataset_name": "text", "fingerprint": "0123456789abcdef"}
    assert not [name for name in files if "__pycache__" in name]
    assert package.source_digest(unpacked) == package.source_digest(ROOT)
    assert package.commit_of(unpacked) == manifest["commit"]


def test_no_package_without_texts_or_too_large_to_travel(checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "package.tar.gz"
    monkeypatch.setattr(package, "LARGEST", 1000)
    with pytest.raises(InputError, match=r"package.tar.gz would have 0 MiB, and at most 0 travel"):
        make_package(checkout, out, python=None)
    monkeypatch.setattr(package, "CONTENTS", ("pyproject.toml", "data/elsewhere"))
    with pytest.raises(InputError, match=r"data/elsewhere is not there"):
        make_package(checkout, out, python=None)
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize(
    ("arguments", "told"), [(["a.zip"], "a.zip should end in .tar.gz"), (["a.tar.gz", "--python", "12"], "12")]
)
def test_what_is_no_archive_or_no_python_is_told(arguments: list[str], told: str) -> None:
    with pytest.raises(InputError, match=told):
        gpu_package.main("lab.py gpu-package", arguments)


def test_packages_are_brought_for_the_python_of_the_other_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[list[str]] = []

    def pip(command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        called.append(command)
        return subprocess.CompletedProcess(command, int("3.99" in command), "", "no such thing")

    monkeypatch.setattr(subprocess, "run", pip)
    package.install_packages(tmp_path / "packages", ROOT / "requirements-gpu.txt", "3.12")
    assert called[0][called[0].index("--python-version") + 1] == "3.12"
    assert "--no-deps" in called[0]  # else torch would come
    with pytest.raises(InputError, match=r"pip cannot bring .* for Python 3.99: no such thing"):
        package.install_packages(tmp_path / "packages", ROOT / "requirements-gpu.txt", "3.99")


def test_what_travels_for_python_has_the_versions_of_this_project() -> None:
    pinned, travelling = (
        {line.split("  #")[0].split("==")[0]: line.split("  #")[0].split("==")[1] for line in lines if "==" in line}
        for lines in ((ROOT / name).read_text().splitlines() for name in ("requirements.txt", "requirements-gpu.txt"))
    )
    shared = {name.lower() for name in pinned} & {name.lower() for name in travelling}
    lower = [{name.lower(): version for name, version in each.items()} for each in (pinned, travelling)]
    assert {name: lower[1][name] for name in shared} == {name: lower[0][name] for name in shared}
    assert len(shared) >= 10


@pytest.mark.slow
def test_every_part_is_made_where_only_the_package_is(unpacked: Path, tmp_path: Path) -> None:
    """In processes of its own, as on a machine without DVC and all that judges texts."""
    (tmp_path / "sitecustomize.py").write_text(BLOCKING)
    blocked = subprocess.run(
        [sys.executable, "-c", "import dvc"], env=os.environ | {"PYTHONPATH": str(tmp_path)}, capture_output=True, check=False
    )
    assert blocked.returncode == 1
    done = subprocess.run(
        [sys.executable, "src/lab.py", "gpu-report", "--tiny", "--minutes", "30"],
        cwd=unpacked,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((unpacked / "outputs" / "gpu" / "gpu.json").read_text())
    assert found["left_out"] == {}
    assert list(found["parts"]) == list(PARTS)
    assert found["parts"]["tests"]["tests/gpu"]["failed"] == 0
    assert found["parts"]["tests"]["tests/gpu"]["passed"] >= 10
    assert len(read_texts(unpacked / "outputs" / "gpu" / "samples.jsonl")) == 20


def test_what_the_report_imports_travels() -> None:
    """Itself and the stages that it runs: beside the standard library, torch, numpy, and what requirements-gpu.txt brings."""
    scripts = [ROOT / "src" / "annealed_lab" / "commands" / "gpu_report.py", *(ROOT / "src" / f"{stage}.py" for stage in LEAST)]
    imported = {
        module.split(".")[0]
        for script in scripts
        for file in code_of(script, left_out=None)
        for module in imported_modules(file)
        if file.name != "loss_aware.py"  # scipy, for a density that the report does not draw from
    }
    foreign = imported - set(sys.stdlib_module_names) - {"annealed_lm", "annealed_lab", "torch", "numpy"}
    travelling = {line.split("==")[0].lower() for line in (ROOT / "requirements-gpu.txt").read_text().splitlines()}
    providers = packages_distributions()
    assert {name for name in foreign if not travelling & {provider.lower() for provider in providers[name]}} == set()
    assert {"torch", "transformers", "accelerate"} <= imported
