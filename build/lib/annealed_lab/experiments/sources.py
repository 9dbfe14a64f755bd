"""Find experiments to compare and read their files, from git commits and from folders of the same layout."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from annealed_lab.experiments.finished import commit_of, finished_experiments, git
from annealed_lab.experiments.places import PLACES
from annealed_lm.common.errors import InputError


class Source(Protocol):
    """Read the files of one experiment.

    Attributes:
        commit: None for a folder.
        newness: seconds of the commit; 0 for a folder, whose times say when it was copied.
    """

    commit: str | None
    newness: int

    def read(self, path: str) -> str | None:
        """Return the text of a file; None where there is no such file. White space around it may be lost."""
        ...


class CommitSource:
    """Read the files of a commit."""

    def __init__(self, commit: str) -> None:
        self.commit: str | None = commit
        self.newness = int(git("show", "--no-patch", "--format=%ct", commit) or 0)

    def read(self, path: str) -> str | None:
        return git("show", f"{self.commit}:{path}")


class FolderSource:
    """Read the files of a folder."""

    commit: str | None = None
    newness = 0

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def read(self, path: str) -> str | None:
        file = self.folder / path
        return file.read_text(encoding="utf-8") if file.is_file() else None


class Candidate(NamedTuple):
    """Name an experiment that may be compared.

    Attributes:
        required: whether it was named itself, and not found under a prefix or in a folder: then it has to be complete.
    """

    name: str
    source: Source
    required: bool


def folder_candidates(folders: Sequence[Path]) -> Iterator[Candidate]:
    """Yield the folders that hold an experiment, and of every other folder those that lie in it.

    Raises:
        InputError: a folder is missing, or neither it nor any folder in it holds an experiment.
    """
    for folder in folders:
        if (folder / PLACES["params"]).is_file():
            yield Candidate(str(folder), FolderSource(folder), required=True)
            continue
        children = sorted(path for path in folder.glob("*/") if not path.name.startswith("."))
        if not any((child / PLACES["params"]).is_file() for child in children):
            raise InputError(
                f"{folder} holds no experiment: it, or folders in it, should have {PLACES['params']}, metrics/ and plots/"
            )
        yield from (Candidate(str(child), FolderSource(child), required=False) for child in children)


def commit_candidates(names: Sequence[str], prefixes: Sequence[str], everything: bool) -> Iterator[Candidate]:
    """Yield experiments that git keeps: those of the names, those whose names begin with a prefix, or all finished ones.

    Raises:
        InputError: there is no experiment of a name or prefix.
    """
    finished = finished_experiments()
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in finished):
            raise InputError(f"no finished experiment has a name that begins with {prefix!r}; dvc exp list names them")
    chosen = {name: commit for name, commit in finished.items() if everything or name.startswith(tuple(prefixes))}
    for name in names:
        chosen.pop(name, None)
        yield Candidate(name, CommitSource(commit_of(name)), required=True)
    yield from (Candidate(name, CommitSource(commit), required=False) for name, commit in chosen.items())
