import dataclasses
import errno
import fcntl
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from annealed_lm.common.errors import InputError
from annealed_lm.training.checkpoints import CheckpointStore, digest, resume_folder
from annealed_lm.training.descriptions import DESCRIPTION, Ingredients, TrainingDescription

ROOT = Path(__file__).parents[2]
DAMAGED = r"^\S+key/checkpoint.pt cannot be read: it is damaged, .* remove \S+key to start this training anew, .*$"
INGREDIENTS = Ingredients({"power": 2}, {"latents": "1"}, {"train_walk.py": "1"})
WALK = TrainingDescription("train_walk", "a walk", 12, INGREDIENTS)
Rows = dict[str, list[dict[str, Any]]]


def parts(value: float) -> dict[str, Any]:
    """A model and its optimizer after a step that leaves `value` in all of the model's weights."""
    model = nn.Linear(20, 20)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(20)).sum().backward()
    optimizer.step()
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return {"model": model, "optimizer": optimizer}


def loaded(store: CheckpointStore) -> tuple[int, float, Rows]:
    """Steps, the weights' value and the records of the checkpoint."""
    state, records = parts(0.0), {"training": [{"step": 99}], "validation": []}
    step = store.load(state, records)
    values = set(state["model"].weight.flatten().tolist())
    assert len(values) == 1
    return step, values.pop(), records


def test_a_checkpoint_gives_back_state_step_and_records(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    state = parts(1.5)
    store.save(7, state, {"training": [{"step": 7, "loss": 0.25, "t_range": "0-9"}], "validation": []})
    fresh, records = parts(0.0), {"training": [{"step": 99}], "validation": [{"step": 98}]}
    assert store.load(fresh, records) == 7
    assert records == {"training": [{"step": 7, "loss": 0.25, "t_range": "0-9"}], "validation": []}
    assert torch.equal(fresh["model"].weight, state["model"].weight)
    moments = [part["optimizer"].state_dict()["state"][0]["exp_avg"] for part in (fresh, state)]
    assert torch.equal(*moments)


def test_without_a_checkpoint_nothing_changes(tmp_path: Path) -> None:
    assert loaded(CheckpointStore(tmp_path / "key")) == (0, 0.0, {"training": [{"step": 99}], "validation": []})


@pytest.mark.parametrize("failure", ["while writing", "while flushing"])
def test_a_save_that_fails_leaves_the_last_good_checkpoint(failure: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {"training": [], "validation": []})

    def full_disk(*arguments: Any) -> None:
        if failure == "while writing":
            arguments[1].write(b"half a checkpoint")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(*((torch, "save") if failure == "while writing" else (os, "fsync")), full_disk)
    with pytest.raises(OSError, match="No space left"):
        store.save(8, parts(2.5), {"training": [], "validation": []})
    monkeypatch.undo()
    assert loaded(store) == (7, 1.5, {"training": [], "validation": []})
    assert [path.name for path in store.folder.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("share", [0, 0.3, 0.99])
def test_a_truncated_checkpoint_is_one_sentence_that_says_what_to_remove(share: float, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {})
    data = store.path.read_bytes()
    store.path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=DAMAGED):
        loaded(store)


def test_one_flipped_bit_anywhere_is_one_sentence_that_says_what_to_remove_and_changes_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {"training": [{"step": 7}]})
    data = store.path.read_bytes()
    bits = {*np.random.default_rng(0).integers(8 * len(data), size=200).tolist(), 0, 8 * len(data) - 1}
    for bit in bits:
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        store.path.write_bytes(flipped)
        state, records = parts(0.0), {"training": [{"step": 99}]}
        with pytest.raises(InputError, match=DAMAGED):
            store.load(state, records)
        assert state["model"].weight.unique().tolist() == [0.0]
        assert records == {"training": [{"step": 99}]}
    store.path.write_bytes(data)
    assert store.load(parts(0.0), {"training": []}) == 7


def test_bytes_that_were_added_are_damage_too(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {})
    for data in (store.path.read_bytes() + b"0", store.path.read_bytes() * 2):
        store.path.write_bytes(data)
        with pytest.raises(InputError, match=DAMAGED):
            loaded(store)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    store = CheckpointStore(tmp_path / "key")
    store.folder.mkdir()
    with store.path.open("w+b") as file:
        torch.save({"step": 1, "state": Payload(), "records": {}}, file)
        file.write(digest(file, file.tell()))
    with pytest.raises(InputError, match="cannot be read"):
        loaded(store)
    assert not (tmp_path / "touched").exists()


