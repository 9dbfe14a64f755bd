"""What `make run` installs: both packages, with the pinned requirements."""

from pathlib import Path

import pytest
from setuptools import Distribution
from setuptools.config.pyprojecttoml import apply_configuration

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def distribution() -> Distribution:
    return apply_configuration(Distribution(), ROOT / "pyproject.toml")


def test_every_folder_of_both_packages_is_installed(distribution: Distribution) -> None:
    folders = {path.parent.relative_to(ROOT / "src") for path in (ROOT / "src").rglob("__init__.py")}
    assert sorted(distribution.packages) == sorted(".".join(folder.parts) for folder in folders)


def test_what_it_requires_is_what_is_pinned(distribution: Distribution) -> None:
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    pinned = [line.split("#")[0].strip() for line in lines if not line.startswith("#")]
    assert all("==" in line for line in pinned)
    assert sorted(map(str, distribution.install_requires)) == sorted(pinned)
