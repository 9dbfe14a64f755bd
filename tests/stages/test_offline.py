"""The default pipeline in a process that reaches no machine but this one, and that finds no downloaded model."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.projects import ROOT, STAGES, commands, copy_code, outs

IN_TURN = """
import json, pathlib, runpy, sys
for script, *arguments in json.loads(sys.argv[1]):
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
    if script == "src/prepare_data.py":
        pathlib.Path("data/prepared/test.jsonl").write_text("not a row")
"""
"""Runs scripts in one process, for the libraries take seconds to import; makes the test split unreadable."""
GUARD = """
import sys

CONNECTS = {"socket.connect", "socket.sendto", "socket.sendmsg"}
RESOLVES = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
HERE = {"127.0.0.1", "::1", "localhost", "", None}

def guard(event, arguments):
    if event not in CONNECTS | RESOLVES:
        return
    address = arguments[1] if event in CONNECTS else arguments[0]
    if event in CONNECTS and not isinstance(address, tuple):
        return  # a socket of the file system, or one that is connected already
    host = address[0] if isinstance(address, tuple) else address
    host = host.decode() if isinstance(host, bytes) else host
    if host not in HERE:
        print(f"REFUSED {event} {host}", file=sys.stderr)  # so that it shows where a library passes over the error too
        raise PermissionError(f"{event} {host}")

sys.addaudithook(guard)
"""
"""Refuses what Python reports before it connects to an address or resolves a name. It cannot be taken out again."""

ATTEMPTS = """
import socket, sys, tempfile

def reached(attempt, *arguments):
    try:
        attempt(*arguments)
    except PermissionError:
        return False
    return True

def connect(family, address, listening_on=None):
    with socket.socket(family) as server, socket.socket(family) as client:
        if listening_on is not None:
            server.bind(listening_on)
            server.listen()
            address = server.getsockname()
        client.settimeout(1)
        client.connect(address)

def connect_ex():
    with socket.socket() as client:
        client.settimeout(1)
        client.connect_ex(("192.0.2.1", 443))

def send():
    with socket.socket(type=socket.SOCK_DGRAM) as client:
        client.sendto(b"", ("192.0.2.1", 53))

def library():
    from huggingface_hub import HfApi
    HfApi().model_info("org/model", timeout=5)

assert not reached(connect, socket.AF_INET, ("192.0.2.1", 80))
assert not reached(connect, socket.AF_INET6, ("2001:db8::1", 80))
assert not reached(connect_ex)
assert not reached(send)
assert not reached(socket.getaddrinfo, "huggingface.co", 443)
assert not reached(socket.getaddrinfo, b"huggingface.co", 443)
assert not reached(socket.gethostbyname, "huggingface.co")
try:
    library()
except Exception as error:
    print(type(error).__name__)
else:
    raise AssertionError("a library came through")
assert reached(connect, socket.AF_INET, None, ("127.0.0.1", 0))
assert reached(connect, socket.AF_UNIX, None, tempfile.mkdtemp() + "/socket")
assert reached(socket.getaddrinfo, "localhost", 80)
print("all attempts made")
"""


def run_guarded(folder: Path, models: Path, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in `folder` behind the guard, with nothing in the environment that tells the model libraries to stay offline."""
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("HF_", "TRANSFORMERS_", "HUGGINGFACE_"))
    }
    environment |= {"HF_HOME": str(models), "OMP_NUM_THREADS": "1", "PYTHONPATH": "src"}
    command = [sys.executable, "-c", GUARD + code, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_guard_refuses_other_machines_and_their_names_and_nothing_else(tmp_path: Path) -> None:
    finished = run_guarded(ROOT, tmp_path, ATTEMPTS)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.splitlines()[-1] == "all attempts made"
    refused = [line.removeprefix("REFUSED ") for line in finished.stderr.splitlines() if line.startswith("REFUSED ")]
    assert refused[:4] == [
        "socket.connect 192.0.2.1",
        "socket.connect 2001:db8::1",
        "socket.connect 192.0.2.1",
        "socket.sendto 192.0.2.1",
    ]
    assert set(refused[4:]) == {"socket.getaddrinfo huggingface.co", "socket.gethostbyname huggingface.co"}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project beside an empty folder of models, in which all stages have run behind the guard."""
    folder = tmp_path_factory.mktemp("offline")
    (folder / "models").mkdir()
    project = copy_code(folder / "project")
    scripts = [command[1:] for command in commands(*STAGES)]
    finished = run_guarded(project, folder / "models", IN_TURN, json.dumps(scripts))
    assert finished.returncode == 0, finished.stderr
    assert "REFUSED" not in finished.stderr
    return project


def test_the_default_pipeline_needs_no_network_and_no_downloaded_model(project: Path) -> None:
    assert all((project / out).exists() for stage in STAGES for out in outs(stage))
    assert [path for path in (project.parent / "models").rglob("*") if path.is_file()] == []


def test_the_test_split_is_read_by_no_stage_after_it_was_made(project: Path) -> None:
    assert (project / "data" / "prepared" / "test.jsonl").read_text() == "not a row"
    assert (project / "metrics" / "evaluation.json").exists()
