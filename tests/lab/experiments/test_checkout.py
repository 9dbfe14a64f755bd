import json
import os
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from annealed_lab.experiments import checkout

ROOT = Path(__file__).parents[3]


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository with one commit and an identity, as the current folder, whatever git is told elsewhere."""
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, str(tmp_path / "no-such-file"))
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    root = tmp_path / "project"
    root.mkdir()
    monkeypatch.chdir(root)
    for name in ("params.yaml", "requirements.txt"):
        (root / name).write_text((ROOT / name).read_text())
    git("init", "-q", "-b", "main")
    git("config", "user.name", "Ann")
    git("config", "user.email", "ann@example.org")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    return root


def git(*arguments: str) -> None:
    subprocess.run(["git", *arguments], check=True, capture_output=True)


def test_a_sound_checkout_passes_every_check(project: Path) -> None:
    checks = [check for name, check in vars(checkout).items() if name.startswith("check_")]
    assert len(checks) == 14
    assert {check.__name__: check() for check in checks} == {check.__name__: None for check in checks}


def test_bad_params_are_told(project: Path) -> None:
    (project / "params.yaml").write_text(
        (project / "params.yaml").read_text().replace("T_schedule: normal", "T_schedule: linaer")
    )
    assert "T_schedule = linaer" in str(checkout.check_params())


def test_committed_results_of_another_machine_are_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "processor", lambda: "Intel Xeon")
    (project / "metrics").mkdir()
    for name in ("Intel Xeon", "AMD EPYC"):
        (project / "metrics" / "machine.json").write_text(json.dumps({"processor": name, "threads": 2}))
        git("add", "-A")
        git("commit", "-q", "-m", name)
        found = checkout.check_machine()
        assert (found is None) == (name == "Intel Xeon")
    assert "of another machine (AMD EPYC; here Intel Xeon)" in str(found)
    assert "make baseline" in str(found)


def test_a_copy_without_git_is_told(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "no git repository" in str(checkout.check_repository())


@pytest.mark.parametrize("options", [["--depth=1"], ["--shallow-since=2001-01-01"], ["--depth=1", "--no-single-branch"]])
def test_a_shallow_clone_is_told_with_the_way_out(
    options: list[str], project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2000-01-01T00:00:00Z")
    git("commit", "-q", "--amend", "-m", "old")
    monkeypatch.delenv("GIT_COMMITTER_DATE")
    git("commit", "-q", "--allow-empty", "-m", "second")
    git("clone", "-q", *options, f"file://{project}", str(tmp_path / "clone"))
    monkeypatch.chdir(tmp_path / "clone")
    finding = str(checkout.check_repository())
    assert finding.endswith(": git fetch --unshallow")
    git("fetch", "-q", "--unshallow")
    assert checkout.check_repository() is None


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "a$b", "a%b", "a+b", "[a]", "a;b", "a:b", "~a", "a@b", "a\\b"])
def test_a_path_that_dvc_can_write_as_an_address_is_no_finding(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    assert checkout.check_path() is None


@pytest.mark.parametrize("name", ["é", "日本", "e\u0301", "a/ü/b", "a#b", "a?b", "a%20b", "a%41b", "a\tb", "a\nb"])
def test_a_path_under_which_copies_of_the_checkout_fail_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / name)
    for folder in (name, "link"):
        monkeypatch.chdir(tmp_path / folder)
        finding = str(checkout.check_path())
        assert "(--temp, queue, studies) fail or are lost" in finding
        assert "\n" not in finding


def note(path: Path, process: int) -> None:
    """Write what DVC notes of a process that runs a stage or an experiment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"write": {"/a/out.json": {"pid": process, "cmd": "dvc exp run"}}, "read": {}}))


