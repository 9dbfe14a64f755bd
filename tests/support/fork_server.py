"""A process that holds the libraries: scripts and DVC run in forks of it, which take milliseconds where imports take seconds.

It imports what others wrote and nothing of the project: that comes, as ever, from the folder of the script that is run.
As a script it serves at the address that is its argument, until its standard input ends; it imports at the first order.
"""

import atexit
import gc
import json
import os
import runpy
import socket
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from select import select
from typing import Any, NoReturn

FORKING = "TESTS_FORKING"
"""Of the environment: the folder of the programs that stand before Python and DVC; or nothing, where none do."""
SHARED = "TESTS_SHARED"
"""Of the environment: a folder of all processes of this run of pytest."""
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",  # a process with threads cannot be forked
    "HF_HUB_OFFLINE": "1",  # these three as annealed_lm.common.offline sets them, for libraries read them when imported
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
    "MPLBACKEND": "agg",
}
LIBRARIES = (
    "accelerate",
    "datasets",
    "evaluate",
    "faiss",
    "lion_pytorch",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "mauve",
    "pandas",
    "pydantic",
    "ruamel.yaml",
    "scipy.stats",
    "sentence_transformers.sentence_transformer.modules",
    "sklearn.cluster",
    "spacy.lang.en",
    "torch.utils.flop_counter",
    "transformers.generation.utils",
    "transformers.models.bart.modeling_bart",
    "transformers.models.bert.modeling_bert",
    "transformers.models.gpt2.modeling_gpt2",
    "dulwich.porcelain",
    "dvc.cli.parser",
    "dvc.data_cloud",
    "dvc.repo.experiments.executor.local",
    "dvc.repo.experiments.queue.celery",
    "dvc.repo.experiments.queue.workspace",
    "dvc.repo.experiments.serialize",
    "dvc.utils.hydra",
    "dvc_render.html",
    "dvc_studio_client.post_live_metrics",
    "hydra.core.override_parser.overrides_parser",
    "networkx",
    "omegaconf",
    "pygit2",
)
CLIENT = """#!{python} -IS
# Let the server run a script or a module as Python would, or a command as DVC would; what is neither, Python itself runs.
import json, os, signal, socket, sys

program, arguments = sys.argv[0], sys.argv[1:]
of_script = arguments[1:] if arguments[:1] == ["-u"] else arguments
if program.endswith("python") and not (of_script and (of_script[0] == "-m" or of_script[0].endswith(".py"))):
    os.execv({python!r}, [{python!r}, *arguments])
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
order = {{"program": program, "arguments": arguments, "folder": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(server, [b"."], [0, 1, 2])
server.sendall(json.dumps(order).encode() + b"\\n")
answers = server.makefile()
process = int(answers.readline())
for each in (signal.SIGINT, signal.SIGTERM):
    signal.signal(each, lambda number, frame: os.killpg(process, number))
status = int(answers.readline())
if status < 0:
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, signal.SIG_DFL)
    os.kill(os.getpid(), -status)
sys.exit(status)
"""


def run_program(program: Path, arguments: list[str]) -> None:
    """Run a command in this process, as if it had been started for it."""
    sys.executable = str(program.with_name("python"))
    if program.name == "dvc":
        from dvc.cli import main

        sys.argv = ["dvc", *arguments]
        sys.exit(main())
    if arguments[0] == "-u":
        del arguments[0]
        sys.stdout.reconfigure(write_through=True)
    sys.path[1:1] = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        sys.path[0] = str(Path.cwd())
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(arguments[0]).resolve().parent)
        runpy.run_path(arguments[0], run_name="__main__")


def exit_status(program: Path, arguments: list[str]) -> int:
    """Run a command in this process; the status with which Python would end it."""
    try:
        run_program(program, arguments)
    except SystemExit as end:
        if end.code is None or isinstance(end.code, int):
            return end.code or 0
        print(end.code, file=sys.stderr)
        return 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def serve_client(client: socket.socket) -> NoReturn:
    """Be the process that a client asked for, to the end."""
    os.setsid()
    _, files, *_ = socket.recv_fds(client, 1, 3)
    order = json.loads(client.makefile().readline())
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    status = exit_status(Path(order["program"]), order["arguments"])
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def parse_every_text_once() -> None:
    """Let a process parse no YAML twice: DVC parses params.yaml and dvc.lock some fifty times a run, most of its time."""
    from ruamel.yaml import YAML

    load, parsed = YAML.load, {}

    def load_once(self: YAML, stream: Any) -> Any:
        if self.typ != ["safe"] or not isinstance(stream, str):
            return load(self, stream)
        if stream not in parsed:
            parsed[stream] = load(self, stream)
        return deepcopy(parsed[stream])

    YAML.load = load_once  # type: ignore[method-assign]


def import_libraries() -> None:
    for name in LIBRARIES:
        import_module(name)
    parse_every_text_once()
    gc.collect()
    gc.freeze()  # so that collections in the forks leave the memory shared
    assert len([*Path("/proc/self/task").iterdir()]) == 1, "threads do not survive a fork"


def fork(client: socket.socket) -> int:
    """Fork a process for a client; its id."""
    if "torch" not in sys.modules:
        import_libraries()
    if (process := os.fork()) == 0:
        try:
            serve_client(client)
        finally:
            os._exit(1)
    client.sendall(f"{process}\n".encode())
    return process


def serve(address: str) -> None:
    """Fork a process for every client, and tell it how that ended; until the standard input ends."""
    forks: dict[int, tuple[int, socket.socket]] = {}  # a file that is ready at the end of the process -> it, and its client
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(address)
        listening.listen()
        print("ready", flush=True)
        while sys.stdin not in (ready := select([listening, sys.stdin, *forks], [], [])[0]):
            for ended in forks.keys() & {*ready}:
                process, client = forks.pop(ended)
                status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
                with suppress(BrokenPipeError), client:
                    client.sendall(f"{status}\n".encode())
                os.close(ended)
            if listening in ready:
                client, _ = listening.accept()
                process = fork(client)
                forks[os.pidfd_open(process)] = process, client


@contextmanager
def forking(folder: Path) -> Iterator[Path]:
    """Serve; the folder of the programs `python` and `dvc`, which are clients."""
    address, programs = folder / "address", folder / "bin"
    programs.mkdir(parents=True)
    for name in ("python", "dvc"):
        (programs / name).write_text(CLIENT.format(python=sys.executable, address=str(address)))
        (programs / name).chmod(0o755)
    command = [sys.executable, __file__, str(address)]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, env=os.environ | ENVIRONMENT, start_new_session=True, **pipes) as server:
        assert server.stdin is not None
        assert server.stdout is not None
        assert server.stdout.readline() == b"ready\n"
        yield programs
        server.stdin.close()


if __name__ == "__main__":
    serve(sys.argv[1])