def rewritten(store: CheckpointStore, **changes: Any) -> None:
    """The checkpoint with other values of its entries; None takes an entry out."""
    saved = torch.load(store.path) | changes
    with store.path.open("w+b") as file:
        torch.save({name: value for name, value in saved.items() if value is not None}, file)
        file.write(digest(file, file.tell()))


def test_a_checkpoint_of_another_torch_is_one_sentence_that_names_both(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {})
    here = str(torch.__version__).partition("+")[0]
    rewritten(store, torch="2.0.1")
    with pytest.raises(InputError, match=rf"key/checkpoint.pt was written by torch 2.0.1, and this is torch {here}, .* remove "):
        loaded(store)
    assert store.steps_done() == 7


@pytest.mark.parametrize("number", [0, 1, 3, None])
def test_a_checkpoint_of_another_format_is_one_sentence_that_names_both(number: int | None, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {})
    rewritten(store, format=number)
    with pytest.raises(InputError, match=rf"key/checkpoint.pt has format {number}, and this code reads format 2: .*remove .*key"):
        loaded(store)
    assert store.steps_done() is None


def without_bias() -> dict[str, Any]:
    model = nn.Linear(20, 20, bias=False)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}


def wider() -> dict[str, Any]:
    model = nn.Linear(20, 30)
    return {"model": model, "optimizer": torch.optim.AdamW(model.parameters())}


def two_groups() -> dict[str, Any]:
    model = nn.Linear(20, 20)
    return {"model": model, "optimizer": torch.optim.AdamW([{"params": [each]} for each in model.parameters()])}


MISFITS: dict[str, tuple[Any, str]] = {
    "part missing": (lambda: parts(1.5) | {"scaler": nn.Linear(1, 1)}, "the file lacks scaler"),
    "part too many": (lambda: {"model": parts(1.5)["model"]}, "the file has the unknown optimizer"),
    "weight too many": (without_bias, "model has the unknown bias"),
    "weight missing": (lambda: parts(1.5) | {"model": nn.BatchNorm1d(20)}, "model lacks num_batches_tracked, running_mean"),
    "other shape": (wider, r"weight of model has \[20, 20\] elements, not \[30, 20\]"),
    "other groups": (two_groups, r"param_groups of optimizer has \[2\] elements, not \[1, 1\]"),
}


@pytest.mark.parametrize("what", MISFITS)
def test_a_state_of_something_else_is_one_sentence_and_changes_nothing(what: str, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {"training": []})
    make, finding = MISFITS[what]
    state, records = make(), {"training": [{"step": 99}]}
    before = {name: weight.clone() for name, weight in state["model"].state_dict().items()}
    with pytest.raises(InputError, match=rf"key/checkpoint.pt is no state of this training \({finding}.*\); remove .*/key to"):
        store.load(state, records)
    assert all(torch.equal(weight, before[name]) for name, weight in state["model"].state_dict().items())
    assert records == {"training": [{"step": 99}]}


@pytest.mark.parametrize(
    ("changes", "finding"),
    [
        ({"records": {}}, "the file lacks training"),
        ({"records": {"training": [], "timing": []}}, "the file has the unknown timing"),
        ({"records": None}, "the file lacks records"),
        ({"extra": 1}, "the file has the unknown extra"),
    ],
)
def test_records_and_entries_are_those_that_are_written(changes: dict[str, Any], finding: str, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {"training": []})
    rewritten(store, **changes)
    with pytest.raises(InputError, match=rf"is no state of this training \({finding}\)"):
        store.load(parts(0.0), {"training": []})


@pytest.mark.parametrize(
    ("changes", "part"),
    [({"step": "many"}, "step"), ({"state": [1]}, "state"), ({"state": {"model": 1}}, "state"), ({"records": "rows"}, "records")],
)
def test_entries_of_another_kind_are_one_sentence(changes: dict[str, Any], part: str, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {})
    rewritten(store, **changes)
    with pytest.raises(InputError, match=rf"^\S+key/checkpoint\.pt has no {part} as a training has it; remove \S+key to start"):
        loaded(store)
    assert store.steps_done() is None


