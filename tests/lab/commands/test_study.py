"""The script run_study.py, and what it asks of DVC's queue; a queue that is a list stands in for DVC's."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import run_study
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from annealed_lab.studies import experiment_queue, queued_runs
from annealed_lab.studies.experiment_queue import (
    FAILED,
    QUEUED,
    RUNNING,
    SUCCESS,
    ExperimentQueue,
    QueueStatus,
    overrides,
    parse_status,
)
from annealed_lab.studies.points import Point, differences, read_study
from annealed_lab.studies.queued_runs import QueuedRun, only_run
from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import read_mapping

ROOT = Path(__file__).parents[3]
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
"""
BASELINE = "refs/exps/ab/" + 38 * "0"


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], check=True, capture_output=True, encoding="utf-8").stdout.strip()


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a repository with params.yaml and a study of four points."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, str(tmp_path / "no-such-file"))
    shutil.copy(ROOT / "params.yaml", "params.yaml")
    Path("size.yaml").write_text(STUDY)
    Path("dvc.yaml").write_text("stages:\n  train:\n    cmd: python src/train.py\n    deps:\n      - src/train.py\n")
    Path("src").mkdir()
    Path("src/train.py").write_text("print(1)\n")
    git("init", "-q", "-b", "main")
    git("config", "user.name", "Ann")
    git("config", "user.email", "ann@example.org")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    return tmp_path


def add_experiment(name: str, params: Mapping[str, Any]) -> None:
    """A finished experiment, as DVC leaves it in git."""
    text = Path("params.yaml").read_text()
    YAML().dump(dict(params), Path("params.yaml"))
    made = git("commit-tree", "-m", name, "-p", "HEAD", tree())
    git("update-ref", f"{BASELINE}/{name}", made)
    Path("params.yaml").write_text(text)


def tree() -> str:
    git("add", "params.yaml")
    written = git("write-tree")
    git("reset", "-q")
    return written


def points() -> list[Point]:
    return read_study(Path("size.yaml"), Path("params.yaml")).points


def main(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(run_study, "stop_at_signals", Event)
    monkeypatch.setattr(sys, "argv", ["src/run_study.py", *arguments])
    run_study.main()


class ListedQueue(ExperimentQueue):
    """Runs one experiment, or the `workers` started, at each look at it.

    Attributes:
        failing: names of points that fail.
        dying: names of points at which, once, all workers die and the experiment seems to run on.
        refused: names of points that fail once before they begin.
    """

    def __init__(
        self,
        tasks: Iterable[tuple[str, str]] = (),
        failing: Iterable[str] = (),
        dying: Iterable[str] = (),
        refused: Iterable[str] = (),
    ) -> None:
        super().__init__(threads=1)
        self.tasks = [*tasks]
        self.params: dict[str, Mapping[str, Any]] = {}
        self.failing, self.dying, self.refused = set(failing), set(dying), set(refused)
        self.workers = 0
        self.asked: list[str] = []

    def status(self) -> QueueStatus:
        if self.workers and (name := next((name for name, state in self.tasks if state == QUEUED), None)):
            index = self.tasks.index((name, QUEUED))
            if name in self.dying:
                self.dying.remove(name)
                self.workers, state = 0, RUNNING
            elif name in self.failing | self.refused:
                state = FAILED
            else:
                state = SUCCESS
                add_experiment(name, self.params[name])
            self.tasks[index] = (name, state)
        return QueueStatus(tuple(self.tasks), self.workers)

    def put(self, name: str, params: Mapping[str, Any], workspace: Mapping[str, Any]) -> None:
        assert all(name != other or state not in (QUEUED, RUNNING) for other, state in self.tasks)
        self.asked.append(f"put {name}")
        self.tasks.append((name, QUEUED))
        self.params[name] = params

    def start(self, workers: int) -> None:
        self.asked.append(f"start {workers}")
        self.workers = workers

    def stop(self) -> None:
        self.asked.append("stop")
        self.workers = 0

    def interrupt(self, names: Iterable[str]) -> None:
        self.asked += [f"interrupt {name}" for name in names]
        self.tasks = [(name, FAILED if name in {*names} and state == RUNNING else state) for name, state in self.tasks]

    def cache_folder(self) -> Path:
        return Path(".dvc/cache")

    def has_log(self, name: str) -> bool:
        refused = name in self.refused
        self.refused -= {name}
        return not refused

    def remove(self, names: Iterable[str]) -> None:
        self.tasks = [(name, state) for name, state in self.tasks if name not in {*names} or state == RUNNING]


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queued_runs, "POLL_SECONDS", 0)
    monkeypatch.setattr(queued_runs, "POLLS_PER_STATUS", 1)


