"""An experiment in a folder of its own: the code and parameters of its commit, its outputs, and stages run on them."""

from pathlib import Path

import pytest
from ruamel.yaml import YAML

from annealed_lab.experiments import copies
from annealed_lab.experiments.copies import bring_code, bring_output, run_stage
from annealed_lm.common.errors import InputError
from support.repositories import commit_all, start_repository

STAGE = """
import pathlib, sys
print(*sys.argv[1:])
if "--fail" in sys.argv:
    sys.exit(3)
pathlib.Path(sys.argv[sys.argv.index("--out") + 1]).write_text(pathlib.Path("params.yaml").read_text())
"""


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, Path]:
    """Return a commit of a project with one stage, on which the workspace has moved on, and a folder to copy it to."""
    (tmp_path / "project/src").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "project")
    start_repository()
    Path("src/sample.py").write_text(STAGE)
    Path("params.yaml").write_text("section: # of sampling\n  seeds: [1]\n  steps: 5\n")
    commit = commit_all("an experiment")
    Path("src/sample.py").write_text("raise SystemExit('the code of the workspace')\n")
    return commit, tmp_path / "copy"


def test_a_stage_runs_the_code_of_the_commit_with_changed_parameters_once(copy: tuple[str, Path]) -> None:
    commit, folder = copy
    values = bring_code(commit, folder, {"section": {"seeds": [4, 5]}})
    assert values == {"section": {"seeds": [4, 5], "steps": 5}}
    assert YAML(typ="safe").load(folder / "params.yaml") == values
    run_stage("sample", folder, "samples", {"texts": "data"})
    assert (folder / "samples").read_text() == (folder / "params.yaml").read_text()
    (folder / "samples").write_text("kept")
    run_stage("sample", folder, "samples", {"texts": "data"}, "--fail")
    assert (folder / "samples").read_text() == "kept"


def test_a_stage_is_told_its_paths_and_its_failure_ends_the_command(
    copy: tuple[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    commit, folder = copy
    bring_code(commit, folder, {})
    with pytest.raises(SystemExit) as ended:
        run_stage("sample", folder, "samples", {"texts": "data/texts"}, "--fail")
    assert ended.value.code == 3
    assert capfd.readouterr().out.split() == ["--texts", "data/texts", "--params", "params.yaml", "--out", "samples", "--fail"]


def test_a_parameter_that_the_commit_does_not_have_is_not_added(copy: tuple[str, Path]) -> None:
    commit, folder = copy
    with pytest.raises(InputError, match=r"section\.seed, which params.yaml does not have"):
        bring_code(commit, folder, {"section": {"seed": 1}})


def test_an_output_that_is_there_is_not_fetched_again_and_one_that_cannot_be_had_is_named(
    copy: tuple[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, folder = copy
    (folder / "models/there").mkdir(parents=True)
    command = copies.subprocess.run

    def failing(arguments: list[str], **options: object) -> object:
        assert arguments[:6] == ["dvc", "get", "--quiet", ".", "models/absent", "--rev"]
        return command(["sh", "-c", "echo a warning >&2; echo no such file >&2; exit 1"], **options)

    monkeypatch.setattr(copies.subprocess, "run", failing)
    bring_output("models/there", commit, folder)
    with pytest.raises(InputError, match=rf"^models/absent of {commit[:12]} cannot be had \(no such file\): run the experiment"):
        bring_output("models/absent", commit, folder)
    assert not (folder / "models/absent").exists()