@pytest.mark.parametrize("name", ["lock", "checkpoint.pt", "description.json"])
def test_a_folder_in_the_place_of_a_file_is_at_most_one_sentence(name: str, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key", WALK)
    (store.folder / name).mkdir(parents=True)
    told = {"lock": "key/lock is in the way of", "checkpoint.pt": "key/checkpoint.pt cannot be read", "description.json": ""}[
        name
    ]
    with pytest.raises(InputError, match=told) if told else nullcontext(), store.held():
        loaded(store)


def test_a_file_in_the_place_of_the_folder_is_one_sentence(tmp_path: Path) -> None:
    for folder in (tmp_path / "key", tmp_path / "key" / "below"):
        (tmp_path / "key").touch()
        with (
            pytest.raises(InputError, match=rf"\S+key\S* is in the way of {folder}/lock: remove it$"),
            CheckpointStore(folder).held(),
        ):
            pass


@pytest.mark.parametrize(
    "written",
    [
        "",
        "{",
        "[]",
        "{}",
        "1",
        '{"stage": "a", "trains": "b", "steps": "many"}',
        '{"stage": "a", "trains": "b", "steps": 1, "ingredients": {"a": 1}}',
        '{"stage": "a", "trains": "b", "steps": 1, "ingredients": {"parameters": 1, "inputs": {}, "code": {}}}',
    ],
)
def test_a_broken_description_says_nothing_and_is_written_anew(written: str, tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key", WALK)
    with store.held():
        store.save(7, parts(1.5), {})
    (store.folder / DESCRIPTION).write_text(written)
    assert CheckpointStore(store.folder).description() is None
    assert store.progress() == "7 of ?"
    assert said_of_others(tmp_path / "other") is None
    with store.held():
        assert store.steps_done() == 7
    assert store.description() == WALK


def said_of_others(folder: Path) -> str | None:
    """What a training that begins beside others says of them."""
    return CheckpointStore(folder, WALK).nearest(WALK)


def test_a_part_that_refuses_its_state_is_named(tmp_path: Path) -> None:
    class Refuses(nn.Linear):
        def load_state_dict(self, *_: Any) -> Any:
            raise ValueError("not\nthese")

    store = CheckpointStore(tmp_path / "key")
    store.save(7, {"model": nn.Linear(2, 2)}, {})
    with pytest.raises(InputError, match=r"is no state of this training \(model: ValueError not these\); remove"):
        store.load({"model": Refuses(2, 2)}, {})


LIMITED = """
import resource, sys
from pathlib import Path
import torch
from annealed_lm.training.checkpoints import CheckpointStore
from annealed_lm.common.errors import one_sentence_errors
store = CheckpointStore(Path(sys.argv[1]))
with one_sentence_errors(), store.held():
    store.save(1, {"model": torch.nn.Linear(10, 10)}, {})
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))
    store.save(2, {"model": torch.nn.Linear(10, 10)}, {"rows": [{"text": "word " * int(sys.argv[3])}]})
"""


@pytest.mark.parametrize(("limit", "words"), [(0, 0), (1000, 0), (10_000, 10_000)])
def test_a_disk_that_takes_no_more_is_one_sentence_and_keeps_the_last_checkpoint(limit: int, words: int, tmp_path: Path) -> None:
    folder = tmp_path / "key"
    finished = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder), str(limit), str(words)],
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.returncode == 1
    assert finished.stderr == (
        f"error: the limit on the size of a file is reached while writing {folder}/checkpoint.pt; raise it (ulimit -f) and run "
        "again: the last checkpoint and finished stages are kept\n"
    )
    assert CheckpointStore(folder).steps_done() == 1
    assert sorted(path.name for path in folder.iterdir()) == ["checkpoint.pt", "lock"]


def test_a_finished_training_leaves_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    with store.held():
        store.save(7, parts(1.5), {})
    store.remove()
    store.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_kept_beside_a_checkpoint_never_goes_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {})
    monkeypatch.setattr(shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        store.remove()
    assert not store.path.exists()


def test_a_finished_training_leaves_what_another_process_has_taken_up_since(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {})
    with CheckpointStore(store.folder).held():
        store.remove()
    assert store.steps_done() == 7


def test_the_lock_of_a_folder_that_is_being_removed_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path / "key")
    monkeypatch.setattr(fcntl, "flock", lambda *_: shutil.rmtree(store.folder))
    with pytest.raises(InputError, match=r"key was removed by another process at this moment; run again"), store.held():
        pass