def test_settings_for_dvc_make_the_workspace_into_the_point(tmp_path: Path) -> None:
    workspace = {
        **{"nothing": 1, "value": None, "flag": True, "off": False, "small": 1.0, "large": 1.0, "count": 3, "name": "normal"},
        **{"path": "", "quoted": "", "number_like": "", "null_like": "", "listed": [1], "mixed": ["a"], "empty": [1]},
        "section": {"inner": {"rate": 0.1}, "kept": 5, "time": 200},
    }
    point: dict[str, Any] = {
        **{"nothing": None, "value": 2, "flag": False, "off": True, "small": 1e-5, "large": 1e30, "count": -7, "name": "linear"},
        **{"path": "C:/a b=c, {d}/[e]", "quoted": 'it\'s "so"', "number_like": "1e-5", "null_like": "null"},
        **{"listed": [4, 5, 6], "mixed": [1, 2.5, "b c", None, True], "empty": []},
        "section": {"inner": {"rate": 2e-4}, "kept": 5, "time": "90s"},
    }
    settings = overrides(point, workspace)
    assert len(settings) == 17
    path = tmp_path / "params.yaml"
    YAML().dump(workspace, path)
    apply_overrides(str(path), settings)
    assert differences(read_mapping(path), point) == []
    assert repr(read_mapping(path)["flag"]) == "False"


@pytest.mark.parametrize("text", ["a\\", "a\\\\", "\\'", "'", "a\\b", "'\\", "\\\\'x"])
def test_backslashes_and_quotes_reach_dvc_as_they_are(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("name: a\n")
    apply_overrides(str(path), overrides({"name": text}, {"name": "a"}))
    assert read_mapping(path) == {"name": text}


def test_what_dvc_tells_of_its_queue_is_understood() -> None:
    printed = """\
Task     Name                  Created       Status
6d5544f  size-normal-short-1   11:23 AM      Running
8902f3f  size-linear-short-1   Nov 25, 2026  Queued
8902f30  size-linear-short-1   Nov 25, 2026  Failed

Worker status: 1 active, 2 idle
"""
    status = parse_status(printed)
    assert status.workers == 3
    assert status.names(QUEUED, FAILED) == ["size-linear-short-1", "size-linear-short-1"]
    assert status.names(RUNNING) == ["size-normal-short-1"]
    assert parse_status("No experiment tasks in the queue.\n\nWorker status: 0 active, 0 idle\n") == QueueStatus((), 0)


def test_workers_count_while_they_live(project: Path) -> None:
    experiment_queue.WORKER_FOLDER.mkdir(parents=True)
    code = "import sys, time; print('ready', flush=True); time.sleep(60)"
    worker = subprocess.Popen([sys.executable, "-c", code, "queue-worker"], stdout=subprocess.PIPE)
    assert worker.stdout is not None
    worker.stdout.readline()
    for name, process in (("worker-1", worker.pid), ("worker-2", os.getpid())):
        (experiment_queue.WORKER_FOLDER / f"{name}.pid").write_text(str(process))
    assert experiment_queue.living_workers() == 1
    worker.kill()
    worker.wait()
    assert experiment_queue.living_workers() == 0


def test_a_command_of_dvc_that_fails_is_told(project: Path) -> None:
    with pytest.raises(InputError, match=r"^dvc queue status failed: ERROR: .*not inside of a DVC repository"):
        ExperimentQueue(1).status()


def test_without_dvc_the_other_way_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"^dvc is not installed here: .* use --without-dvc FOLDER"):
        ExperimentQueue(1).status()


