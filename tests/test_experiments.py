"""DVC as a user drives it: what an experiment re-runs, what comes from the cache, whose code a queue runs, what a clone gets."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "DVC_NO_ANALYTICS": "1",
}
DOWNSTREAM = {"validate_params", "train_diffusion", "sample_texts", "evaluate_samples", "report"}
"""The stages that a change of T_schedule concerns."""

pytestmark = pytest.mark.slow


def call(folder: Path, *command: str) -> str:
    """Run a command in `folder`; all that it prints."""
    finished = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"{' '.join(command)}:\n{finished.stdout}"
    return finished.stdout


def running(output: str) -> set[str]:
    """The stages that DVC ran, as it tells."""
    return set(re.findall(r"^Running stage '(\w+)'", output, flags=re.MULTILINE))


def from_cache(output: str) -> set[str]:
    return set(re.findall(r"^Stage '(\w+)' is cached", output, flags=re.MULTILINE))


def commit(folder: Path, message: str) -> None:
    call(folder, "git", "add", "--all")
    call(folder, "git", "commit", "--quiet", "--message", message)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the working tree at tiny size, in which the default experiment has run and is committed."""
    folder = tmp_path_factory.mktemp("clone")
    for name in call(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).exists() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    call(folder, "git", "init", "--quiet", "--initial-branch", "main")
    call(folder, "git", "config", "user.name", "test")
    call(folder, "git", "config", "user.email", "test@localhost")
    call(folder, "python", "src/apply_preset.py", "presets/tiny.yaml", "--params", "params.yaml")
    commit(folder, "code")
    output = call(folder, "dvc", "exp", "run")
    assert running(output) > DOWNSTREAM
    assert call(folder, "git", "status", "--porcelain", "--ignored=no", "data", "models") == ""
    commit(folder, "baseline")
    return folder


def test_a_schedule_re_runs_training_and_what_follows_and_going_back_runs_nothing_again(project: Path) -> None:
    assert running(call(project, "dvc", "exp", "run", "--name", "linear", "--set-param", "T_schedule=linear")) == DOWNSTREAM
    assert "T_schedule: linear" in (project / "params.yaml").read_text()
    back = call(project, "dvc", "exp", "run", "--name", "back", "--set-param", "T_schedule=normal")
    assert from_cache(back) >= DOWNSTREAM - {"validate_params", "report"}
    assert running(back) <= {"validate_params", "report"}
    assert call(project, "git", "status", "--porcelain") == ""


def test_metrics_of_experiments_stand_side_by_side(project: Path) -> None:
    table = call(project, "dvc", "exp", "show", "--csv")
    header, *rows = table.splitlines()
    assert {"greedy.grammatical", "control.greedy.grammatical", "T_schedule"} <= set(header.split(","))
    assert any(",linear," in row and row.count("linear") >= 2 for row in rows)
    assert "validation_loss" in call(project, "dvc", "metrics", "diff", "main", "linear")
    assert "linear" in call(project, "dvc", "params", "diff", "main", "linear")


def test_a_misspelt_key_and_a_misspelt_value_stop_before_any_work(project: Path) -> None:
    for setting, told in [("T_shedule=linear", "T_shedule"), ("T_schedule=linaer", "did you mean linear")]:
        with pytest.raises(AssertionError, match=told) as caught:
            call(project, "dvc", "exp", "run", "--temp", "--set-param", setting)
        assert running(str(caught.value)) <= {"validate_params"}


def test_a_queued_experiment_runs_the_code_it_was_queued_with(project: Path) -> None:
    script = project / "src" / "sample_texts.py"
    code = script.read_text()
    call(project, "dvc", "exp", "run", "--queue", "--name", "queued", "--set-param", "sample_texts.ddim_sampling_eta=0")
    try:
        script.write_text("raise SystemExit('the code of the workspace')\n")
        call(project, "dvc", "exp", "run", "--run-all")
    finally:
        script.write_text(code)
    assert re.search(r"queued .*Success", call(project, "dvc", "queue", "status"))
    assert "ddim_sampling_eta" in call(project, "dvc", "params", "diff", "main", "queued")


def test_another_clone_pulls_everything_and_runs_nothing(project: Path, tmp_path: Path) -> None:
    call(project, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    commit(project, "remote")
    call(project, "dvc", "push")
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    call(clone, "git", "config", "user.name", "test")
    call(clone, "git", "config", "user.email", "test@localhost")
    call(clone, "dvc", "pull")
    assert running(call(clone, "dvc", "exp", "run")) == set()
    assert call(clone, "dvc", "status").strip() == "Data and pipelines are up to date."


def test_plots_are_a_page_that_needs_no_network(project: Path) -> None:
    call(project, "dvc", "plots", "diff", "main", "linear")
    page = (project / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert page.count("vegaEmbed('#") == 6
    assert len(set(re.findall(r"(?:main|linear)_plots_\w+\.png", page))) == 8
    assert re.search(r'<(script|link|img)[^>]*(src|href) *= *"https?:', page) is None
