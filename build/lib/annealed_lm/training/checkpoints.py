"""Checkpoints of an interrupted training, in a folder that only the same training can find.

The folder's name is a hash of what decides the result (`descriptions.Ingredients`), so a run can never pick up another's state,
and it stands outside the outputs, so nothing that manages outputs can lose it.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any, BinaryIO, Protocol, TextIO

import torch

from annealed_lm.common.errors import InputError, tell
from annealed_lm.common.files import atomic_path
from annealed_lm.training.descriptions import DESCRIPTION, TrainingDescription

CHECKPOINT = "checkpoint.pt"
LOCK = "lock"
FORMAT = 2
"""Of the file; another number, another layout."""
DIGEST_BYTES = hashlib.sha256().digest_size
"""At the end of the file: the sha256 of all before it. torch, to which they are no part of the archive, does not see them."""
LAYOUT = ("format", "torch", "step", "state", "records")
TORCH = str(torch.__version__).partition("+")[0]
"""Release of torch, without its build: what another one computes may differ in the last bits."""


class FolderInUseError(InputError):
    """Another process trains there."""


class Stateful(Protocol):
    """Whatever gives its state as a dictionary and takes it back."""

    def state_dict(self) -> dict[str, Any]: ...

    def load_state_dict(self, state_dict: dict[str, Any], /) -> Any: ...


def resume_folder(folder: Path) -> Path:
    """Return `folder` in the project's own checkout, also when DVC runs an experiment in a copy of it that it will delete."""
    return Path(os.environ.get("DVC_ROOT", ".")) / folder


