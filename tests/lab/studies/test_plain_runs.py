"""Stages of a miniature dvc.yaml without DVC: what runs once, again, not at all, and after an interruption."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
from ruamel.yaml import YAML

from annealed_lab.studies.plain_plans import needed_for, read_stages
from annealed_lab.studies.plain_runs import LOGS, SHARED, PlainRun
from annealed_lab.studies.point_folders import FINISHED
from annealed_lab.studies.points import Point
from annealed_lm.common.errors import InputError
from support.tiny import ROOT

STAGE = """\
import json, os, sys, time
from pathlib import Path
name, reads, writes = sys.argv[1], sys.argv[2].split(","), sys.argv[3]
values = json.loads(json.dumps(__import__("ruamel.yaml").yaml.YAML(typ="safe").load(Path("params.yaml"))))
with open(os.environ["RUNS"], "a") as runs:
    runs.write(name + "\\n")
if name == "train":
    time.sleep(values["train"].get("sleep", 0))
if values["train"]["rate"] > 1 and name == "train":
    sys.exit("error: the loss is nan")
Path(writes).parent.mkdir(parents=True, exist_ok=True)
text = " ".join(Path(path).read_text() for path in reads if path)
Path(writes).write_text(f"{name}({text})" + (str(values["train"]["rate"]) if name == "train" else ""))
"""
PIPELINE = """\
stages:
  check:
    cmd: python src/none.py
    params:
    - params.yaml:
    outs:
    - data/ok
  prepare:
    cmd: python src/stage.py prepare data/raw/text data/prepared
    deps: [data/ok, data/raw/text, src/stage.py]
    params: [size]
    outs: [data/prepared]
  train:
    cmd: python src/stage.py train data/prepared models/model
    deps: [data/ok, data/prepared, src/stage.py]
    params: [train]
    outs: [models/model]
  other:
    cmd: python src/stage.py other data/prepared models/other
    deps: [data/prepared, src/stage.py, src/other.py]
    outs: [models/other]
  report:
    cmd: python src/stage.py report models/model,models/other metrics/all.json
    deps: [models/model, models/other, src/stage.py]
    outs:
    - metrics/all.json:
        cache: false
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    root = tmp_path / "checkout"
    for name, text in {"src/stage.py": STAGE, "src/other.py": "", "dvc.yaml": PIPELINE, "data/raw/text": "raw"}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    monkeypatch.setenv("RUNS", str(tmp_path / "runs.txt"))
    monkeypatch.chdir(root)
    return root


def point(name: str, rate: float, size: int = 5, **train: Any) -> Point:
    return Point(name, {"size": size, "train": {"rate": rate, **train}})


def ran() -> list[str]:
    """The stages that ran since this was asked last."""
    path = Path(os.environ["RUNS"])
    names = path.read_text().split() if path.exists() else []
    path.unlink(missing_ok=True)
    return sorted(names)


def run(*points: Point, folder: str = "runs/a", new_code: bool = False, workers: int = 2, **options: Any) -> PlainRun:
    until = options.pop("until", None)
    made = PlainRun(Path(), Path(folder), points, 1, until)
    with made.locked():
        made.bring_code(new_code)
        made.withdraw_stale()
        made.run(workers, options.pop("stop", Event()), **options)
    return made


def result(name: str, folder: str = "runs/a") -> str:
    return (Path(folder) / name / "metrics/all.json").read_text()