@pytest.mark.usefixtures("no_waiting")
def test_the_first_point_runs_alone_and_then_all_workers(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    queue = ListedQueue()
    run = QueuedRun(points(), queue)
    run.run(2, Event())
    names = [point.name for point in points()]
    assert queue.asked == [*(f"put {name}" for name in names), "start 1", "start 2"]
    assert run.done == {*names}
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "size-normal-short-1: done, 1 of 4"
    assert lines[-1].endswith("done, 4 of 4")


@pytest.mark.usefixtures("no_waiting")
def test_a_point_that_fails_does_not_stop_the_others(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = QueuedRun(points(), ListedQueue(failing=["size-linear-short-1"]))
    run.run(2, Event())
    assert (len(run.done), run.failed) == (3, {"size-linear-short-1"})
    assert "size-linear-short-1: failed, dvc queue logs size-linear-short-1 tells why" in capsys.readouterr().out


@pytest.mark.usefixtures("no_waiting")
def test_a_point_that_dvc_did_not_begin_is_queued_again(project: Path) -> None:
    queue = ListedQueue(refused=["size-linear-short-1"])
    run = QueuedRun(points(), queue)
    run.run(2, Event())
    assert len(run.done) == 4
    assert queue.asked.count("put size-linear-short-1") == 2


@pytest.mark.usefixtures("no_waiting")
def test_leftovers_are_queued_anew_once_and_those_of_others_stay(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = {point.name: point.params for point in points()}
    add_experiment("size-normal-short-1", params["size-normal-short-1"])
    left = [
        *(("size-normal-short-1", SUCCESS), ("size-linear-short-1", FAILED), ("size-linear-short-1", FAILED)),
        *(("size-normal-short-2", QUEUED), ("size-linear-short-2", RUNNING), ("mine", QUEUED), ("other", FAILED)),
    ]
    queue = ListedQueue(left)
    queue.params["mine"] = params["size-normal-short-1"]
    run = QueuedRun(points(), queue)
    run.run(1, Event())
    assert run.done == {*params}
    assert queue.asked[:2] == ["interrupt size-linear-short-2", "put size-linear-short-1"]
    assert ("other", FAILED) in queue.tasks
    assert "the queue also holds mine: started workers run them too" in capsys.readouterr().out


@pytest.mark.usefixtures("no_waiting")
def test_workers_that_die_are_started_again_and_their_point_too(project: Path) -> None:
    queue = ListedQueue(dying=["size-normal-short-1", "size-linear-short-2"])
    run = QueuedRun(points(), queue)
    run.run(2, Event())
    assert len(run.done) == 4
    assert run.failed == set()
    assert {"interrupt size-normal-short-1", "interrupt size-linear-short-2"} <= {*queue.asked}


@pytest.mark.usefixtures("no_waiting")
def test_workers_that_never_finish_anything_are_told(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    queue = ListedQueue()
    monkeypatch.setattr(queue, "start", lambda workers: None)
    with pytest.raises(InputError, match=r"^workers end without finishing anything"):
        QueuedRun(points(), queue).run(2, Event())


@pytest.mark.usefixtures("no_waiting")
def test_a_stop_interrupts_what_runs_and_leaves_the_rest_queued(project: Path) -> None:
    queue = ListedQueue()
    stop = Event()
    monkeypatched = queue.start

    def start(workers: int) -> None:
        monkeypatched(workers)
        queue.tasks[0] = (queue.tasks[0][0], RUNNING)
        stop.set()

    queue.start = start  # type: ignore[method-assign]
    run = QueuedRun(points(), queue)
    run.run(2, stop)
    assert queue.asked[-2:] == ["stop", "interrupt size-normal-short-1"]
    assert run.done | run.failed == set()


def test_a_finished_experiment_of_other_code_is_refused(project: Path) -> None:
    point = points()[1]
    add_experiment(point.name, point.params)
    assert QueuedRun(points(), ListedQueue()).done == {point.name}
    Path("notes.txt").write_text("of no stage")
    Path("src/train.py").write_text("print(2)\n")
    git("add", "-A")
    git("commit", "-q", "-m", "other code")
    with pytest.raises(InputError, match=r"size-linear-short-1 was computed with other code \(src/train.py\)"):
        QueuedRun(points(), ListedQueue())


def test_a_finished_experiment_of_other_parameters_is_refused(project: Path) -> None:
    point = points()[1]
    add_experiment(point.name, point.params | {"power": 5})
    told = (
        "there is a finished experiment size-linear-short-1 of other parameters (power: 5, not 2): rename the study, or dvc exp"
    )
    with pytest.raises(InputError) as caught:
        QueuedRun(points(), ListedQueue())
    assert str(caught.value) == f"{told} remove size-linear-short-1"


def test_a_finished_experiment_without_a_parameter_is_refused(project: Path) -> None:
    point = points()[0]
    add_experiment(point.name, {key: value for key, value in point.params.items() if key != "power"})
    with pytest.raises(InputError, match=r"\(power: absent, not 2\)"):
        QueuedRun(points(), ListedQueue())


def test_a_dry_run_tells_what_is_done(project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    add_experiment("size-linear-short-1", points()[1].params)
    main(monkeypatch, "size.yaml", "--dry-run")
    assert capsys.readouterr().out == "size: 4 points, 1 done, 3 to run\n"


def test_what_is_all_done_needs_no_queue(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for point in points():
        add_experiment(point.name, point.params)
    main(monkeypatch, "size.yaml")
    assert capsys.readouterr().out.splitlines()[-1] == "size: 4 of 4 points done, 0 failed, 0 left"


def test_two_runs_do_not_share_a_queue(project: Path) -> None:
    with only_run(), pytest.raises(InputError, match=r"^another run_study.py is running in this checkout"), only_run():
        pass


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda: git("checkout", "-q", "--detach"), "HEAD is detached"),
        (lambda: git("config", "--unset", "user.email"), "git lacks user.name or user.email"),
        (lambda: Path("helper.py").touch(), "queued experiments will not see helper.py: git add them"),
        (
            lambda: Path("params.yaml").write_text(Path("params.yaml").read_text() + "\n"),
            "params.yaml is not as it was committed, and all points of a study build on it: git checkout params.yaml, or commit",
        ),
        (lambda: shutil.rmtree(".git"), "this folder is no git repository"),
    ],
)
def test_a_workspace_that_would_not_be_what_is_queued_is_refused(
    change: Any, told: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    change()
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(project.parent))
    with pytest.raises(InputError, match=f"^{told}"):
        main(monkeypatch, "size.yaml")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--workers", "0"], "--workers 0: it should be 1 or more"),
        (["--until", "report"], "--until needs --without-dvc FOLDER"),
        (["--seconds", "3"], "--seconds needs --without-dvc FOLDER"),
        (["--new-code"], "--new-code needs --without-dvc FOLDER"),
        (["--without-dvc", "runs", "--seconds", "0"], "--seconds 0: it should be more than 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(
    arguments: list[str], told: str, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(InputError, match=f"^{told}$"):
        main(monkeypatch, "size.yaml", *arguments)


def test_without_dvc_and_git_the_stages_run_too(tmp_path: Path) -> None:
    """Neither can be imported or found; the stages of the project stop at the first that is asked for."""
    for name in ("params.yaml", "dvc.yaml", "data/raw", "src"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "size.yaml").write_text(STUDY)
    blocked = tmp_path / "blocked"
    for module in ("dvc", "torch", "transformers", "git"):
        (blocked / module).mkdir(parents=True)
        (blocked / module / "__init__.py").write_text("raise ImportError('blocked')\n")
    command = [sys.executable, "src/run_study.py", "size.yaml", "--without-dvc", "runs", "--until", "fetch_corpus"]
    environment = os.environ | {"PATH": "/nowhere", "PYTHONPATH": str(blocked)}
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[0] == "size: 4 points, 0 done, 4 to run (1 stages)"
    assert finished.stdout.splitlines()[-1] == "size: 4 of 4 points done, 0 failed, 0 left"
    assert (tmp_path / "runs/size-normal-short-1/data/corpus").is_dir()
