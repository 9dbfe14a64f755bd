"""Copy an experiment out of git and DVC's cache into a folder of its own, and run stages of its own code there."""

import io
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from annealed_lab.experiments.places import PLACES
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path
from annealed_lm.config.yaml_files import merge_preset


def bring_output(path: str, commit: str, folder: Path) -> None:
    """Copy an output of a commit from DVC's cache to `folder`, unless it is there.

    Raises:
        InputError: the cache does not have it.
    """
    if (folder / path).exists():
        return
    with atomic_path(folder / path) as partial:
        command = ["dvc", "get", "--quiet", ".", path, "--rev", commit, "--out", str(partial)]
        got = subprocess.run(command, capture_output=True, text=True, check=False)
        if got.returncode:
            cause = (got.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise InputError(f"{path} of {commit[:12]} cannot be had ({cause}): run the experiment here, or dvc pull it")


def bring_code(commit: str, folder: Path, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Put src and params.yaml of a commit into `folder`, with `changes` (nested) in the parameters, which are returned."""
    params = PLACES["params"]
    archive = subprocess.run(["git", "archive", commit, "src", params], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(folder)
    yaml = YAML()
    values: dict[str, Any] = yaml.load(folder / params)
    merge_preset(values, changes)
    with atomic_path(folder / params) as partial:
        yaml.dump(values, partial)
    return values


def run_stage(stage: str, folder: Path, out: str, paths: Mapping[str, str], *options: str) -> None:
    """Run the script of a stage in `folder`, unless `out`, which it writes, is there.

    Args:
        paths: what it reads beside the parameters, by option.

    Raises:
        SystemExit: the stage ended with an error, which it has printed; its exit status.
    """
    if (folder / out).exists():
        return
    given = {**paths, "params": PLACES["params"], "out": out}
    arguments = [part for name, path in given.items() for part in (f"--{name}", path)]
    finished = subprocess.run([sys.executable, f"src/{stage}.py", *arguments, *options], cwd=folder, check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)
