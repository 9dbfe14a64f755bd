"""The Makefile, with programs that only note how they were called."""

import os
import shlex
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PYTHON = """#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then mkdir -p "$3/bin" && cp "$0" "$3/bin/python" && cp "$0" "$3/bin/dvc"; fi
echo "$0 $*" >> "$CALLS"
case "$*" in *before-run*) exit ${BEFORE_RUN:-0};; esac
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the Makefile, whose name has a space too."""
    folder = tmp_path / "the project"
    folder.mkdir()
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        (folder / name).write_text((ROOT / name).read_text())
    (folder / "python").write_text(PYTHON)
    (folder / "python").chmod(0o755)
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))
    monkeypatch.setenv("GIT_CONFIG_COUNT", "2")
    for number, key in enumerate(("user.name", "user.email")):
        monkeypatch.setenv(f"GIT_CONFIG_KEY_{number}", key)
        monkeypatch.setenv(f"GIT_CONFIG_VALUE_{number}", "a")
    for name in ("MAKEFLAGS", "MAKELEVEL"):  # of the make that runs the tests, which a user's does not stand below
        monkeypatch.delenv(name, raising=False)
    return folder


def make(project: Path, *arguments: str) -> tuple[int, str, list[str]]:
    """The exit status, what is told of an error, and the calls."""
    done = subprocess.run(["make", "PYTHON=./python", *arguments], cwd=project, capture_output=True, text=True, check=False)
    calls = Path(os.environ["CALLS"])
    lines = calls.read_text().splitlines() if calls.exists() else []
    calls.unlink(missing_ok=True)
    return done.returncode, done.stderr, lines


@pytest.mark.parametrize(
    "venv", [".venv", "my venv", "a b/c  d", "../elsewhere", "../else where", "été", "/absolute", "/absolute path"]
)
def test_an_environment_may_be_called_anything(venv: str, project: Path, tmp_path: Path) -> None:
    if venv.startswith("/"):
        venv = str(tmp_path) + venv
    status, told, calls = make(project, f"VENV={venv}", "doctor")
    assert (status, told) == (0, "")
    folder = Path(os.path.normpath(project / venv))
    assert {path.name for path in folder.iterdir()} == {"bin", ".installed"}
    *installs, doctor = [call.rsplit("/bin/", 1)[-1] for call in calls[1:]]
    assert [call.split()[:4] for call in installs] == [["python", "-m", "pip", "install"]] * 2
    assert doctor == "python src/lab.py doctor"
    assert Path(os.path.normpath(project / calls[-1].rsplit("/bin/", 1)[0])) == folder  # the one of the environment
    assert make(project, f"VENV={venv}", "doctor")[2] == calls[-1:]  # nothing is installed twice


@pytest.mark.parametrize("sign", [":", "%", "'", '"', "*", "(", "\\"])
def test_what_make_or_the_shell_would_misread_is_told(sign: str, project: Path) -> None:
    status, told, calls = make(project, f"VENV=my{sign}venv", "doctor")
    assert status == 2
    assert f"VENV = my{sign}venv has a {sign}, which make or the shell takes for its own: name another folder" in told
    assert calls == []


@pytest.mark.parametrize("decides", [0, 1])
def test_a_run_begins_if_nothing_decides_against_it(decides: int, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEFORE_RUN", str(decides))
    status, _, calls = make(project, "run")
    names = [shlex.split(call.rsplit("/bin/", 1)[-1]) for call in calls]
    assert names[3:] == [["python", "src/lab.py", "doctor", "--before-run"], ["dvc", "exp", "run"]][: 2 - decides]
    assert status == 2 * decides


def test_clean_removes_what_killed_runs_left_half_written(project: Path) -> None:
    for folder in ("data/.latents.12.partial", "models", "metrics", "plots", "data/latents"):
        (project / folder).mkdir(parents=True)
    (project / "data/.latents.12.partial/train.npy").touch()
    (project / "models/.a b.0f.partial").touch()
    (project / "data/mine.partial").touch()
    assert make(project, "clean")[:2] == (0, "")
    assert sorted(path.name for path in project.rglob("*") if path.suffix == ".partial") == ["mine.partial"]


def test_help_lists_the_commands_and_installs_nothing(project: Path) -> None:
    done = subprocess.run(["make"], cwd=project, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert {"make run", "make baseline", "make show", "make study", "make test"} < {" ".join(line.split()[:2]) for line in lines}
    assert max(map(len, lines)) <= 100
    assert not Path(os.environ["CALLS"]).exists()


@pytest.mark.parametrize(
    ("given", "asked"),
    [
        ([], "study studies/restaurants.yaml"),
        (["STUDY=a.yaml", "WORKERS=2", "MINUTES=5"], "study a.yaml --workers 2 --minutes 5"),
        (["SCHEDULES=normal linear", "SEEDS=1 2", "NAME=quick"], "study --schedules normal linear --seeds 1 2 --name quick"),
    ],
)
def test_a_study_is_a_file_or_schedules_and_seeds(given: list[str], asked: str, project: Path) -> None:
    status, _, calls = make(project, "study", *given)
    assert status == 0
    assert calls[-1].endswith(f"python src/lab.py {asked}")


@pytest.mark.parametrize(
    ("target", "name", "option"),
    [
        ("study", "STUDY", None),
        ("study", "NAME", "--name"),
        ("study", "SLURM", "--slurm"),
        ("compare", "PREFIX", "--prefix"),
        ("compare", "FOLDERS", "--folders"),
        ("test-report", "EXP", "--experiment"),
        ("export", "OUT", None),
        ("text", "FILE", None),
        ("text", "LABEL", "--label"),
        ("clean-resume", "DAYS", "--days"),
        ("gpu-package", "OUT", None),
        ("gpu-package", "PY", "--python"),
    ],
)
def test_a_value_is_handed_on_as_it_is_and_runs_nothing(target: str, name: str, option: str | None, project: Path) -> None:
    value = "a';touch${IFS}here;'`touch${IFS}there`\"&&*" + ("" if name == "FOLDERS" else " b  c")
    status, _, (*_, call) = make(project, target, f"{name}={value.replace('$', '$$')}")
    assert status == 0
    assert call.endswith(f"{option} {value}" if option else value)
    assert not {"here", "there"} & {path.name for path in project.iterdir()}


def test_the_report_on_a_gpu_installs_nothing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It runs in the Python that is there, after an archive brought what that lacks."""
    (project / ".venv/bin").mkdir(parents=True)
    (project / ".venv/bin/python3").write_text(PYTHON.replace("$0 $*", "$PYTHONPATH $*"))
    monkeypatch.delenv("PYTHONPATH", raising=False)
    (project / ".venv/bin/python3").chmod(0o755)
    status, told, calls = make(project, "gpu-report", "MINUTES=9", "TINY=1")
    assert (status, told) == (0, "")
    assert calls == ["packages src/lab.py gpu-report --minutes 9 --tiny"]


@pytest.mark.parametrize(
    ("given", "asked"), [([], "outputs/gpu_package.tar.gz"), (["OUT=a.tar.gz", "PY=3.12"], "a.tar.gz --python 3.12")]
)
def test_what_travels_to_a_gpu_is_one_archive(given: list[str], asked: str, project: Path) -> None:
    status, _, calls = make(project, "gpu-package", *given)
    assert status == 0
    assert calls[-1].endswith(f"python src/lab.py gpu-package {asked}")
