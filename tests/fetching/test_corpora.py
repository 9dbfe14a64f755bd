import hashlib
import runpy
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import file_sha256, read_json
from annealed_lm.corpora.files import CORPUS_FILES, E2E_ARCHIVE, E2E_RELEASE, Release
from annealed_lm.fetching import corpora
from annealed_lm.fetching.corpora import fetch_corpus
from support.stand_in_hub import Hub, assert_nothing_left, names, put, serving
from support.tiny import ROOT, write_params


@pytest.fixture
def server() -> Iterator[str]:
    with serving({}) as address:
        yield address


@pytest.fixture
def release(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small archive in the place of E2E's release, published on the server."""
    path = tmp_path / "published.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", b"mr,ref\nname[A],A is a pub.\n")
    published = Release(f"{server}/files/{E2E_ARCHIVE}", file_sha256(path))
    corpus = replace(CORPUS_FILES["e2e"], releases={E2E_ARCHIVE: published})
    monkeypatch.setitem(CORPUS_FILES, "e2e", corpus)
    Hub.files[E2E_ARCHIVE] = path.read_bytes()
    return Hub.files[E2E_ARCHIVE]


def test_the_embedded_corpus_needs_no_file(tmp_path: Path) -> None:
    fetch_corpus("restaurants", [tmp_path / "raw"], tmp_path / "out" / "corpus")
    assert names(tmp_path / "out") == {"corpus/source.json"}
    assert read_json(tmp_path / "out" / "corpus" / "source.json") == {"dataset_name": "restaurants", "files": {}}


def test_the_user_s_files_are_copied_with_their_digests(tmp_path: Path) -> None:
    source = put(tmp_path / "raw" / "text" / "texts.txt", b"One.\nTwo.\n")
    put(tmp_path / "raw" / "text" / "notes.md", b"not asked for")
    fetch_corpus("text", [tmp_path / "raw"], tmp_path / "corpus")
    assert (tmp_path / "corpus" / "texts.txt").read_bytes() == source.read_bytes()
    assert names(tmp_path / "corpus") == {"source.json", "texts.txt"}
    assert read_json(tmp_path / "corpus" / "source.json")["files"] == {"texts.txt": file_sha256(source)}


