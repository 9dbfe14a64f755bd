import errno
import hashlib
import json
import os
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest

from annealed_lm import fetching
from annealed_lm.corpus_files import CORPUS_FILES, E2E_ARCHIVE, E2E_RELEASE, Release, read_e2e
from annealed_lm.errors import InputError
from annealed_lm.fetching import fetch_autoencoder, fetch_corpus, model_files
from annealed_lm.files import file_sha256, read_json

REVISION = "a" * 40
BART = {
    "config.json": b'{"model_type": "bart"}',
    "tokenizer.json": b"{}",
    "merges.txt": b"a b\n",
    "model.safetensors": b"w" * 5000,
}


class Hub(BaseHTTPRequestHandler):
    """The requests of a model hub that a download makes, for the one model org/bart at one revision, and a file server."""

    files: dict[str, bytes]
    broken: str | None  # this file ends in the middle

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def answer(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body[: len(body) // 2] if self.path.endswith(str(self.broken)) else body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        name = path.rpartition("/")[2]
        etag = hashlib.sha1(path.encode()).hexdigest()
        if path == f"/api/models/org/bart/revision/{REVISION}":
            listed = [{"rfilename": name} for name in self.files]
            self.answer(json.dumps({"id": "org/bart", "sha": REVISION, "siblings": listed}).encode())
        elif path == f"/api/models/org/bart/tree/{REVISION}":
            rows = [{"type": "file", "path": name, "size": len(data), "oid": etag} for name, data in self.files.items()]
            self.answer(json.dumps(rows).encode())
        elif path.startswith("/api/models/org/bart"):
            self.answer(b"{}", 404, X_Error_Code="RevisionNotFound")
        elif path.startswith("/api/models"):
            self.answer(b"{}", 404, X_Error_Code="RepoNotFound")
        elif name in self.files and path in (f"/org/bart/resolve/{REVISION}/{name}", f"/files/{name}"):
            self.answer(self.files[name], ETag=f'"{etag}"', X_Repo_Commit=REVISION)
        else:
            self.answer(b"", 404, X_Error_Code="EntryNotFound")


@pytest.fixture
def server() -> Iterator[str]:
    Hub.files, Hub.broken = dict(BART), None
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def use_hub(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the environment variables HF_ENDPOINT and HF_HUB_OFFLINE do, which are read when the library is imported."""
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("time.sleep", lambda seconds: None)  # between repeated requests


@pytest.fixture
def hub(server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    use_hub(server, monkeypatch)
    return server


@pytest.fixture
def release(tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A small archive in the place of E2E's release, published on the server."""
    path, rows = tmp_path / "published.zip", b"mr,ref\nname[A],A is a pub.\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", rows)
    members = dict.fromkeys(("train", "valid", "test"), ("train.csv", hashlib.md5(rows).hexdigest()))
    published = Release(f"{server}/files/{E2E_ARCHIVE}", file_sha256(path))
    corpus = replace(CORPUS_FILES["e2e"], read=partial(read_e2e, members=members), releases={E2E_ARCHIVE: published})
    monkeypatch.setitem(CORPUS_FILES, "e2e", corpus)
    Hub.files[E2E_ARCHIVE] = path.read_bytes()
    return Hub.files[E2E_ARCHIVE]


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def assert_nothing_left(tmp_path: Path) -> None:
    """Neither the target nor a half-written neighbour of it, hidden ones included."""
    assert list((tmp_path / "out").iterdir()) == []


# Corpora


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


@pytest.mark.parametrize(("dataset_name", "file"), [("text", "texts.txt"), ("roc", "train.json")])
def test_a_missing_file_is_named_with_its_place(tmp_path: Path, dataset_name: str, file: str) -> None:
    with pytest.raises(InputError, match=rf"second/{dataset_name}/{file} is not there: .* put it there"):
        fetch_corpus(dataset_name, [tmp_path / "first", tmp_path / "second"], tmp_path / "out" / "corpus")
    assert_nothing_left(tmp_path)


def test_an_unreadable_file_is_named_where_the_user_put_it(tmp_path: Path) -> None:
    put(tmp_path / "raw" / "roc" / "train.json", b'["One."]\n')
    put(tmp_path / "raw" / "roc" / "valid.json", b"Two.\n")
    with pytest.raises(InputError, match=r"raw/roc/valid\.json line 1 is not a JSON list"):
        fetch_corpus("roc", [tmp_path / "raw"], tmp_path / "out" / "corpus")
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
    del Hub.files[E2E_ARCHIVE]
    fails("cannot be fetched .*404")
    offline = Release("http://127.0.0.1:9/e2e-dataset.zip", E2E_RELEASE.sha256)
    monkeypatch.setitem(CORPUS_FILES, "e2e", replace(CORPUS_FILES["e2e"], releases={E2E_ARCHIVE: offline}))
    fails("cannot be fetched .*refused")


# Models


@pytest.mark.parametrize(
    ("weights", "needed"),
    [
        (["model.safetensors", "pytorch_model.bin"], ["model.safetensors"]),
        (["pytorch_model.bin"], ["pytorch_model.bin"]),
        (["pytorch_model-1-of-2.bin", "pytorch_model-2-of-2.bin"], ["pytorch_model-1-of-2.bin", "pytorch_model-2-of-2.bin"]),
        ([], []),
    ],
)
def test_only_what_is_needed_of_a_model_is_brought(weights: list[str], needed: list[str]) -> None:
    others = ["README.md", "flax_model.msgpack", "tf_model.h5", "training_args.bin", "onnx/config.json", "onnx/x.safetensors"]
    assert model_files([*weights, *others, "merges.txt", "config.json"]) == ["config.json", "merges.txt", *needed]


def test_no_name_no_model(tmp_path: Path) -> None:
    fetch_autoencoder(None, None, [tmp_path], tmp_path / "pretrained")
    assert names(tmp_path / "pretrained") == {"source.json"}
    assert read_json(tmp_path / "pretrained" / "source.json") == {"autoencoder": None}


def make_model(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        put(folder / name, data)
    return folder


def test_a_local_model_is_copied_with_links_resolved(tmp_path: Path) -> None:
    weights = put(tmp_path / "blobs" / "1234", BART["model.safetensors"])
    folder = make_model(tmp_path / "root" / "bart", {"config.json": BART["config.json"], "optimizer.pt": b"large"})
    (folder / "model.safetensors").symlink_to(weights)
    for name in (str(folder), "bart"):  # absolute, or below a root
        fetch_autoencoder(name, None, [tmp_path, tmp_path / "root"], tmp_path / "pretrained")
        copied = tmp_path / "pretrained" / "autoencoder"
        assert names(copied) == {"config.json", "model.safetensors"}
        assert not (copied / "model.safetensors").is_symlink()
        source = read_json(tmp_path / "pretrained" / "source.json")["autoencoder"]
        assert (source["name"], source["revision"]) == (name, None)
        assert source["files"] == {file: file_sha256(copied / file) for file in names(copied)}


@pytest.mark.parametrize(
    ("files", "reason"),
    [
        ({"model.safetensors": b"w"}, r"has no config\.json with a model_type"),
        ({"config.json": b"not JSON"}, r"has no config\.json with a model_type"),
        ({"config.json": b"[]"}, r"has no config\.json with a model_type"),
        ({"config.json": b"{}"}, r"has no config\.json with a model_type"),
        ({"config.json": b'{"model_type": "t5"}', "model.safetensors": b"w"}, "is a model of type t5: only bart"),
        ({"config.json": b'{"model_type": "bart"}'}, "has no weights"),
    ],
)
def test_a_folder_that_is_no_bart_is_refused(tmp_path: Path, files: dict[str, bytes], reason: str) -> None:
    folder = make_model(tmp_path / "model", files)
    with pytest.raises(InputError, match=f"autoencoder_name = {folder} {reason}"):
        fetch_autoencoder(str(folder), None, [tmp_path], tmp_path / "out" / "pretrained")
    assert_nothing_left(tmp_path)


def test_a_revision_goes_with_a_hub_name_and_only_with_it(tmp_path: Path) -> None:
    folder = make_model(tmp_path / "bart", BART)
    with pytest.raises(InputError, match="is a local folder, which has no revision"):
        fetch_autoencoder(str(folder), REVISION, [tmp_path], tmp_path / "out" / "pretrained")
    with pytest.raises(InputError, match="org/bart is no local folder; a name on the hub needs an autoencoder_revision"):
        fetch_autoencoder("org/bart", None, [tmp_path], tmp_path / "out" / "pretrained")
    assert_nothing_left(tmp_path)


def test_a_model_of_the_hub_is_downloaded(tmp_path: Path, hub: str) -> None:
    Hub.files |= {"pytorch_model.bin": b"the same weights again", "README.md": b"about"}
    fetch_autoencoder("org/bart", REVISION, [tmp_path], tmp_path / "pretrained")
    assert names(tmp_path / "pretrained") == {"source.json"} | {f"autoencoder/{name}" for name in BART}
    for name, data in BART.items():
        assert (tmp_path / "pretrained" / "autoencoder" / name).read_bytes() == data
    source = read_json(tmp_path / "pretrained" / "source.json")["autoencoder"]
    assert (source["name"], source["revision"]) == ("org/bart", REVISION)
    assert source["files"] == {name: hashlib.sha256(data).hexdigest() for name, data in BART.items()}


@pytest.mark.parametrize(
    ("name", "revision", "reason"),
    [
        ("org/brat", REVISION, "autoencoder_name = org/brat is no folder and no model that the hub shows: check the spelling"),
        ("../no//name", REVISION, "is no folder and no model that the hub shows: check the spelling"),
        ("org/bart", "b" * 40, f"autoencoder_name = org/bart has no revision {'b' * 40} on the hub"),
    ],
)
def test_unknown_names_and_revisions(tmp_path: Path, hub: str, name: str, revision: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        fetch_autoencoder(name, revision, [tmp_path], tmp_path / "out" / "pretrained")
    assert_nothing_left(tmp_path)


def test_another_kind_of_model_on_the_hub_is_refused_before_its_weights_come(tmp_path: Path, hub: str) -> None:
    Hub.files["config.json"], Hub.broken = b'{"model_type": "gpt2"}', "model.safetensors"
    with pytest.raises(InputError, match="is a model of type gpt2: only bart"):
        fetch_autoencoder("org/bart", REVISION, [tmp_path], tmp_path / "out" / "pretrained")
    assert_nothing_left(tmp_path)


def test_a_broken_connection_leaves_no_half_model(tmp_path: Path, hub: str) -> None:
    Hub.broken = "model.safetensors"
    with pytest.raises(InputError, match=r"org/bart cannot be downloaded .*: run this stage where there is a network"):
        fetch_autoencoder("org/bart", REVISION, [tmp_path], tmp_path / "out" / "pretrained")
    assert_nothing_left(tmp_path)


def test_without_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_hub("http://127.0.0.1:9", monkeypatch)
    with pytest.raises(
        InputError, match=r"cannot be downloaded .*refused\): run this stage where there is a network, or give a local"
    ):
        fetch_autoencoder("org/bart", REVISION, [tmp_path], tmp_path / "out" / "pretrained")
    assert_nothing_left(tmp_path)


def test_a_full_disk_is_not_taken_for_a_broken_connection(tmp_path: Path, hub: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **options: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "model.safetensors")

    monkeypatch.setattr(fetching, "snapshot_download", full)
    with pytest.raises(OSError, match="No space left"):
        fetch_autoencoder("org/bart", REVISION, [tmp_path], tmp_path / "out" / "pretrained")
    assert_nothing_left(tmp_path)
