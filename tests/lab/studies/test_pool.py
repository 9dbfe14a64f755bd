"""A study on one machine: what runs when, what it is asked, and how it ends. A program that notes this stands in for dvc."""

import fcntl
import json
import threading
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event

import pytest

from annealed_lab.studies import point_runs
from annealed_lab.studies.point_runs import Assignment, Outcome, PointRun
from annealed_lab.studies.pool import duration, run_pool
from annealed_lm.common.errors import InputError
from support import fake_dvc
from support.fake_dvc import WORKSPACES, events, git, most_at_a_time, wait_for

RUNS = Path("runs/size")


@pytest.fixture(autouse=True)
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder: a repository with what all points have in common."""
    monkeypatch.chdir(tmp_path)
    fake_dvc.install(tmp_path / "bin", monkeypatch)
    monkeypatch.setattr(point_runs, "TICK_SECONDS", 0.02)
    for key, value in {"AUTHOR_NAME": "a", "AUTHOR_EMAIL": "a@b", "COMMITTER_NAME": "a", "COMMITTER_EMAIL": "a@b"}.items():
        monkeypatch.setenv(f"GIT_{key}", value)
    (tmp_path / ".dvc").mkdir()
    (tmp_path / "params.yaml").write_text("power: 2\n")
    git("init", "-q", "-b", "main")
    git("add", "params.yaml")
    git("commit", "-q", "-m", "first")
    return tmp_path


def assignment(name: str) -> Assignment:
    return Assignment(name, ("power=3", "name='x'"), RUNS, git("rev-parse", "HEAD"), {"OMP_NUM_THREADS": "1"})


def behave(**behaviours: str) -> None:
    for name, behaviour in behaviours.items():
        Path(f"behave-{name}").write_text(behaviour)


def run(
    *names: str, workers: int = 2, first_alone: bool = False, seconds: float | None = None, stop: Event | None = None
) -> None:
    run_pool([PointRun(assignment(name)) for name in names], workers, first_alone, seconds, stop or Event())


def run_beside(during: Callable[[Event], None], *names: str) -> None:
    """Run points while another thread does something, which may set the event that stops them."""
    stop = Event()
    other = threading.Thread(target=during, args=(stop,))
    other.start()
    run(*names, stop=stop)
    other.join()


def finished() -> list[str]:
    return git("for-each-ref", "--format=%(refname:lstrip=4)", "refs/exps").split()


def test_all_run_so_many_at_a_time() -> None:
    run("a", "b", "c", "d", "e", workers=2)
    assert finished() == ["a", "b", "c", "d", "e"]
    assert most_at_a_time() == 2


def test_the_first_has_the_machine_to_itself_where_it_computes_what_is_shared() -> None:
    run("a", "b", "c", workers=3, first_alone=True)
    assert events()[:3] == ["start a", "begun a", "end a"]
    assert most_at_a_time() == 2


def test_none_starts_before_the_last_has_begun() -> None:
    """DVC would take one experiment for another."""
    run("a", "b", "c", workers=3)
    kinds = [event.split()[0] for event in events() if not event.startswith("end")]
    assert kinds == ["start", "begun"] * 3


def test_what_dvc_is_asked_waits_for_its_lock_and_leaves_the_checkout_alone() -> None:
    run("a")
    (asked,) = map(json.loads, fake_dvc.ARGUMENTS.read_text().splitlines())
    assert asked == [
        *("--wait-for-lock", "exp", "run", "--temp", "--name", "a"),
        *("--set-param", "power=3", "--set-param", "name='x'"),
    ]


def test_one_that_fails_does_not_stop_the_others_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    behave(a="fail")
    run("a", "b", "c", workers=1, first_alone=True)
    assert finished() == ["b", "c"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" (")[0] for line in lines] == ["a: failed, see runs/size/a.log", "b: done", "c: done"]
    assert (RUNS / "a.failed").read_text() == "error: the loss is nan\n"
    behave(a="succeed")
    run("a")
    assert not (RUNS / "a.failed").exists()


def test_the_reason_of_a_failure_is_of_the_last_attempt() -> None:
    behave(a="fail")
    run("a")
    behave(a="nothing")
    run("a")
    assert (RUNS / "a.failed").read_text() == "it printed nothing\n"


def test_each_end_says_how_far_the_study_is_and_about_how_long_the_rest_takes(capsys: pytest.CaptureFixture[str]) -> None:
    behave(b="fail")
    run_pool([PointRun(assignment(name)) for name in "abc"], 1, first_alone=False, seconds=None, stop=Event(), done=4)
    assert [line.partition(" (")[2].rstrip(")") for line in capsys.readouterr().out.splitlines()] == [
        "5 of 7 done, 0 failed, 2 left, about 1 min",
        "5 of 7 done, 1 failed, 1 left, about 1 min",
        "6 of 7 done, 1 failed, 0 left",
    ]


@pytest.mark.parametrize(("seconds", "told"), [(5, "1 min"), (59 * 60, "59 min"), (3599, "1 h 0 min"), (5400, "1 h 30 min")])
def test_durations_are_told_to_the_minute(seconds: float, told: str) -> None:
    assert duration(seconds) == told


def test_success_without_an_experiment_has_failed(capsys: pytest.CaptureFixture[str]) -> None:
    behave(a="nothing")
    run("a")
    assert capsys.readouterr().out == "a: failed, see runs/size/a.log (0 of 1 done, 1 failed, 0 left)\n"


def test_what_is_done_does_not_run(capsys: pytest.CaptureFixture[str]) -> None:
    fake_dvc.add_experiment("a", "power: 3\n")
    RUNS.mkdir(parents=True)
    (RUNS / "a.failed").touch()
    run("a")
    assert events() == []
    assert not (RUNS / "a.failed").exists()
    assert capsys.readouterr().out == "a: done (1 of 1 done, 0 failed, 0 left)\n"


def test_what_another_process_runs_is_left_to_it(capsys: pytest.CaptureFixture[str]) -> None:
    RUNS.mkdir(parents=True)
    with (RUNS / "a.log").open("w") as log:
        fcntl.flock(log, fcntl.LOCK_EX)
        assert assignment("a").is_running()
        run("a", "b")
    assert finished() == ["b"]
    assert "a: is run by another process" in capsys.readouterr().out
    assert not assignment("a").is_running()


def test_a_stop_interrupts_what_runs_starts_no_more_and_goes_on_later(capsys: pytest.CaptureFixture[str]) -> None:
    behave(a="long", b="long")

    def stop_soon(stop: Event) -> None:
        wait_for("begun a")
        wait_for("begun b")
        stop.set()

    run_beside(stop_soon, "a", "b", "c")
    assert sorted(events()[4:]) == ["interrupted a", "interrupted b"]
    assert sorted(capsys.readouterr().out.splitlines()) == ["a: stopped", "b: stopped"]
    assert not list(RUNS.glob("*.failed"))
    run("a", "b", "c")
    assert finished() == ["a", "b", "c"]


def test_a_time_limit_stops_the_same_way() -> None:
    behave(b="long")
    started = time.monotonic()
    run("a", "b", "c", workers=1, seconds=2)
    assert time.monotonic() - started < 20
    assert finished() == ["a"]
    assert events()[-1] == "interrupted b"


def test_dvc_is_not_interrupted_before_the_experiment_has_begun() -> None:
    behave(a="late")

    def stop_at_once(stop: Event) -> None:
        wait_for("start a")
        stop.set()

    run_beside(stop_at_once, "a")
    assert events() == ["start a", "begun a", "interrupted a"]


def test_a_stage_whose_dvc_was_killed_is_waited_for() -> None:
    behave(a="orphan")
    assert PointRun(assignment("a")).run() is Outcome.FAILED
    assert events()[-1] == "stage-end a"


def test_what_a_killed_experiment_left_is_removed_and_that_of_others_stays() -> None:
    left, other = (WORKSPACES / name for name in ("tmpleft", "tmpother"))
    for folder, name in ((left, "a"), (other, "b")):
        folder.mkdir(parents=True)
        for notes in (WORKSPACES / "run", Path(".dvc/tmp/exps/run")):
            (notes / folder.name).mkdir(parents=True)
            note = {"name": name, "root_dir": str(folder.absolute())}
            (notes / folder.name / f"{folder.name}.run").write_text(json.dumps(note))
    run("a")
    assert not left.exists()
    assert other.exists()
    assert events() == ["start a", "begun a", "end a"]


def test_a_checkout_that_is_edited_meanwhile_starts_no_more() -> None:
    behave(a="edit")
    with pytest.raises(InputError, match=r"^params.yaml is not as in commit [0-9a-f]{12}, of which all points of this study are"):
        run("a", "b", workers=1)
    assert finished() == ["a"]
    assert events()[-1] == "end a"
