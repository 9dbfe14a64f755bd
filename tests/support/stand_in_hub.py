"""A model hub and file server on this machine, and the files that tests of downloads put and look for."""

import hashlib
import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

REVISION = "a" * 40


class Hub(BaseHTTPRequestHandler):
    """Answers what a download asks: of the models in `models`, each at one revision, and of the files in `files`."""

    models: dict[str, dict[str, bytes]]  # by name, then by path
    files: dict[str, bytes]  # outside of models
    broken: str | None  # this file ends in the middle
    lost: str | None  # this file is listed, and not there
    misstated: str | None  # of this file the hub states the digest of other bytes
    states: bool  # digests
    requests: list[str]

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

    def stated(self, path: str, data: bytes) -> dict[str, Any]:
        """As the hub: weights by their sha256, other files by git's name of them."""
        data = b"other bytes" if path == self.misstated else data
        stated: dict[str, Any] = {"size": len(data), "blobId": hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()}
        if path.endswith((".safetensors", ".bin")):
            stated["lfs"] = {"size": len(data), "sha256": hashlib.sha256(data).hexdigest(), "pointerSize": 134}
        return stated

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.requests.append(f"{self.command} {path}")
        if path.startswith("/files/") and path.removeprefix("/files/") in self.files:
            self.answer(self.files[path.removeprefix("/files/")])
        elif path.startswith("/api/models/"):
            self.answer_about("/".join(path.split("/")[3:5]), path.split("/")[5:])
        else:
            self.answer_file("/".join(path.split("/")[1:3]), path.split("/")[3:])

    def answer_about(self, model: str, asked: list[str]) -> None:
        files = self.models.get(model)
        if files is None:
            self.answer(b"{}", 404, X_Error_Code="RepoNotFound")
        elif asked == ["revision", REVISION]:
            stated = self.states and "blobs=true" in self.path
            listed = [{"rfilename": path, **(self.stated(path, data) if stated else {})} for path, data in files.items()]
            self.answer(json.dumps({"id": model, "sha": REVISION, "siblings": listed}).encode())
        elif asked == ["tree", REVISION]:
            rows = [{"type": "file", "path": path, "size": len(data), "oid": "0" * 40} for path, data in files.items()]
            self.answer(json.dumps(rows).encode())
        else:
            self.answer(b"{}", 404, X_Error_Code="RevisionNotFound")

    def answer_file(self, model: str, asked: list[str]) -> None:
        path = "/".join(asked[2:])
        data = self.models.get(model, {}).get(path)
        if asked[:2] == ["resolve", REVISION] and data is not None and path != self.lost:
            self.answer(data, ETag=f'"{hashlib.sha1(path.encode()).hexdigest()}"', X_Repo_Commit=REVISION)
        else:
            self.answer(b"", 404, X_Error_Code="EntryNotFound", X_Repo_Commit=REVISION)


@contextmanager
def serving(models: Mapping[str, Mapping[str, bytes]]) -> Iterator[str]:
    """Serve copies of `models`; the address."""
    Hub.models = {name: dict(files) for name, files in models.items()}
    Hub.files, Hub.requests = {}, []
    Hub.broken = Hub.lost = Hub.misstated = None
    Hub.states = True
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as running:
        threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def assert_nothing_left(tmp_path: Path) -> None:
    """Neither the target in out/ nor a half-written neighbour of it, hidden ones included."""
    assert list((tmp_path / "out").iterdir()) == []
