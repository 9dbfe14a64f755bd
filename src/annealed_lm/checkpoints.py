"""Checkpoints of an interrupted training, in a folder that only the same training can find.

The folder's name is a hash of everything that decides the result (parameters, inputs, code), so a run can never pick up
another's state, and it stands outside the outputs, so nothing that manages outputs can lose it.
"""

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import torch

from annealed_lm.errors import InputError
from annealed_lm.files import atomic_path, file_sha256

CHECKPOINT = "checkpoint.pt"


class Stateful(Protocol):
    """Whatever gives its state as a dictionary and takes it back."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def training_key(values: Mapping[str, Any], inputs: list[Path], code: list[Path]) -> str:
    """The name of a training: a hash of its parameters, of the files that it reads and of its code (files or folders)."""
    digest = hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode())
    for path in [*inputs, *code]:
        files = sorted(path.rglob("*.py" if path in code else "*")) if path.is_dir() else [path]
        for file in files:
            if file.is_file():
                digest.update(f"{file.relative_to(path) if path.is_dir() else file.name} {file_sha256(file)}".encode())
    return digest.hexdigest()[:32]


def resume_folder(folder: Path) -> Path:
    """`folder` in the project's own checkout, also when DVC runs an experiment in a copy of it that it will delete."""
    return Path(os.environ.get("DVC_ROOT", ".")) / folder


class CheckpointStore:
    """The one checkpoint of one training, replaced as a whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / CHECKPOINT

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for this process.

        Raises:
            InputError: another process trains the same thing at this moment.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise InputError(
                    f"{self.folder} is in use: another process runs this very training; wait for it or end it"
                ) from error
            yield

    def save(self, step: int, state: Mapping[str, Stateful], records: Mapping[str, list[Any]]) -> None:
        """Write the state after `step` steps and what was recorded so far."""
        with atomic_path(self.path) as partial, partial.open("wb") as file:
            torch.save(
                {"step": step, "state": {name: item.state_dict() for name, item in state.items()}, "records": dict(records)}, file
            )
            file.flush()
            os.fsync(file.fileno())  # a rename may outlive the data that it names

    def load(self, state: Mapping[str, Stateful], records: Mapping[str, list[Any]]) -> int:
        """Put back what `save` wrote, if anything: the number of steps done, 0 without a checkpoint.

        Raises:
            InputError: the checkpoint cannot be read.
        """
        if not self.path.exists():
            return 0
        try:
            saved = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:  # torch raises what the damaged byte happens to break
            raise InputError(
                f"{self.path} cannot be read ({type(error).__name__}); remove {self.folder} to start this training anew"
            ) from error
        for name, item in state.items():
            item.load_state_dict(saved["state"][name])
        for name, rows in records.items():
            rows[:] = saved["records"][name]
        return int(saved["step"])

    def remove(self) -> None:
        """Forget the training: it has finished and its outputs are written."""
        shutil.rmtree(self.folder, ignore_errors=True)
