"""Files of corpora as they may come, cut, mixed up, of other kinds: prepare_data reads them, or says in one sentence why not."""

import random
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

import prepare_data
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import partials
from support.raw_files import AG_NEWS, SST2
from support.tiny import TEXTS, write_params

pytestmark = pytest.mark.slow

LINES = "".join(f"{text}\n" for text in TEXTS)
STORIES = "".join(f'["{text}."]\n' for text in TEXTS)
CORPORA: dict[str, dict[str, bytes]] = {
    "text": {"texts.txt": LINES.encode()},
    "roc": {"train.json": STORIES.encode(), "valid.json": STORIES[:3000].encode(), "test.json": STORIES[:3000].encode()},
    "sst2": {name: text.encode() for name, text in SST2.items()},
    "ag_news": {name: text.encode() for name, text in AG_NEWS.items()},
}
Change = Callable[[bytes, random.Random], bytes]


def flipped(data: bytes, draw: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(20):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def spliced(data: bytes, draw: random.Random) -> bytes:
    pieces = [
        b"\0" * 50,
        b'"' * 3,
        b"\r",
        b"\t\t\t",
        b"\xff\xfe",
        "\u2028\u200b\u00ad\ufeff".encode(),
        b"a" * 200_000,
        b"[" * 5000,
        b"\\",
    ]
    for piece in pieces:
        place = draw.randrange(len(data))
        data = data[:place] + piece + data[place:]
    return data


CHANGES: dict[str, Change] = {
    "empty": lambda data, draw: b"",
    "cut": lambda data, draw: data[: draw.randrange(len(data))],
    "a byte": lambda data, draw: data[:1],
    "flipped": flipped,
    "spliced": spliced,
    "noise": lambda data, draw: draw.randbytes(3000),
    "UTF-16": lambda data, draw: data.decode().encode("utf-16"),
    "UTF-16 without a mark": lambda data, draw: data.decode().encode("utf-16-le"),
    "UTF-8 with a mark": lambda data, draw: b"\xef\xbb\xbf" + data,
    "Latin-1": lambda data, draw: data.replace(b"e", b"\xe9"),
    "Windows lines": lambda data, draw: data.replace(b"\n", b"\r\n"),
    "one line": lambda data, draw: data.replace(b"\n", b" "),
    "blank lines": lambda data, draw: data.replace(b"\n", b"\n\n \n"),
    "a null for each": lambda data, draw: b"null\n" * 50,
    "JSON": lambda data, draw: b'{"text": ["a", {"b": 1}], "label": NaN}\n' * 50,
    "zip": lambda data, draw: b"PK\x03\x04" + data,
}


def prepared(folder: Path, corpus: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The sentence that the stage ends with, or nothing."""
    write_params(
        folder / "params.yaml", {"dataset_name": corpus, "sample_texts": {"num_samples": 20}, "prepare_data": {"split": "random"}}
    )
    paths = {"params": folder / "params.yaml", "corpus": folder / "corpus", "out": folder / "out"}
    monkeypatch.setattr(sys, "argv", ["prepare_data.py", *(f"--{name}={path}" for name, path in paths.items())])
    try:
        prepare_data.main()
    except InputError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("corpus", CORPORA)
def test_a_changed_file_is_read_or_refused_in_one_sentence(
    corpus: str, change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "corpus").mkdir()
    for number, changed in enumerate([*CORPORA[corpus], None]):
        draw = random.Random(f"{corpus} {change} {number}")
        for name, data in CORPORA[corpus].items():
            is_changed = changed in (name, None)  # one after the other, then all of them
            (tmp_path / "corpus" / name).write_bytes(CHANGES[change](data, draw) if is_changed else data)
        told = prepared(tmp_path, corpus, monkeypatch)
        assert len(told.splitlines()) <= 1
        assert len(told) < 1000
        assert (tmp_path / "out").exists() or told
        assert partials(tmp_path) == []


@pytest.mark.parametrize("corpus", CORPORA)
def test_something_else_in_the_place_of_a_file_is_one_sentence(
    corpus: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = next(iter(CORPORA[corpus]))
    places: tuple[Callable[[Path], None], ...] = (
        Path.mkdir,
        lambda path: path.symlink_to(path),
        lambda path: path.symlink_to(tmp_path / "nowhere"),
        lambda path: None,
    )
    for number, put in enumerate(places):
        (tmp_path / "corpus").mkdir()
        for name, data in CORPORA[corpus].items():
            if name != first:
                (tmp_path / "corpus" / name).write_bytes(data)
        put(tmp_path / "corpus" / first)
        told = prepared(tmp_path, corpus, monkeypatch)
        assert len(told.splitlines()) == 1
        (tmp_path / "corpus").rename(tmp_path / str(number))


def test_an_archive_in_the_place_of_texts_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").mkdir()
    with zipfile.ZipFile(tmp_path / "corpus" / "texts.txt", "w") as archive:
        archive.writestr("texts.txt", LINES)
    assert len(prepared(tmp_path, "text", monkeypatch).splitlines()) == 1