def test_the_stage_takes_the_user_s_files_and_knows_the_project_it_is_a_copy_of(
    tmp_path: Path, release: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(tmp_path / "project" / "data" / "raw" / "e2e" / E2E_ARCHIVE, release)
    put(tmp_path / "copy" / "data" / "raw" / "text" / "texts.txt", b"One.\n")
    Hub.files.clear()
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setenv("DVC_ROOT", str(tmp_path / "project"))
    for dataset_name, file in (("text", "texts.txt"), ("e2e", E2E_ARCHIVE)):
        write_params(Path("params.yaml"), {"dataset_name": dataset_name})
        monkeypatch.setattr(sys, "argv", ["fetch_corpus", "--params=params.yaml", "--raw=data/raw", "--out=data/corpus"])
        runpy.run_path(str(ROOT / "src" / "fetch_corpus.py"), run_name="__main__")
        assert names(Path("data/corpus")) == {"source.json", file}
        assert read_json(Path("data/corpus/source.json"))["dataset_name"] == dataset_name


def test_only_a_published_file_is_taken_from_another_folder_than_the_first(tmp_path: Path, release: bytes) -> None:
    folders = [tmp_path / "first", tmp_path / "second"]
    put(tmp_path / "second" / "e2e" / E2E_ARCHIVE, release)
    del Hub.files[E2E_ARCHIVE]  # it cannot come from the network
    fetch_corpus("e2e", folders, tmp_path / "corpus")
    assert (tmp_path / "corpus" / E2E_ARCHIVE).read_bytes() == release
    put(tmp_path / "second" / "text" / "texts.txt", b"could change unseen")
    with pytest.raises(InputError, match=r"texts\.txt is not there"):
        fetch_corpus("text", folders, tmp_path / "corpus")


def test_files_of_the_official_split_come_along_where_they_are(tmp_path: Path) -> None:
    put(tmp_path / "raw" / "roc" / "train.json", b'["One."]\n')
    fetch_corpus("roc", [tmp_path / "raw"], tmp_path / "random")
    assert names(tmp_path / "random") == {"source.json", "train.json"}
    put(tmp_path / "raw" / "roc" / "valid.json", b'["Two."]\n')
    fetch_corpus("roc", [tmp_path / "raw"], tmp_path / "official")
    assert names(tmp_path / "official") == {"source.json", "train.json", "valid.json"}


def test_a_csv_file_of_roc_comes_in_the_place_of_the_other_one(tmp_path: Path) -> None:
    put(tmp_path / "raw" / "roc" / "train.csv", b"storyid")
    fetch_corpus("roc", [tmp_path / "raw"], tmp_path / "csv")
    assert names(tmp_path / "csv") == {"source.json", "train.csv"}
    (tmp_path / "raw" / "roc" / "train.csv").unlink()
    put(tmp_path / "raw" / "roc" / "train.json", b'["One."]\n')
    put(tmp_path / "raw" / "roc" / "valid.csv", b"storyid")
    fetch_corpus("roc", [tmp_path / "raw"], tmp_path / "both")
    assert names(tmp_path / "both") == {"source.json", "train.json", "valid.csv"}


@pytest.mark.parametrize(
    ("dataset_name", "one", "other"), [("text", "texts.txt", "texts.jsonl"), ("roc", "train.json", "train.csv")]
)
def test_of_two_files_that_stand_for_each_other_neither_is_taken(dataset_name: str, one: str, other: str, tmp_path: Path) -> None:
    for name in (one, other):
        put(tmp_path / "raw" / dataset_name / name, b"")
    with pytest.raises(InputError, match=rf"{one} and {other} are both there, .*: remove the other"):
        fetch_corpus(dataset_name, [tmp_path / "raw"], tmp_path / "corpus")


@pytest.mark.parametrize(("dataset_name", "file"), [("text", "texts.txt"), ("roc", "train.json")])
def test_a_missing_file_is_named_with_its_place(tmp_path: Path, dataset_name: str, file: str) -> None:
    with pytest.raises(InputError, match=rf"second/{dataset_name}/{file} is not there.*: .* put it there"):
        fetch_corpus(dataset_name, [tmp_path / "first", tmp_path / "second"], tmp_path / "out" / "corpus")
    assert_nothing_left(tmp_path)


def test_a_release_is_taken_from_the_raw_folder(tmp_path: Path, release: bytes) -> None:
    Hub.files.clear()
    put(tmp_path / "raw" / "e2e" / E2E_ARCHIVE, release)
    fetch_corpus("e2e", [tmp_path / "raw"], tmp_path / "corpus")
    assert (tmp_path / "corpus" / E2E_ARCHIVE).read_bytes() == release


def test_another_release_in_the_raw_folder_is_refused(tmp_path: Path, release: bytes) -> None:
    put(tmp_path / "raw" / "e2e" / E2E_ARCHIVE, release + b" ")
    with pytest.raises(InputError, match=rf"raw/e2e/{E2E_ARCHIVE} has sha256 [0-9a-f]+, not "):
        fetch_corpus("e2e", [tmp_path / "raw"], tmp_path / "out" / "corpus")
    assert_nothing_left(tmp_path)


def test_a_release_is_downloaded(tmp_path: Path, release: bytes) -> None:
    fetch_corpus("e2e", [tmp_path / "raw"], tmp_path / "corpus")
    assert (tmp_path / "corpus" / E2E_ARCHIVE).read_bytes() == release
    assert read_json(tmp_path / "corpus" / "source.json")["files"] == {E2E_ARCHIVE: hashlib.sha256(release).hexdigest()}
    assert not (tmp_path / "raw").exists()


def test_failed_downloads_say_where_to_put_the_file(tmp_path: Path, release: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(reason: str) -> None:
        with pytest.raises(InputError, match=rf"{reason}.*: put that file at {tmp_path}/raw/e2e/{E2E_ARCHIVE}$"):
            fetch_corpus("e2e", [tmp_path / "raw"], tmp_path / "out" / "corpus")
        assert_nothing_left(tmp_path)

    Hub.broken = E2E_ARCHIVE
    fails("cannot be fetched .*IncompleteRead")
    Hub.files[E2E_ARCHIVE], Hub.broken = b"a log-in page", None
    fails("sent something else than the published file")
    with monkeypatch.context() as patch:
        patch.setattr(corpora, "LARGEST", 10)
        Hub.files[E2E_ARCHIVE] = release
        fails("sent something else than the published file")  # of which no more is taken
    del Hub.files[E2E_ARCHIVE]
    fails("cannot be fetched .*404")
    offline = Release("http://127.0.0.1:9/e2e-dataset.zip", E2E_RELEASE.sha256)
    monkeypatch.setitem(CORPUS_FILES, "e2e", replace(CORPUS_FILES["e2e"], releases={E2E_ARCHIVE: offline}))
    fails("cannot be fetched .*refused")
