"""The files of a pretrained model: which are needed, and whether they can be read, as far as shows without loading it."""

import json
import re
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from safetensors import safe_open
from tokenizers import Tokenizer

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import one_line, read_json

TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "vocab.txt")
SENTENCEPIECE = ".model"
WEIGHTS = (
    re.compile(r"model(-\d+-of-\d+)?\.safetensors(\.index\.json)?"),
    re.compile(r"pytorch_model(-\d+-of-\d+)?\.bin(\.index\.json)?"),
)
"""Names of weights, the format that is preferred first; an index names the parts of divided ones."""
INDEX = ".index.json"


class ModelChoice(NamedTuple):
    """A model as params.yaml names it. Its kind is a key of `KINDS`."""

    kind: str
    name: str
    revision: str | None

    def __str__(self) -> str:
        return f"{self.kind}_name = {self.name}"


def weight_files(names: Iterable[str]) -> list[str]:
    """Return the weights among the files of one folder, as safetensors if there are any."""
    found = [[name for name in names if pattern.fullmatch(name)] for pattern in WEIGHTS]
    return next(filter(None, found), [])


def model_files(paths: Iterable[str], folders: Collection[str] = ("",)) -> list[str]:
    """Return those files of a model in `folders` that are needed: settings, tokenizer, and weights in one format."""
    needed = []
    for folder in dict.fromkeys(map(PurePosixPath, folders)):
        names = sorted(path.name for path in map(PurePosixPath, paths) if path.parent == folder)
        settings = [name for name in names if name.endswith((".json", ".txt", SENTENCEPIECE)) and not name.endswith(INDEX)]
        needed += [str(folder / name) for name in [*settings, *weight_files(names)]]
    return needed


def require_parts(choice: ModelChoice, files: Sequence[str]) -> None:
    """Check that weights and a tokenizer are among the files of a model.

    Raises:
        InputError: they are not.
    """
    names = [PurePosixPath(file).name for file in files]
    if not any(weight_files([name]) for name in names):
        raise InputError(f"{choice} has no weights (model.safetensors or pytorch_model.bin)")
    if not any(name in TOKENIZER_FILES or name.endswith(SENTENCEPIECE) for name in names):
        raise InputError(f"{choice} has no tokenizer (tokenizer.json, or a vocabulary)")


def require_no_pickle(choice: ModelChoice, files: Sequence[str]) -> None:
    """Check that no weights of a local folder are a pickle, which may hold anything and be cut anywhere; the hub states digests.

    Raises:
        InputError: some are.
    """
    pickles = [file for file in files if WEIGHTS[1].fullmatch(PurePosixPath(file).name)]
    if pickles and choice.revision is None:
        raise InputError(
            f"{choice} has {pickles[0]} and no safetensors beside it: load it where you trust it and save it with save_pretrained"
        )


READERS: dict[str, Callable[[Path], object]] = {
    "tokenizer.json": lambda path: Tokenizer.from_file(str(path)),
    ".safetensors": lambda path: safe_open(path, "np"),  # reads the header, and compares it with the length of the file
    ".json": lambda path: json.loads(path.read_text(encoding="utf-8")),
    ".txt": lambda path: path.read_text(encoding="utf-8"),
}
"""End of a file's name -> what reads it, the first that fits."""


def require_readable(choice: ModelChoice, folder: Path) -> None:
    """Check that the settings, the tokenizer and the weights of a model can be read, and that no part of these is missing.

    Raises:
        InputError: which file cannot.
    """
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        read = next((read for end, read in READERS.items() if path.name.endswith(end)), None)
        try:
            if path.stat().st_size == 0:
                raise ValueError("it is empty")
            if read is not None:
                read(path)
            parts = sorted(set(read_json(path)["weight_map"].values())) if path.name.endswith(INDEX) else []
        except OSError:
            raise
        except Exception as error:  # each library has errors of its own
            cause = one_line(f"{type(error).__name__}: {error}")[:200]
            raise InputError(f"{choice}: {path.relative_to(folder)} is damaged ({cause}): bring it again") from error
        for part in parts:
            if not (path.parent / part).is_file():
                raise InputError(f"{choice} lacks {part}, a part of its weights that {path.name} names")
