"""The files of each corpus: which are needed, where published ones come from, and how texts are read out of them."""

import csv
import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from annealed_lm.errors import InputError

Splits = dict[str, list[str]]
"""Texts by split: train, valid and test; or train alone, of which a share is held out afterwards."""

ROC_VALID_LINES = 1000
"""So many lines of ROCStories' valid.json are for validation, the rest is the test split."""


@dataclass(frozen=True)
class Release:
    """A file as its authors published it."""

    address: str
    sha256: str


@dataclass(frozen=True)
class CorpusFiles:
    """What a corpus is read from.

    Attributes:
        required: the file names that each kind of split (official, random) needs; official needs those of random at least.
        read: (folder of the files, kind of split) -> texts.
        releases: the files that can be fetched, by name.
    """

    required: Mapping[str, tuple[str, ...]]
    read: Callable[[Path, str], Splits]
    releases: Mapping[str, Release] = field(default_factory=dict)


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, with or without a byte order mark.

    Raises:
        InputError: naming the first line that is not UTF-8.
    """
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise InputError(f"{path} line {line} is not UTF-8: save the file in that encoding") from error
    # Not splitlines(): that also breaks at rare separators, which are the cleaning's business.
    lines = text.replace("\r\n", "\n").split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def read_nothing(folder: Path, split: str) -> Splits:
    """The embedded corpus has no files."""
    return {}


def read_text(folder: Path, split: str) -> Splits:
    """One text a line; there is no official split."""
    return {"train": read_lines(folder / "texts.txt")}


def read_json_lines(path: Path) -> list[str]:
    """Texts of a file that holds one JSON list of one string a line; a blank line is an empty text.

    Raises:
        InputError: naming the first line that is anything else.
    """
    texts = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line.strip():
            texts.append("")
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        match value:
            case [str() as text]:
                texts.append(text)
            case _:
                raise InputError(f'{path} line {number} is not a JSON list of one string, such as ["Ann went home."]')
    return texts


def read_roc(folder: Path, split: str) -> Splits:
    """ROCStories (Mostafazadeh et al. 2016, arXiv 1604.01696) as text diffusion repositories lay it out."""
    train = read_json_lines(folder / "train.json")
    if split == "random":
        return {"train": train}
    held_out = read_json_lines(folder / "valid.json")
    return {"train": train, "valid": held_out[:ROC_VALID_LINES], "test": held_out[ROC_VALID_LINES:]}


E2E_ARCHIVE = "e2e-dataset.zip"
E2E_RELEASE = Release(
    address="https://github.com/tuetschek/e2e-dataset/releases/download/v1.0.0/e2e-dataset.zip",
    sha256="1261064c01907af27e8cc39e0a29a81541f6ab69208c1cbfc1be95afbb49dfac",
)
E2E_MEMBERS = {
    "train": ("e2e-dataset/trainset.csv", "530eb457155d788912309689cab6f36d"),
    "valid": ("e2e-dataset/devset.csv", "41ab9e06dd4e08ce2a3408f5f652e921"),
    "test": ("e2e-dataset/testset_w_refs.csv", "630c2ad9466add8074d62735fe1c193a"),
}
"""Split -> member of the archive and its md5."""


def read_e2e(folder: Path, split: str, members: Mapping[str, tuple[str, str]]) -> Splits:
    """The reference texts of the E2E NLG release 1.0.0 (Novikova et al. 2017, arXiv 1706.09254, CC BY-SA 4.0).

    Raises:
        InputError: the archive is damaged, or its members are not the published ones.
    """
    archive = folder / E2E_ARCHIVE
    texts = {}
    for name in ["train"] if split == "random" else members:
        member, md5 = members[name]
        try:
            with zipfile.ZipFile(archive) as opened:
                data = opened.read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
            raise InputError(f"{archive} is no whole E2E archive ({error}): remove it and fetch it again") from error
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
            raise InputError(f"{archive}: {member} is not the published file (md5 {md5}): remove the archive and fetch it again")
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        texts[name] = [row["ref"] for row in rows]
    return texts


CORPUS_FILES: dict[str, CorpusFiles] = {
    "restaurants": CorpusFiles(required={"official": (), "random": ()}, read=read_nothing),
    "e2e": CorpusFiles(
        required={"official": (E2E_ARCHIVE,), "random": (E2E_ARCHIVE,)},
        read=partial(read_e2e, members=E2E_MEMBERS),
        releases={E2E_ARCHIVE: E2E_RELEASE},
    ),
    "roc": CorpusFiles(required={"official": ("train.json", "valid.json"), "random": ("train.json",)}, read=read_roc),
    "text": CorpusFiles(required={"official": ("texts.txt",), "random": ("texts.txt",)}, read=read_text),
}
"""By dataset_name. To add a corpus, write its reader here and enter it; fetching and preparing find it."""
