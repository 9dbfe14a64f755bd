import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from annealed_lm.checkpoints import CheckpointStore, resume_folder, training_key
from annealed_lm.errors import InputError

ROOT = Path(__file__).parents[1]
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
    with pytest.raises(InputError, match=r"key/checkpoint.pt cannot be read \(\w+\); remove .*key to start this training anew"):
        loaded(store)


def test_a_checkpoint_runs_no_code(tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "touched",)

    store = CheckpointStore(tmp_path / "key")
    store.folder.mkdir()
    torch.save({"step": 1, "state": Payload(), "records": {}}, store.path)
    with pytest.raises(InputError, match="cannot be read"):
        loaded(store)
    assert not (tmp_path / "touched").exists()


def test_a_finished_training_leaves_nothing(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "key")
    with store.held():
        store.save(7, parts(1.5), {})
    store.remove()
    store.remove()
    assert list(tmp_path.iterdir()) == []


HOLD = """
import sys
from pathlib import Path
from annealed_lm.checkpoints import CheckpointStore
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


@pytest.fixture
def inputs(tmp_path: Path) -> tuple[dict[str, Any], list[Path], list[Path]]:
    latents, code = tmp_path / "latents", tmp_path / "src"
    (latents / "inner").mkdir(parents=True)
    (latents / "train.npy").write_bytes(b"1")
    (latents / "inner" / "mean.npy").write_bytes(b"2")
    (code / "package").mkdir(parents=True)
    (code / "stage.py").write_text("1")
    (code / "package" / "module.py").write_text("2")
    return {"steps": 10, "power": 2.0}, [latents], [code]


def test_the_key_is_the_same_for_the_same_training(inputs: tuple[dict[str, Any], list[Path], list[Path]]) -> None:
    values, data, code = inputs
    key = training_key(values, data, code)
    assert key == training_key(dict(reversed(values.items())), data, code)
    (code[0] / "package" / "__pycache__").mkdir()
    (code[0] / "package" / "__pycache__" / "module.pyc").touch()
    (code[0] / "notes.txt").touch()
    (data[0] / "train.npy").touch()  # a new time stamp
    assert key == training_key(values, data, code)


@pytest.mark.parametrize(
    "changed", ["parameter", "new parameter", "input", "inner input", "input renamed", "input added", "code", "inner code"]
)
def test_the_key_changes_with_whatever_decides_the_result(
    changed: str, inputs: tuple[dict[str, Any], list[Path], list[Path]]
) -> None:
    values, data, code = inputs
    before = training_key(values, data, code)
    match changed:
        case "parameter":
            values["power"] = 3.0
        case "new parameter":
            values["random_seed"] = 1
        case "input":
            (data[0] / "train.npy").write_bytes(b"3")
        case "inner input":
            (data[0] / "inner" / "mean.npy").write_bytes(b"3")
        case "input renamed":
            (data[0] / "train.npy").rename(data[0] / "valid.npy")
        case "input added":
            (data[0] / "valid.npy").touch()
        case "code":
            (code[0] / "stage.py").write_text("3")
        case "inner code":
            (code[0] / "package" / "module.py").write_text("3")
    assert training_key(values, data, code) != before


def test_inputs_may_be_files(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("1")
    before = training_key({}, [file], [])
    file.write_text("2")
    assert training_key({}, [file], []) != before


def test_experiments_in_a_copy_resume_from_the_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    assert resume_folder(Path(".resume")) == Path(".resume")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path))
    assert resume_folder(Path(".resume")) == tmp_path / ".resume"
    assert resume_folder(tmp_path / "elsewhere") == tmp_path / "elsewhere"
