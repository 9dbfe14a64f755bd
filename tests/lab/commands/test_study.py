"""The command `study`: what it asks of the checkout, what it skips, how it ends. A stand-in for dvc runs the experiments."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from annealed_lab.commands import study
from annealed_lab.studies.points import Point, read_study
from annealed_lm.common.errors import InputError
from support import fake_dvc
from support.fake_dvc import events, git, wait_for
from support.tiny import ROOT

STUDY = """\
variants:
  normal:
    T_schedule: normal
  linear:
    T_schedule: linear
conditions:
  short:
    train_diffusion.num_train_steps: 600
grids:
- variants: [normal, linear]
  conditions: [short]
  seeds: [1, 2]
threads: 1
"""
POINT = "quick-linear-default-2"
NAMES = ["size-normal-short-1", "size-linear-short-1", "size-normal-short-2", "size-linear-short-2"]


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a repository with params.yaml and a study of four points."""
    monkeypatch.chdir(tmp_path)
    fake_dvc.install(tmp_path / "bin", monkeypatch)
    monkeypatch.setattr(study, "stop_at_signals", study.Event)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, str(tmp_path / "no-such-file"))
    for folder in (".dvc", "src", "points"):
        Path(folder).mkdir()
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    Path("size.yaml").write_text(STUDY)
    Path("dvc.yaml").write_text("stages:\n  train:\n    cmd: python src/train.py\n    deps:\n      - src/train.py\n")
    Path("src/train.py").write_text("print(1)\n")
    for point in points():
        YAML().dump(point.params, Path(f"points/{point.name}.yaml"))
    git("init", "-q", "-b", "main")
    git("config", "user.name", "Ann")
    git("config", "user.email", "ann@example.org")
    git("add", "params.yaml", "dvc.yaml", "src")
    git("commit", "-q", "-m", "first")
    return tmp_path


def points() -> list[Point]:
    return read_study(Path("size.yaml"), Path("params.yaml")).points


def main(*arguments: str) -> None:
    study.main("lab.py study", ["size.yaml", *arguments])


def text_of(params: dict[str, Any]) -> str:
    YAML().dump(params, Path("written.yaml"))
    return Path("written.yaml").read_text()


COMPARE = "compare what is done: make compare PREFIX=size-"


def summary_line(capsys: pytest.CaptureFixture[str]) -> str:
    """The line before that with the command that compares, with which a study ends."""
    line, last = capsys.readouterr().out.splitlines()[-2:]
    assert last == COMPARE
    return line


def test_all_points_run_and_the_next_time_nothing_does(capsys: pytest.CaptureFixture[str]) -> None:
    main("--workers", "4")
    assert summary_line(capsys) == "size: 4 points: 4 done, 0 running, 0 failed, 0 left"
    assert events()[2] == f"end {NAMES[0]}"  # it had the machine to itself
    count = len(events())
    main()
    assert summary_line(capsys) == "size: 4 points: 4 done, 0 running, 0 failed, 0 left"
    assert len(events()) == count


def test_schedules_and_seeds_make_a_study_without_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    study.main("lab.py study", ["--schedules", "normal", "linear", "--seeds", "1", "2", "--name", "quick", "--points", POINT])
    ended = capsys.readouterr().out.splitlines()
    assert ended[1] == f"{POINT}: done (1 of 1 done, 0 failed, 0 left)"
    assert ended[-1] == COMPARE.replace("size", "quick")
    asked = Path(fake_dvc.ARGUMENTS).read_text()
    assert "T_schedule='linear'" in asked
    assert "random_seed=2" in asked
    with pytest.raises(InputError, match="T_schedule = linaer is not one of"):
        study.main("lab.py study", ["--schedules", "linaer", "--seeds", "1"])
    with pytest.raises(InputError, match=r"the name of my study.yaml should be letters"):
        study.main("lab.py study", ["--schedules", "linear", "--seeds", "1", "--name", "my study"])


@pytest.mark.parametrize(
    "arguments", [[], ["--schedules", "linear"], ["--seeds", "1"], ["size.yaml", "--seeds", "1"], ["size.yaml", "--name", "a"]]
)
def test_a_study_is_a_file_or_schedules_and_seeds(arguments: list[str]) -> None:
    with pytest.raises(InputError, match=r"a study is a file|a file has its own name"):
        study.main("lab.py study", arguments)


def test_where_a_point_is_done_none_runs_alone() -> None:
    fake_dvc.add_experiment(NAMES[2], text_of(points()[2].params))
    main("--workers", "2")
    assert fake_dvc.most_at_a_time() == 2
    assert events()[2].startswith("start")
    assert f"start {NAMES[2]}" not in events()


def test_only_the_points_named_run(capsys: pytest.CaptureFixture[str]) -> None:
    main("--points", NAMES[1])
    assert events() == [f"{event} {NAMES[1]}" for event in ("start", "begun", "end")]
    assert summary_line(capsys) == "size: 1 points: 1 done, 0 running, 0 failed, 0 left"
    with pytest.raises(
        InputError, match=r"^--points size-normal-short: size has no such point \(did you mean size-normal-short-"
    ):
        main("--points", "size-normal-short")


