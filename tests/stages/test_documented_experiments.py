"""The commands of README and docs for experiments, typed in order: each is what it seems."""

import shlex
import subprocess
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from annealed_lm.config.last_commit import committed, differing_line
from annealed_lm.config.yaml_files import differences
from support.documents import commands_of
from support.projects import ROOT, call, clone, running
from support.repositories import commit_all, start_repository

SECTIONS = (
    ("README.md", "## One experiment"),
    ("docs/experiments.md", "## Variants"),
    ("docs/corpora.md", "## Texts with labels"),
)


def parameters() -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    return values


@pytest.mark.parametrize(("page", "heading"), SECTIONS)
def test_an_experiment_has_the_overrides_of_its_own_command_and_no_other(
    page: str, heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As DVC does, overrides stay in params.yaml after a run; those of a queue do not."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    start_repository()
    commit_all("baseline")
    baseline, experiments = parameters(), 0
    for command in commands_of(page, heading):
        words = shlex.split(command)
        if command == "git checkout params.yaml":
            subprocess.run(words, check=True, capture_output=True)
        elif words[:3] == ["dvc", "exp", "run"] and "--queue" not in words:
            overrides = [value for option, value in pairwise(words) if option == "-S"]
            apply_overrides("params.yaml", overrides)
            assert set(differences(parameters(), baseline)) == {override.split("=")[0] for override in overrides}
            experiments += 1
    assert experiments >= 1
    assert parameters() == baseline  # whoever goes on after the page begins from there


def test_the_documented_line_is_what_the_documented_command_prints(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    start_repository()
    commit_all("baseline")
    commands, printed = (commands_of("docs/experiments.md", "## Variants", number) for number in range(2))
    (lion,) = [command for command in commands if "lion" in command]
    apply_overrides("params.yaml", [word for word in shlex.split(lion) if "=" in word])
    assert [differing_line(parameters(), committed(Path("params.yaml")) or {})] == printed


@pytest.mark.slow
def test_data_models_and_experiments_go_from_clone_to_clone_as_the_docs_say(project: Path, tmp_path: Path) -> None:
    """And nothing runs again there; what `dvc exp apply` brings does not take the remote away."""
    call(project, "git", "init", "--quiet", "--bare", "--initial-branch", "main", str(tmp_path / "origin.git"))
    call(project, "git", "remote", "add", "origin", str(tmp_path / "origin.git"))
    call(project, "git", "push", "--quiet", "origin", "main")
    other = clone(tmp_path / "origin.git", tmp_path / "other")
    for number, folder in enumerate((project, other)):
        for command in commands_of("docs/experiments.md", "## Share", number):
            printed = call(folder, *shlex.split(command.replace("/path/to", str(tmp_path))))
    assert running(printed) == set()
    assert "T_schedule: linear" in (other / "params.yaml").read_text()
    assert str(tmp_path / "store") in (other / ".dvc" / "config.local").read_text()