def test_holding_sweeps_what_a_killed_process_was_writing_and_nothing_else(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    store.save(7, parts(1.5), {})
    (store.folder / "snapshots" / "000003").mkdir(parents=True)
    half = store.folder / "snapshots" / ".000006.99.partial"
    half.mkdir()
    (half / ".denoiser.json.99.partial").write_bytes(b"half")
    (store.folder / ".checkpoint.pt.99.partial").write_bytes(b"half")
    with store.held():
        assert sorted(path.name for path in store.folder.rglob("*")) == ["000003", "checkpoint.pt", "lock", "snapshots"]


def test_a_folder_says_what_it_is_for_from_the_first_time_that_it_is_held(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "key", WALK).description() is None
    for description in (WALK, dataclasses.replace(WALK, trains="another walk"), None):
        store = CheckpointStore(tmp_path / "key", description)
        with store.held():
            assert store.description() == WALK


def test_steps_are_those_of_the_checkpoint_or_of_the_results_that_are_kept(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key", WALK)
    assert store.progress() == "0 of ?"
    with store.held():
        assert store.progress() == "0 of 12"
        for step in (3, 6):
            (store.folder / f"{step:06d}.json").write_text("{}")
        assert store.progress() == "2 of 12"
        store.save(7, parts(1.5), {})
        assert store.progress() == "7 of 12"
        store.path.write_bytes(b"half of it")
        assert store.progress() == "unreadable of 12"


def begun(folder: Path, steps: int = 4, **changes: Any) -> CheckpointStore:
    """A training that was interrupted, `changes` being of the ingredients of `WALK`."""
    ingredients = dataclasses.replace(INGREDIENTS, **changes)
    store = CheckpointStore(folder, dataclasses.replace(WALK, ingredients=ingredients))
    with store.held():
        if steps:
            store.save(steps, parts(1.5), {})
    return store


def said_at_the_start(store: CheckpointStore, capsys: pytest.CaptureFixture[str]) -> str:
    capsys.readouterr()
    with store.held():
        return capsys.readouterr().out


def test_a_training_that_starts_at_0_says_how_the_nearest_of_its_stage_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    begun(tmp_path / "a", parameters={"power": 3}, inputs={"latents": "2"})
    begun(tmp_path / "b", parameters={"power": 3})
    begun(tmp_path / "c", parameters={"power": 3}, code={"train_walk.py": "2"})
    expected = f"train_walk starts at step 0: {tmp_path}/b (a walk; 4 of 12 steps) differs in power (3, here 2)\n"
    store = CheckpointStore(tmp_path / "key", WALK)
    assert said_at_the_start(store, capsys) == expected
    with CheckpointStore(tmp_path / "b").held():  # it may be running
        assert said_at_the_start(store, capsys) == expected
    store.save(1, parts(1.5), {})
    assert said_at_the_start(store, capsys) == ""


def test_nothing_is_said_of_trainings_that_are_not_comparable(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    begun(tmp_path / "not begun", steps=0, parameters={"power": 3})
    begun(tmp_path / "another model of the same run")
    with CheckpointStore(tmp_path / "other stage", dataclasses.replace(WALK, stage="train_run")).held():
        CheckpointStore(tmp_path / "other stage").save(1, parts(1.5), {})
    (tmp_path / "report").mkdir()
    assert said_at_the_start(CheckpointStore(tmp_path / "key", WALK), capsys) == ""
    assert said_at_the_start(CheckpointStore(tmp_path / "without a description"), capsys) == ""


def test_a_training_that_old_code_left_does_not_say_what_decides_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    old = begun(tmp_path / "old")
    (old.folder / DESCRIPTION).write_text('{"stage": "train_walk", "trains": "a walk", "steps": 12, "code": "0123"}')
    store = CheckpointStore(tmp_path / "key", WALK)
    assert said_at_the_start(store, capsys).endswith(f"{old.folder} (a walk; 4 of 12 steps) does not say what decides it\n")
    begun(tmp_path / "near", parameters={"power": 3})
    assert "differs in power" in said_at_the_start(store, capsys)


HOLD = """
import sys
from pathlib import Path
from annealed_lm.training.checkpoints import CheckpointStore
with CheckpointStore(Path(sys.argv[1])).held():
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_process_is_refused_until_the_first_has_ended(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    command = [sys.executable, "-c", HOLD, str(store.folder)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src")}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as first:
        assert first.stdin is not None
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        with pytest.raises(InputError, match="another process runs this very training"), store.held():
            pass
        with CheckpointStore(tmp_path / "other").held():  # another training is no matter
            pass
        first.kill()  # a killed process holds nothing
        first.wait()
    with store.held():
        pass


def test_experiments_in_a_copy_resume_from_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert resume_folder(Path(".resume")) == Path(".resume")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert resume_folder(Path(".resume")) == tmp_path / ".resume"
    assert resume_folder(tmp_path / "elsewhere") == tmp_path / "elsewhere"
