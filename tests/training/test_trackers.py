"""Trackers: they hold what the tables hold, in their own folder, and change nothing else."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # type: ignore[import-untyped]
from torch import Tensor
from wandb.proto.wandb_internal_pb2 import Record  # type: ignore[attr-defined]

import train_diffusion
from annealed_lm.common import machine
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_tsv
from annealed_lm.common.machine import require_trackers
from annealed_lm.trainers.denoiser import DiffusionTrainer
from annealed_lm.training.processes import make_accelerator
from annealed_lm.training.trackers import WANDB_DEFAULTS, CurveTracking, tracking
from support.projects import ROOT, call, environment
from support.tiny import write_latents, write_params

ALL = ["wandb", "tensorboard", "dvclive"]
NAMES = {"loss", "T_now", "mean_t", "learning_rate", "validation_loss"}
TRAINING = {"num_train_steps": 8, "train_batch_size": 8, "log_every": 2, "validate_every": 3, "checkpoint_every": 4}
DVC_YAML = "stages: {}\n"

Curves = dict[str, dict[int, float]]
"""Name -> step -> value."""


@pytest.fixture(autouse=True)
def environment_of_its_own(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What `tracking` sets there is gone afterwards."""
    for name in (*WANDB_DEFAULTS, "WANDB_CACHE_DIR", "DVC_ROOT", "DVC_EXP_NAME"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def arguments(folder: Path, latents: Path, chosen: list[str], tracker_folder: Path) -> list[str]:
    """The stage's arguments for a run in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_params(folder / "params.yaml", {"trackers": chosen, "train_diffusion": TRAINING})
    paths = {"params": folder / "params.yaml", "latents": latents, "trackers": tracker_folder}
    paths |= {name: folder / name for name in ("texts", "autoencoder", "resume", "out", "snapshots", "curves")}
    return [part for name, path in paths.items() for part in (f"--{name}", str(path))]


def outputs(folder: Path) -> dict[str, bytes]:
    paths = [
        path for name in ("out", "snapshots", "curves") for path in (folder / name).rglob("*.*") if path.name != "timing.tsv"
    ]
    return {str(path.relative_to(folder)): path.read_bytes() for path in paths}


def table(folder: Path) -> Curves:
    """What the tables of a run say, under the names that trackers know it by."""
    training, validation = (read_tsv(folder / "curves" / f"{name}.tsv") for name in ("training", "validation"))
    curves = {
        name: {int(row["step"]): float(row[name]) for row in training} for name in ("loss", "T_now", "mean_t", "learning_rate")
    }
    return curves | {"validation_loss": {int(row["step"]): float(row["loss"]) for row in validation}}


def approximately(curves: Curves) -> Any:
    """Tables have six digits, TensorBoard single precision."""
    return {name: pytest.approx(curve, rel=1e-5) for name, curve in curves.items()}


def curve(points: Iterable[tuple[int, float]]) -> dict[int, float]:
    by_step: dict[int, float] = {}
    for step, value in points:
        assert step not in by_step, "a step was handed over twice"
        by_step[step] = value
    return by_step


def of_tensorboard(run: Path) -> Curves:
    events = EventAccumulator(str(run / "annealed_lm"))
    events.Reload()
    return {name: curve((event.step, event.value) for event in events.Scalars(name)) for name in events.Tags()["scalars"]}


def of_dvclive(run: Path) -> Curves:
    files = (run / "dvclive" / "plots" / "metrics").iterdir()
    return {file.stem: curve((int(row["step"]), float(row[file.stem])) for row in read_tsv(file)) for file in files}


def wandb_records(run: Path) -> list[Record]:
    """The records of the one offline run: protocol buffers in a LevelDB log, after a header of 7 bytes."""
    (file,) = run.glob("wandb/offline-run-*/run-*.wandb")
    data, place, record, records = file.read_bytes(), 7, b"", []
    while place < len(data):
        left = 2**15 - place % 2**15  # in this block
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        record += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in (1, 4):  # a whole record, the last part of one
            records.append(Record.FromString(record))
            record = b""
    return records


def of_wandb(run: Path) -> Curves:
    curves: Curves = {}
    for record in wandb_records(run):
        if record.WhichOneof("record_type") == "history":
            values = {item.key or ".".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
            for name in values.keys() & NAMES:
                curves.setdefault(name, {})[values["_step"]] = values[name]
    return curves


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_latents(tmp_path_factory.mktemp("project") / "latents")


@pytest.fixture(scope="module")
def checkout(latents: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DVC project in which the experiment loud-owl ran in a copy, with all trackers."""
    project = tmp_path_factory.mktemp("checkout")
    for folder in (project, project / "copy"):
        (folder / ".dvc").mkdir(parents=True)
        (folder / ".dvc" / "config").touch()
        (folder / "dvc.yaml").write_text(DVC_YAML)
        for command in (["init", "--quiet"], ["commit", "--quiet", "--allow-empty", "--message", "start"]):
            subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=a@b", *command], cwd=folder, check=True)
    stage = arguments(project / "copy", latents, ALL, Path(".trackers"))
    variables = {name: value for name, value in environment().items() if not name.startswith(("WANDB", "DVC"))}
    variables |= {"DVC_ROOT": str(project), "DVC_EXP_NAME": "loud-owl", "HOME": str(project / "home")}
    program = ["python", str(ROOT / "src" / "train_diffusion.py"), *stage]
    subprocess.run(program, cwd=project / "copy", env=variables, check=True, stderr=subprocess.DEVNULL)
    return project


def run_stage(monkeypatch: pytest.MonkeyPatch, folder: Path, latents: Path, chosen: list[str]) -> None:
    """In this process, trackers below `folder`."""
    AcceleratorState._reset_state(reset_partial_state=True)
    monkeypatch.chdir(folder.parent)
    monkeypatch.setattr(sys, "argv", ["train_diffusion.py", *arguments(folder, latents, chosen, folder / "trackers")])
    train_diffusion.main()


def test_trackers_hold_what_the_tables_hold(checkout: Path) -> None:
    expected, run = table(checkout / "copy"), checkout / ".trackers" / "loud-owl"
    assert expected.keys() == NAMES
    assert [list(curve) for curve in expected.values()] == [[2, 4, 6, 8]] * 4 + [[3, 6, 8]]
    assert of_tensorboard(run) == approximately(expected)
    assert of_dvclive(run) == approximately(expected)
    assert of_wandb(run) == approximately(expected)


def test_a_wandb_run_is_offline_has_the_name_of_the_experiment_and_its_parameters(checkout: Path) -> None:
    (run,) = [each.run for each in wandb_records(checkout / ".trackers" / "loud-owl") if each.WhichOneof("record_type") == "run"]
    assert run.project == "annealed_lm"
    assert run.display_name == "loud-owl"
    parameters = {item.key: json.loads(item.value_json) for item in run.config.update}
    assert parameters["num_train_steps"] == 8
    assert parameters["T_schedule"] == "normal"


def test_everything_is_written_in_the_checkout_below_the_folder_of_trackers(checkout: Path) -> None:
    beside = {path.name for path in checkout.iterdir()} - {".dvc", ".git", "dvc.yaml"}
    assert beside == {".trackers", "copy"}  # the home folder too is as it was: not there
    in_copy = {path.name for path in (checkout / "copy").iterdir()} - {".dvc", ".git", "dvc.yaml"}
    assert in_copy == {"params.yaml", "resume", "out", "snapshots", "curves"}
    assert {path.name for path in (checkout / ".trackers" / "loud-owl").iterdir()} == {"annealed_lm", "dvclive", "wandb"}


def test_dvclive_writes_no_dvc_yaml_and_no_params(checkout: Path) -> None:
    assert [(folder / "dvc.yaml").read_text() for folder in (checkout, checkout / "copy")] == [DVC_YAML] * 2
    assert not [*(checkout / ".trackers").rglob("dvc.yaml"), *(checkout / ".trackers").rglob("params.yaml")]


def test_trackers_change_no_output_and_without_them_nothing_is_written(
    checkout: Path, latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_stage(monkeypatch, tmp_path / "plain", latents, [])
    assert outputs(tmp_path / "plain") == outputs(checkout / "copy")
    assert not (tmp_path / "plain" / "trackers").exists()


def test_what_trackers_hold_of_a_resumed_run_is_whole(latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_step = DiffusionTrainer.train_step
    steps: list[int] = []

    def recorded(self: DiffusionTrainer, step: int) -> Tensor:
        steps.append(step)
        if len(steps) == 7:
            raise KeyboardInterrupt  # after the rows of step 6, with the checkpoint of step 4
        if len(steps) == 9:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(self, step)

    monkeypatch.setattr(DiffusionTrainer, "train_step", recorded)
    for stopped in (KeyboardInterrupt, InputError):
        with pytest.raises(stopped):
            run_stage(monkeypatch, tmp_path / "run", latents, ["tensorboard", "dvclive"])
    run_stage(monkeypatch, tmp_path / "run", latents, [])  # trackers are no part of what a training is known by
    assert steps == [*range(7), 4, 5, 6, 7]
    (run,) = (tmp_path / "run" / "trackers").iterdir()
    until_6 = {
        name: {step: value for step, value in curve.items() if step < 7} for name, curve in table(tmp_path / "run").items()
    }
    for found in (of_tensorboard(run), of_dvclive(run)):
        assert found == approximately(until_6)


def test_a_tracker_that_is_not_installed_is_named_before_anything_is_done(
    latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(machine, "find_spec", lambda name: name if name == "tensorboard" else None)
    with pytest.raises(
        InputError, match=r"names wandb, dvclive, which is not installed: pip install -r requirements-trackers.txt"
    ):
        run_stage(monkeypatch, tmp_path / "run", latents, ALL)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["params.yaml"]
    require_trackers(["tensorboard"])


def test_a_package_that_python_does_not_find_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = f"""
import sys
sys.modules.update(dict.fromkeys({ALL}))  # find_spec says that they are not there
from annealed_lm.common.machine import InputError, require_trackers
for name in {ALL}:
    try:
        require_trackers([name])
    except InputError as error:
        print(error)
"""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    lines = call(tmp_path, "python", "-c", program)
    assert [line.split(",")[0] for line in lines.splitlines()] == [f"trackers names {name}" for name in ALL]


def test_a_tracker_that_cannot_start_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_login(*arguments: Any, **others: Any) -> None:
        raise RuntimeError("no API key")

    monkeypatch.setattr(Accelerator, "init_trackers", no_login)
    accelerator = make_accelerator("no", ["tensorboard"], tmp_path / "trackers")
    with pytest.raises(InputError, match=r"could not start \(RuntimeError: no API key\)"), tracking(accelerator, "run", {}):
        pass


def test_what_the_user_says_of_wandb_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with tracking(make_accelerator("no", ["tensorboard"], tmp_path / "trackers"), "run", {}):
        assert os.environ["WANDB_MODE"] == "disabled"
        assert os.environ["WANDB_ERROR_REPORTING"] == "false"


class Recorded:
    """An accelerator as far as curves are handed to it."""

    def __init__(self) -> None:
        self.logged: list[tuple[int, dict[str, float]]] = []

    def log(self, values: dict[str, float], step: int) -> None:
        self.logged.append((step, values))


def test_each_row_is_handed_over_once_and_in_the_order_of_the_steps() -> None:
    accelerator: Any = Recorded()
    curves: dict[str, list[dict[str, float]]] = {
        "training": [{"step": step, "loss": step / 10, "T_now": step, "mean_t": 1, "learning_rate": 0.5} for step in (2, 4)],
        "validation": [{"step": step, "loss": 9.0} for step in (1, 2, 3)],
        "timing": [{"step": 2, "seconds": 7}],
    }
    curve_tracking = CurveTracking(accelerator)
    curve_tracking.hand_over(curves)
    assert accelerator.logged == [
        (1, {"validation_loss": 9.0}),
        (2, {"loss": 0.2, "T_now": 2, "mean_t": 1, "learning_rate": 0.5, "validation_loss": 9.0}),
        (3, {"validation_loss": 9.0}),
        (4, {"loss": 0.4, "T_now": 4, "mean_t": 1, "learning_rate": 0.5}),
    ]
    accelerator.logged.clear()
    curve_tracking.hand_over(curves)
    assert accelerator.logged == []
    curves["validation"].append({"step": 5, "loss": 8.0})
    curve_tracking.hand_over(curves)
    assert accelerator.logged == [(5, {"validation_loss": 8.0})]