class CheckpointStore:
    """The one checkpoint of one training, replaced as a whole.

    Args:
        folder: of this training alone.
        description: kept beside the checkpoint, for a person.
    """

    def __init__(self, folder: Path, description: TrainingDescription | None = None) -> None:
        self.folder = folder
        self.path = folder / CHECKPOINT
        self.new_description = description
        self.is_locked = False

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Keep other processes from the folder, which is made if it is not there.

        Raises:
            FolderInUseError: another process holds it.
            InputError: something else is in its place.
        """
        with self.lock_file() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise FolderInUseError(
                    f"{self.folder} is in use: another process runs this very training; wait for it or end it"
                ) from error
            if os.fstat(lock.fileno()).st_nlink == 0:  # locked too late: the lock of a folder that is gone keeps nobody out
                raise FolderInUseError(f"{self.folder} was removed by another process at this moment; run again")
            self.is_locked = True
            try:
                yield
            finally:
                self.is_locked = False

    def lock_file(self) -> TextIO:
        """Open the file by which processes keep each other out, made with its folder if it is not there.

        Raises:
            InputError: something else is in the place of one of the two.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            return (self.folder / LOCK).open("a")  # "w" would make the folder look younger
        except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
            raise InputError(f"{error.filename} is in the way of {self.folder / LOCK}: remove it") from error

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold the folder for this process, free of what a killed process was writing there.

        Where that starts at 0 beside others of its stage that did not, one line says how the nearest of them differs.

        Raises:
            InputError: another process trains the same thing at this moment.
        """
        with self.locked():
            for partial in [*self.folder.rglob(".*.partial")]:
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink(missing_ok=True)
            if self.new_description is not None:
                if self.description() is None and not (self.folder / DESCRIPTION).is_dir():
                    self.new_description.write(self.folder)
                if self.steps_done() == 0 and (told := self.nearest(self.new_description)) is not None:
                    tell(told)
            yield

    def description(self) -> TrainingDescription | None:
        """Return what the folder says of itself, None if it says nothing."""
        return TrainingDescription.read(self.folder)

    def nearest(self, description: TrainingDescription) -> str | None:
        """Return a sentence on the training beside this one that differs least from it, of those of its stage that have begun."""
        read = ((path.parent, TrainingDescription.read(path.parent)) for path in self.folder.parent.glob(f"*/{DESCRIPTION}"))
        of_stage = [(folder, found) for folder, found in read if found is not None and found.stage == description.stage]
        for folder, found in sorted(of_stage, key=lambda each: (description.distance(each[1]), each[0])):
            store = CheckpointStore(folder)
            if description.distance(found) > 0 and store.steps_done() != 0:  # 0: this one, or another model of the same run
                what = f"{folder} ({found.trains}; {store.progress()} steps)"
                return f"{description.stage} starts at step 0: {what} {description.difference(found)}"
        return None

    def save(self, step: int, state: Mapping[str, Stateful], records: Mapping[str, list[Any]]) -> None:
        """Write the state after `step` steps and what was recorded so far.

        Raises:
            OSError: the disk does not take it (`errors.DISK_ERRORS`); the last checkpoint is still there.
        """
        parts = {name: item.state_dict() for name, item in state.items()}
        with atomic_path(self.path) as partial, partial.open("w+b") as file:
            torch.save({"format": FORMAT, "torch": TORCH, "step": step, "state": parts, "records": dict(records)}, file)
            file.write(digest(file, file.tell()))
            file.flush()
            os.fsync(file.fileno())  # a rename may outlive the data that it names

    def load(self, state: Mapping[str, Stateful], records: Mapping[str, list[Any]]) -> int:
        """Put back what `save` wrote, if anything: the number of steps done, 0 without a checkpoint.

        Raises:
            InputError: the checkpoint cannot be read, another torch wrote it, or it is no state of this training. Nothing has
                changed then, as far as names and shapes tell it.
        """
        if not self.path.exists():
            return 0
        saved = self.read()
        anew = f"remove {self.folder} to start this training anew"
        if (other := saved.get("torch")) != TORCH:
            raise InputError(
                f"{self.path} was written by torch {other}, and this is torch {TORCH}, which may compute other numbers: "
                f"install torch {other} to go on, or {anew}"
            )
        finding = misfit(saved, state, records)
        if finding is None:
            try:
                for name, item in state.items():
                    item.load_state_dict(saved["state"][name])
            except (KeyError, RuntimeError, TypeError, ValueError) as error:
                finding = " ".join(f"{name}: {type(error).__name__} {error}".split())
        if finding is not None:
            raise InputError(f"{self.path} is no state of this training ({finding}); {anew}")
        for name, rows in records.items():
            rows[:] = saved["records"][name]
        return int(saved["step"])

    def steps_done(self) -> int | None:
        """Return those of the checkpoint, None if it cannot be read; without one, those of which a result is kept, as
        evaluate_training does. Weights are not read."""
        if not self.path.exists():
            return sum(path.name != DESCRIPTION for path in self.folder.glob("*.json"))
        try:
            return int(self.read(mmap=True)["step"])
        except InputError:
            return None

    def progress(self) -> str:
        """Return the steps done of how many."""
        done, description = self.steps_done(), self.description()
        return f"{'unreadable' if done is None else done} of {'?' if description is None else description.steps}"

    def read(self, mmap: bool = False) -> dict[str, Any]:
        """Return what is in the file.

        With `mmap`, tensors stay there until they are used, and are compared with no checksum: enough to tell the steps.

        Raises:
            InputError: it is not what `save` wrote.
        """
        if not mmap and not (self.path.is_file() and self.is_whole()):
            raise InputError(f"{self.path} cannot be read: it {damage(self.folder)}")
        try:
            saved: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True, mmap=mmap)
            found = saved.get("format")
        except Exception as error:  # torch raises what the damaged byte happens to break
            raise InputError(
                f"{self.path} cannot be read ({type(error).__name__}); remove {self.folder} to start this training anew"
            ) from error
        if found == FORMAT and (part := mistyped(saved)):
            raise InputError(f"{self.path} has no {part} as a training has it; remove {self.folder} to start this training anew")
        if found != FORMAT:
            raise InputError(
                f"{self.path} has format {found}, and this code reads format {FORMAT}: go on with the code that wrote it, "
                f"or remove {self.folder} to start this training anew"
            )
        return saved

    def is_whole(self) -> bool:
        """Return whether every bit of the file is as it was written."""
        with self.path.open("rb") as file:
            size = file.seek(0, os.SEEK_END) - DIGEST_BYTES
            return size >= 0 and digest(file, size) == file.read()

    def remove(self) -> None:
        """Forget the training, which has finished and whose outputs are written, unless another process has it by now."""
        if self.folder.exists():
            with suppress(InputError), nullcontext() if self.is_locked else self.locked():
                # The checkpoint first: one that outlived what was kept beside it would let a run go on without that.
                self.path.unlink(missing_ok=True)
                shutil.rmtree(self.folder, ignore_errors=True)


def damage(folder: Path) -> str:
    """Return the end of a sentence: that something kept of the training in `folder` is no longer what it was, and what to do."""
    return (
        f"is damaged, for its checksum is another; remove {folder} to start this training anew, and see to the health of the disk"
    )


def digest(file: BinaryIO, size: int) -> bytes:
    """Return the sha256 of the first `size` bytes of a file, which is left standing behind them."""
    file.seek(0)
    found = hashlib.sha256()
    while size and (chunk := file.read(min(size, 2**20))):
        found.update(chunk)
        size -= len(chunk)
    return found.digest()


def mistyped(saved: Mapping[str, Any]) -> str | None:
    """Return the first entry that is there and of another kind than `save` writes; None if there is none."""
    kinds: dict[str, type | tuple[type, ...]] = {"step": int, "state": dict, "records": dict}
    parts = saved.get("state")
    inner = parts.values() if isinstance(parts, dict) else ()
    wrong = [name for name, kind in kinds.items() if name in saved and not isinstance(saved[name], kind)]
    return next(iter([*wrong, *("state" for part in inner if not isinstance(part, dict))]), None)


def misfit(saved: Mapping[str, Any], state: Mapping[str, Stateful], records: Mapping[str, list[Any]]) -> str | None:
    """Return what speaks against `saved` being a state of these parts; None if nothing does."""
    for owner, ours, theirs in pairs(saved, state, records):
        for verb, names in (("lacks", ours.keys() - theirs.keys()), ("has the unknown", theirs.keys() - ours.keys())):
            if names:
                return f"{owner} {verb} {', '.join(sorted(names))}"
        for name, value in ours.items():
            if outline(value) != outline(theirs[name]):
                return f"{name} of {owner} has {outline(theirs[name])} elements, not {outline(value)}"
    return None


def pairs(
    saved: Mapping[str, Any], state: Mapping[str, Stateful], records: Mapping[str, list[Any]]
) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield (name, what it should look like, what it looks like); one that fits lets the next be looked at."""
    yield "the file", dict.fromkeys(LAYOUT), saved
    yield "the file", state, saved["state"]
    yield "the file", dict.fromkeys(records), dict.fromkeys(saved["records"])
    for name, item in state.items():
        yield name, item.state_dict(), saved["state"][name]


def outline(value: Any) -> list[int] | None:
    """Return what no training step changes: the shape of a tensor, how many parameters each group of an optimizer has."""
    if isinstance(value, torch.Tensor):
        return list(value.shape)
    if isinstance(value, list):
        return [len(group.get("params", ())) for group in value if isinstance(group, Mapping)]
    return None