@contextmanager
def waiting(*arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a process that does nothing until the end of the block, with these words on its command line."""
    command = [sys.executable, "-c", "print(flush=True); input()", *arguments]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()  # it is under way
        yield process
        process.communicate(b"\n")


@pytest.mark.parametrize("path", checkout.NOTES_OF_RUNS)
def test_a_run_in_this_checkout_is_told_while_it_runs(path: Path, project: Path) -> None:
    with waiting("dvc exp run") as running:
        note(path, running.pid)
        assert f"DVC runs in this checkout (process {running.pid})" in str(checkout.check_running())
    assert checkout.check_running() is None


def test_another_process_that_has_the_id_of_a_killed_one_is_no_run(project: Path) -> None:
    with waiting() as other:
        note(checkout.NOTES_OF_RUNS[0], other.pid)
        assert checkout.check_running() is None


def test_a_missing_identity_is_told(project: Path) -> None:
    git("config", "--unset", "user.email")
    assert "user.email" in str(checkout.check_identity())


def test_a_placeholder_is_told_once_git_has_a_name(project: Path, tmp_path: Path) -> None:
    git("config", "user.email", checkout.PLACEHOLDER)
    assert checkout.check_identity() is None
    git("config", "--global", "user.email", "ann@example.org")
    assert "placeholder" in str(checkout.check_identity())


def test_a_detached_head_is_told(project: Path) -> None:
    git("checkout", "-q", "-b", "feature")
    git("checkout", "-q", "--detach")
    assert str(checkout.check_branch()).endswith(
        "HEAD is detached, as an experiment that was killed leaves it: git checkout feature"
    )
    git("branch", "-q", "-D", "feature")
    assert str(checkout.check_branch()).endswith(": git checkout main")


@pytest.mark.parametrize("written_over", [None, "", "power: 3\n"])
@pytest.mark.parametrize("detached", [False, True])
def test_edits_in_the_stash_are_told_with_a_way_to_have_them_back(
    written_over: str | None, detached: bool, project: Path
) -> None:
    """The states in which a killed `dvc exp run` leaves a checkout: params.yaml as committed, empty, or the experiment's."""
    params = project / "params.yaml"
    edited = params.read_text() + "# an edit\n"
    for content in ("named\n", edited):
        params.write_text(content)
        git("stash", "push", "-q", *(["-m", "the user's own"] if content == "named\n" else []))
    if detached:
        git("checkout", "-q", "--detach")
    if written_over is not None:
        params.write_text(written_over)
    finding = str(checkout.check_stash())
    assert "(stash@{0}: WIP on " in finding
    for told in filter(None, (checkout.check_branch(), finding)):
        subprocess.run(told.rsplit(": ", 1)[1], shell=True, check=True, capture_output=True)
    assert params.read_text() == edited
    assert checkout.check_branch() is checkout.check_stash() is None


def test_a_stash_with_a_message_is_the_user_s_own(project: Path) -> None:
    (project / "params.yaml").write_text("named\n")
    git("stash", "push", "-q", "-m", "WIP on the figures")
    assert checkout.check_stash() is None


def test_code_that_git_does_not_know_is_told(project: Path) -> None:
    (project / "helper.py").touch()
    assert "helper.py" in str(checkout.check_untracked_code())
    git("add", "helper.py")
    assert checkout.check_untracked_code() is None


def test_another_python_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    assert "stages would run with no python" in str(checkout.check_python())


def test_a_package_of_another_version_is_told(project: Path) -> None:
    (project / "requirements.txt").write_text("# comment\npytest==0.0.1  # why\nno-such-package==1.0\n")
    assert "pytest is " in str(checkout.check_packages())
    assert "not 0.0.1; no-such-package is missing, not 1.0" in str(checkout.check_packages())


def test_elsewhere_than_in_the_root_of_a_project_is_told(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert "requirements.txt is not there: this runs from the project's root" in str(checkout.check_packages())


def test_a_gpu_that_torch_cannot_use_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "NVIDIA_DRIVER", project / "driver")
    assert checkout.check_gpu() is None
    (project / "driver").touch()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for cuda, built in ((None, "CPUs alone"), ("13.0", "CUDA 13.0")):
        monkeypatch.setattr(torch.version, "cuda", cuda)
        assert f"torch {torch.__version__}, built for {built}, finds no GPU" in str(checkout.check_gpu())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert checkout.check_gpu() is None


def test_a_full_disk_is_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkout, "NEEDED_DISK_GB", 10**9)
    assert "GB are free" in str(checkout.check_disk())


LEFT = {
    "workspaces of experiments": ".dvc/tmp/exps/standalone/tmpabc",
    "half-written outputs": "data/a b/.latents.0f.partial",
    "locks of git": ".git/refs/exps/celery/stash.lock",
}


@pytest.mark.parametrize("kind", LEFT)
def test_what_killed_runs_left_is_told_and_the_advice_removes_it(kind: str, project: Path) -> None:
    (project / LEFT[kind] / "tmp1").mkdir(parents=True)
    finding = str(checkout.check_leftovers())
    assert finding.startswith(f"killed runs left {kind}; if nothing is running now: rm -rf ")
    subprocess.run(finding.rsplit(": ", 1)[1], shell=True, check=True)
    assert checkout.check_leftovers() is None
    assert (project / LEFT[kind]).parent.is_dir()


def test_all_that_killed_runs_left_is_told_at_once(project: Path) -> None:
    for path in LEFT.values():
        (project / path).mkdir(parents=True)
    finding = str(checkout.check_leftovers())
    assert finding.startswith("killed runs left workspaces of experiments and half-written outputs and locks of git; ")
    assert shlex.split(finding.rsplit("rm -rf ", 1)[1]) == list(LEFT.values())