def test_a_failure_is_the_exit_status_and_the_status_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    Path(f"behave-{NAMES[1]}").write_text("fail")
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    *told, last = capsys.readouterr().out.splitlines()[-3:]
    assert last == COMPARE
    main("--status")
    assert capsys.readouterr().out.splitlines() == told
    assert told == [
        f"{NAMES[1]}: failed, see runs/size/{NAMES[1]}.log: error: the loss is nan",
        "size: 4 points: 3 done, 0 running, 1 failed, 0 left",
    ]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_to_the_program_interrupts_the_experiments(number: signal.Signals) -> None:
    Path(f"behave-{NAMES[0]}").write_text("long")
    command = [sys.executable, str(ROOT / "src/lab.py"), "study", "size.yaml"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, start_new_session=True) as program:
        wait_for(f"begun {NAMES[0]}")
        program.send_signal(number)
        told, _ = program.communicate(timeout=60)
    assert program.returncode == 1
    assert events()[-1] == f"interrupted {NAMES[0]}"
    assert told.splitlines()[1:] == [f"{NAMES[0]}: stopped", "size: 4 points: 0 done, 0 running, 0 failed, 4 left"]


def test_an_experiment_has_the_threads_of_the_study_or_what_the_cores_give(monkeypatch: pytest.MonkeyPatch) -> None:
    given = []
    monkeypatch.setattr(study, "run_here", lambda work, *_: given.append(work[0].environment["OMP_NUM_THREADS"]))
    monkeypatch.setattr(os, "cpu_count", lambda: 12)
    for text, workers in ((STUDY, "4"), (STUDY.replace("threads: 1\n", ""), "4"), (STUDY.replace("threads: 1\n", ""), "24")):
        Path("size.yaml").write_text(text)
        with pytest.raises(SystemExit):
            main("--workers", workers)
    assert given == ["1", "3", "1"]


def test_results_that_the_cache_lacks_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    YAML().dump({"stages": {"train": {"outs": [{"path": "models/model", "md5": "abcd"}]}}}, Path("dvc.lock"))
    main("--points", NAMES[0])
    assert "dvc.lock names results that this clone's cache lacks (train)" in capsys.readouterr().out


def test_a_finished_experiment_of_other_code_is_refused() -> None:
    fake_dvc.add_experiment(NAMES[1], text_of(points()[1].params))
    Path("src/train.py").write_text("print(2)\n")
    git("commit", "-qam", "other code")
    with pytest.raises(InputError, match=rf"^{NAMES[1]} was computed with other code \(src/train.py\)"):
        main("--status")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda params: params | {"power": 5}, "power: 5, not 2"),
        (lambda params: {key: value for key, value in params.items() if key != "power"}, "power: absent, not 2"),
    ],
)
def test_a_finished_experiment_of_other_parameters_is_refused(
    change: Callable[[dict[str, Any]], dict[str, Any]], told: str
) -> None:
    fake_dvc.add_experiment(NAMES[1], text_of(change(points()[1].params)))
    with pytest.raises(InputError) as caught:
        main("--status")
    assert str(caught.value) == (
        f"there is a finished experiment {NAMES[1]} of other parameters ({told}): rename the study, or dvc exp remove {NAMES[1]}"
    )


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: git("checkout", "-q", "--detach"), "HEAD is detached"),
        (lambda: Path.cwd().rename(Path.cwd().with_name("projet é")), r"experiments in a copy .* fail or are lost under /"),
        (lambda: git("config", "--unset", "user.email"), "git lacks user.name or user.email"),
        (
            lambda: Path("helper.py").touch(),
            r"experiments in a copy of the checkout \(--temp, studies\) will not see helper.py: git add",
        ),
        (lambda: Path("params.yaml").write_text(Path("params.yaml").read_text() + "\n"), "params.yaml is not as in commit"),
        (lambda: Path("src/train.py").write_text(""), "src/train.py is not as in commit"),
        (lambda: shutil.rmtree(".git"), "this folder is no git repository"),
        (lambda: shutil.rmtree(".dvc"), ".dvc is not there; this runs from the project's root"),
    ],
)
def test_a_checkout_whose_experiments_would_not_be_what_they_seem_is_refused(
    change: Callable[[], object], told: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    with pytest.raises(InputError, match=f"^{told}"):
        main()
    assert events() == []


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--workers", "0"], "--workers 0: it should be 1 or more"),
        (["--minutes", "0"], "--minutes 0: it should be more than 0"),
        (["--minutes", "1", "--slurm", "c.yaml"], "--minutes says how to run on this machine: it has no effect with --slurm"),
        (["--workers", "1", "--status"], "--workers says how to run a study: it has no effect with --status"),
        (["--slurm", "c.yaml", "--status"], "--slurm says how to run a study: it has no effect with --status"),
    ],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str], told: str) -> None:
    with pytest.raises(InputError, match=f"^{told}$"):
        main(*arguments)
