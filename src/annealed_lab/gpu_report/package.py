"""All that the report needs on a machine without internet and DVC, in one archive with a manifest."""

import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path, file_sha256, read_json, write_json
from annealed_lm.training.descriptions import sha256_of

MANIFEST = "manifest.json"
ROOT = "annealed_lm_gpu"
"""The folder that the archive unpacks to."""
CONTENTS = ("src", "presets", "tests/gpu", "tests/support", "pyproject.toml", "Makefile", "data/prepared")
PACKAGES = "packages"
"""Folder of the Python packages that travel, which make gpu-report puts before those of the machine."""
REQUIREMENTS = "requirements-gpu.txt"
LARGEST = 60 * 2**20
"""Bytes of an archive that fits wherever it has to go."""
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_27_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux1_x86_64",
)


def source_files(root: Path) -> list[Path]:
    """Return the files of the code below `root`, sorted."""
    return sorted((root / "src").rglob("*.py"))


def source_digest(root: Path) -> str:
    """Return one digest of all code below `root`."""
    return sha256_of({path.relative_to(root).as_posix(): file_sha256(path) for path in source_files(root)})


def commit_of(root: Path) -> str | None:
    """Return the commit of a checkout, or of that which a package was made of; None where neither is known."""
    if (root / MANIFEST).exists():
        commit: str | None = read_json(root / MANIFEST)["commit"]
        return commit
    try:
        done = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=root, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return done.stdout.strip() or None


def packed_files(root: Path) -> Iterable[Path]:
    """Yield the files that travel, in `CONTENTS`.

    Raises:
        InputError: one of them is missing.
    """
    for name in CONTENTS:
        path = root / name
        if not path.exists():
            hint = ": dvc repro prepare_data makes it" if name == "data/prepared" else ""
            raise InputError(f"{path} is not there{hint}")
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)


def install_packages(folder: Path, requirements: Path, python: str) -> None:
    """Put the packages of `requirements` into `folder`, for x86-64 Linux and a Python such as 3.12.

    Raises:
        InputError: pip does not find them.
    """
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--only-binary=:all:"]
    command += ["--python-version", python, "--implementation", "cp", "--target", str(folder), "-r", str(requirements)]
    command += [part for platform in PLATFORMS for part in ("--platform", platform)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise InputError(f"pip cannot bring {requirements} for Python {python}: {done.stderr.strip()[-400:]}")


def make_package(root: Path, out: Path, python: str | None) -> dict[str, Any]:
    """Write the archive and return its manifest.

    Args:
        python: the version of Python for which the packages of `REQUIREMENTS` travel too; None: none do.

    Raises:
        InputError: something that travels is missing, or the archive would be larger than `LARGEST`.
    """
    files = {path.relative_to(root).as_posix(): file_sha256(path) for path in packed_files(root)}
    texts = read_json(root / "data" / "prepared" / "statistics.json")
    manifest = {
        "commit": commit_of(root),
        "code": source_digest(root)[:12],
        "texts": {name: texts[name] for name in ("dataset_name", "fingerprint")},
        "packages_for_python": python,
        "command": "make gpu-report",
        "files": files,
    }
    with tempfile.TemporaryDirectory() as name, atomic_path(out) as partial:
        aside = Path(name)
        write_json(aside / MANIFEST, manifest)
        with tarfile.open(partial, "w:gz", dereference=True) as archive:
            archive.add(aside / MANIFEST, f"{ROOT}/{MANIFEST}")
            for path in files:
                archive.add(root / path, f"{ROOT}/{path}")
            if python is not None:
                install_packages(aside / PACKAGES, root / REQUIREMENTS, python)
                archive.add(aside / PACKAGES, f"{ROOT}/{PACKAGES}")
        if partial.stat().st_size > LARGEST:
            raise InputError(
                f"{out} would have {partial.stat().st_size / 2**20:.0f} MiB, and at most {LARGEST / 2**20:.0f} travel"
            )
    return manifest