def test_what_points_share_runs_once_and_is_linked_into_each(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(point("a", 0.1), point("b", 0.2))
    assert ran() == ["other", "prepare", "report", "report", "train", "train"]
    assert result("a") == "report(train(prepare(raw))0.1 other(prepare(raw)))"
    assert result("b") == "report(train(prepare(raw))0.2 other(prepare(raw)))"
    assert made.is_done(made.points[0])
    told = capsys.readouterr().out.splitlines()
    assert sorted(line[0] for line in told) == ["a", "b"]  # whichever ends first
    assert [line[1:] for line in told] == [": done, 1 of 2", ": done, 2 of 2"]
    link = Path("runs/a/a/data/prepared")
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert not Path("runs/a/a/models/model").is_symlink()


def test_what_is_finished_does_not_run_again(checkout: Path) -> None:
    run(point("a", 0.1), point("b", 0.2))
    ran()
    run(point("a", 0.1), point("b", 0.2))
    assert ran() == []


def test_a_changed_parameter_runs_again_only_what_depends_on_it(checkout: Path) -> None:
    run(point("a", 0.1), point("b", 0.2))
    ran()
    run(point("a", 0.1), point("b", 0.3))
    assert ran() == ["report", "train"]
    assert result("b") == "report(train(prepare(raw))0.3 other(prepare(raw)))"
    run(point("a", 0.1), point("b", 0.3, size=6))
    assert ran() == ["other", "prepare", "report", "train"]
    assert not Path("runs/a/b/data/prepared").is_symlink()
    assert result("a") == "report(train(prepare(raw))0.1 other(prepare(raw)))"


def test_a_point_alone_lends_its_results_to_points_that_come_later(checkout: Path) -> None:
    run(point("a", 0.1))
    assert not (Path("runs/a") / SHARED).exists()
    ran()
    run(point("a", 0.1), point("b", 0.2))
    assert ran() == ["report", "train"]
    assert result("b") == "report(train(prepare(raw))0.2 other(prepare(raw)))"


def test_results_of_other_parameters_are_removed_before_anything_runs(checkout: Path) -> None:
    run(point("a", 0.1))
    run(point("a", 3.0))
    assert not Path("runs/a/a/metrics/all.json").exists()
    assert not (Path("runs/a/a") / FINISHED / "report.json").exists()


def test_an_input_that_is_missing_for_a_while_loses_nothing(checkout: Path) -> None:
    points = point("a", 0.1), point("b", 0.2)
    run(*points)
    before = [result("a"), result("b")]
    ran()
    raw = checkout / "data/raw/text"
    raw.rename(checkout / "elsewhere")
    made = run(*points)
    assert all(made.has_failed(each) for each in points)
    raw.write_text("other")
    run(*points)
    assert result("a") == "report(train(prepare(other))0.1 other(prepare(other)))"
    ran()
    (checkout / "elsewhere").rename(raw)
    made = run(*points)
    assert ran() == []
    assert all(made.is_done(each) for each in points)
    assert [result("a"), result("b")] == before


def test_a_point_states_the_parameters_of_the_result_that_it_has(checkout: Path) -> None:
    read = YAML(typ="safe").load
    for rate in (0.1, 0.2, 0.1):
        run(point("a", rate))
        assert read(Path("runs/a/a/params.yaml"))["train"]["rate"] == rate
        assert str(rate) in result("a")
    assert ran() == ["other", "prepare", "report", "report", "train", "train"]  # going back to 0.1 runs nothing
    run(point("a", 0.1), point("b", 0.1))
    assert read(Path("runs/a/b/params.yaml"))["train"]["rate"] == 0.1


def test_what_a_killed_run_started_is_whole_when_it_ends_well(checkout: Path) -> None:
    script = (
        "import os, signal, threading, time\n"
        "from pathlib import Path\n"
        "from annealed_lab.studies.plain_runs import PlainRun\n"
        "from annealed_lab.studies.points import Point\n"
        "made = PlainRun(Path(), Path('runs/a'), [Point('a', {'size': 5, 'train': {'rate': 0.1, 'sleep': 2}})], 1)\n"
        "def kill():\n"
        "    while not any(made.tasks[key].stage.name == 'train' for key in [*made.running]): time.sleep(0.05)\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
        "threading.Thread(target=kill, daemon=True).start()\n"
        "with made.locked():\n"
        "    made.bring_code(False)\n"
        "    made.withdraw_stale()\n"
        "    made.run(2, threading.Event())\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    killed = subprocess.run([sys.executable, "-c", script], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    deadline = time.monotonic() + 30
    while not list(Path("runs/a").rglob("train.json")):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    ran()
    time.sleep(1)  # for the lock, which the last stage has
    made = run(point("a", 0.1, sleep=2))
    assert made.is_done(made.points[0])
    assert "train" not in ran()


def test_a_point_that_fails_does_not_stop_the_others(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = run(point("bad", 2), point("good", 0.1))
    assert [made.has_failed(each) for each in made.points] == [True, False]
    assert [made.is_done(each) for each in made.points] == [False, True]
    told = f"bad: train failed with status 1, see runs/a/bad/{LOGS}/train.log: error: the loss is nan"
    assert told in capsys.readouterr().out.splitlines()
    assert (Path("runs/a/bad") / LOGS / "train.log").read_text() == "error: the loss is nan\n"
    ran()
    run(point("bad", 2), point("good", 0.1))
    assert ran() == ["train"]


def test_what_several_points_miss_is_told_once(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data/raw/text").unlink()
    Path("data/raw/text").mkdir()
    made = run(point("a", 0.1), point("b", 0.2))
    assert all(made.has_failed(each) for each in made.points)
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("2 points: prepare failed with status 1, see runs/a/.shared/")


def test_a_stage_that_writes_nothing_has_failed(checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("dvc.yaml").write_text(PIPELINE.replace("outs: [models/other]", "outs: [models/other, models/more]"))
    run(point("a", 0.1))
    assert "a: other ended well, but did not write models/more, see runs/a/a/logs/other.log" in capsys.readouterr().out


def test_until_runs_a_stage_and_what_it_builds_on(checkout: Path) -> None:
    run(point("a", 0.1), until="train")
    assert ran() == ["prepare", "train"]
    run(point("a", 0.1))
    assert ran() == ["other", "report"]


def test_a_stage_that_is_not_there_is_refused(checkout: Path) -> None:
    with pytest.raises(InputError, match=r"^--until trian is not one of prepare, train, other, report \(did you mean train\?\)"):
        run(point("a", 0.1), until="trian")


def test_the_project_needs_everything_but_the_baseline_model_for_nothing_less() -> None:
    stages = read_stages(Path(__file__).parents[3] / "dvc.yaml")
    assert "validate_params" not in [stage.name for stage in stages]
    needed = needed_for(stages, "train_diffusion")
    assert {"fetch_corpus", "prepare_data", "train_autoencoder", "encode_latents", "train_diffusion"} <= needed
    assert not needed & {"train_language_model", "sample_texts", "report"}


def test_changed_code_is_taken_only_when_told_to(checkout: Path) -> None:
    run(point("a", 0.1), point("b", 0.2))
    ran()
    Path("src/other.py").write_text("# changed\n")
    with pytest.raises(
        InputError, match=r"was begun with other code \(src/other.py\): go on from a checkout of that code, or add"
    ):
        run(point("a", 0.1), point("b", 0.2))
    assert ran() == []
    run(point("a", 0.1), point("b", 0.2), new_code=True)
    assert ran() == ["other", "report", "report"]


def test_editing_code_does_not_reach_a_run_that_has_begun(checkout: Path) -> None:
    made = PlainRun(Path(), Path("runs/a"), [point("a", 0.1)], 1)
    with made.locked():
        made.bring_code(False)
        Path("src/stage.py").write_text("raise SystemExit('edited')\n")
        made.run(1, Event())
    assert result("a").startswith("report(")


def test_after_some_seconds_what_runs_is_interrupted_and_has_not_failed(checkout: Path) -> None:
    started = time.monotonic()
    points = point("a", 0.1, sleep=60), point("b", 0.2), point("c", 0.3, sleep=60)
    made = run(*points, workers=1, seconds=6)  # enough for what comes before the long stage, on a busy machine too
    assert time.monotonic() - started < 50
    assert not made.failed
    assert not made.is_done(points[0])
    assert "KeyboardInterrupt" in (Path("runs/a/a") / LOGS / "train.log").read_text()
    assert not (Path("runs/a/c") / LOGS).exists()


def test_a_stop_ends_what_runs_and_the_next_run_goes_on(checkout: Path) -> None:
    stop = Event()

    def stop_when_b_is_done() -> None:
        while not (Path("runs/a/b") / FINISHED / "report.json").exists() or not (Path("runs/a/a") / LOGS / "train.log").exists():
            time.sleep(0.1)
        stop.set()

    Thread(target=stop_when_b_is_done, daemon=True).start()
    made = run(point("a", 0.1, sleep=60), point("b", 0.2), stop=stop)
    assert made.is_done(made.points[1])
    ran()
    again = run(point("a", 0.1, sleep=0), point("b", 0.2))
    assert ran() == ["report", "train"]
    assert again.is_done(again.points[0])


def test_a_folder_that_was_moved_with_its_checkout_or_without_goes_on(checkout: Path, tmp_path: Path) -> None:
    run(point("a", 0.1), point("b", 0.2), until="train")
    ran()
    shutil.move("runs", tmp_path / "elsewhere")
    run(point("a", 0.1), point("b", 0.2), folder=str(tmp_path / "elsewhere/a"))
    assert ran() == ["other", "report", "report"]
    assert result("b", str(tmp_path / "elsewhere/a")) == "report(train(prepare(raw))0.2 other(prepare(raw)))"


def test_a_folder_behind_a_link_works(checkout: Path, tmp_path: Path) -> None:
    (tmp_path / "large/disk").mkdir(parents=True)
    Path("runs").symlink_to(tmp_path / "large/disk")
    run(point("a", 0.1))
    assert result("a").startswith("report(")


def test_two_runs_do_not_share_a_folder(checkout: Path) -> None:
    made = PlainRun(Path(), Path("runs/a"), [point("a", 0.1)], 1)
    with made.locked(), pytest.raises(InputError, match="is in use by another run, or by a stage that a killed run left"):
        run(point("a", 0.1))


def test_a_run_that_is_killed_leaves_the_folder_locked_until_its_stage_ends(checkout: Path) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parents[3] / 'src')!r}, {str(Path(__file__).parent)!r}]\n"
        "from test_plain_runs import point, run\n"
        "run(point('a', 0.1, sleep=4))\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    while "train" not in (Path(os.environ["RUNS"]).read_text() if Path(os.environ["RUNS"]).exists() else ""):
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.wait()
    ran()
    with pytest.raises(InputError, match="is in use"):
        run(point("a", 0.1, sleep=4))
    time.sleep(5)
    run(point("a", 0.1, sleep=0))
    assert ran() == ["report", "train"]


def test_the_environment_has_the_threads_and_no_checkout_of_dvc(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DVC_ROOT", "/elsewhere")
    made = PlainRun(Path(), Path("runs/a"), [], 3)
    assert made.environment["OMP_NUM_THREADS"] == "3"
    assert "DVC_ROOT" not in made.environment


def test_a_marker_tells_what_it_took(checkout: Path) -> None:
    made = run(point("a", 0.1))
    record = json.loads((Path("runs/a/a") / FINISHED / "train.json").read_text())
    assert record["key"] in made.tasks
    assert record["seconds"] >= 0
