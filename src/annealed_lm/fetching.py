"""Bring what a run needs from outside, corpus files and a pretrained autoencoder, and check that it is what was asked for."""

import hashlib
import http.client
import json
import shutil
import sys
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError, RevisionNotFoundError, XetDownloadError
from huggingface_hub.errors import HTTPError as HubConnectionError  # type: ignore[attr-defined]  # of the library's HTTP client
from huggingface_hub.utils.tqdm import disable_progress_bars

from annealed_lm.corpus_files import CORPUS_FILES, Release
from annealed_lm.errors import DISK_ERRORS, InputError
from annealed_lm.files import atomic_path, file_sha256, require_sha256, write_json

TIMEOUT = 20
"""Seconds that a server may stay silent."""
SOURCE = "source.json"
MODEL_SETTINGS = "config.json"


def digests(folder: Path) -> dict[str, str]:
    return {path.name: file_sha256(path) for path in sorted(folder.iterdir()) if path.is_file()}


def download(release: Release, target: Path, place: Path) -> None:
    """Fetch a published file to `target`; `place` is where a user without network can put it instead.

    Raises:
        InputError: it cannot be reached, or it is not the published one.
    """
    try:
        with urllib.request.urlopen(release.address, timeout=TIMEOUT) as response:
            data = response.read()
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"{release.address} cannot be fetched ({error}): put that file at {place}") from error
    if hashlib.sha256(data).hexdigest() != release.sha256:
        raise InputError(f"{release.address} sent something else than the published file: put that file at {place}")
    target.write_bytes(data)


def gather_files(dataset_name: str, raw_folders: Sequence[Path], target: Path) -> None:
    """Copy the files of a corpus to `target`, from the first raw folder that has them, or else from where they are published.

    Files that only the official split needs come along where they are.
    """
    corpus = CORPUS_FILES[dataset_name]
    # DVC watches the first folder only: from another one a file is taken only if its sha256 is known; it cannot change unseen.
    pinned = set(corpus.required["random"]) <= set(corpus.releases)
    for folder in (raw / dataset_name for raw in (raw_folders if pinned else raw_folders[:1])):
        for split in ("official", "random"):
            names = corpus.required[split]
            if all((folder / name).is_file() for name in names):
                for name in corpus.releases:
                    require_sha256(folder / name, corpus.releases[name].sha256)
                corpus.read(folder, split)  # an unreadable file is named here by the path at which it has to be mended
                for name in names:
                    shutil.copyfile(folder / name, target / name)
                return
    for name in corpus.required["random"]:
        place = raw_folders[-1] / dataset_name / name
        if name not in corpus.releases:
            raise InputError(
                f"{place} is not there: dataset_name = {dataset_name} reads your own copy of it, put it there "
                f"(for queued experiments and other clones, also: dvc add {place})"
            )
        download(corpus.releases[name], target / name, place)


def fetch_corpus(dataset_name: str, raw_folders: Sequence[Path], target: Path) -> None:
    """Write the files of a corpus and source.json, their sha256, to the folder `target`.

    Files are taken from <raw folder>/<dataset_name>/; published ones that are in none are downloaded.

    Raises:
        InputError: a file is missing, cannot be downloaded, is not the published one, or cannot be read.
    """
    with atomic_path(target) as partial:
        partial.mkdir()
        gather_files(dataset_name, raw_folders, partial)
        write_json(partial / SOURCE, {"dataset_name": dataset_name, "files": digests(partial)})


def model_files(names: Iterable[str]) -> list[str]:
    """Of the files of a model those that are needed: settings, tokenizer, and weights, as safetensors if there are any."""
    top_level = sorted(name for name in names if "/" not in name)
    weights = [name for name in top_level if name.endswith(".safetensors")]
    weights = weights or [name for name in top_level if name.startswith("pytorch_model") and name.endswith(".bin")]
    return [name for name in top_level if name.endswith(".json") or name == "merges.txt"] + weights


def require_bart(folder: Path, name: str) -> None:
    """Check the settings of the model `name` in `folder`.

    Raises:
        InputError: they are missing, or those of another kind of model.
    """
    try:
        model_type = json.loads((folder / MODEL_SETTINGS).read_text(encoding="utf-8"))["model_type"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"autoencoder_name = {name} has no {MODEL_SETTINGS} with a model_type: it is no saved model") from error
    if model_type != "bart":
        raise InputError(f"autoencoder_name = {name} is a model of type {model_type}: only bart can be used")


def copy_model(source: Path, target: Path) -> None:
    """Copy the needed files of a local model, links resolved."""
    require_bart(source, str(source))
    for name in model_files(path.name for path in source.iterdir() if path.is_file()):
        shutil.copyfile(source / name, target / name)


def download_model(name: str, revision: str, target: Path) -> None:
    """Download the needed files of the model `name` of the hub at a revision (40 hex digits).

    Raises:
        InputError: there is no such model or revision, the connection breaks, or it is not a BART.
    """
    if not sys.stderr.isatty():
        disable_progress_bars()
    try:
        # This request comes first since it alone is not repeated for half a minute where there is no network.
        listed = HfApi().model_info(name, revision=revision, timeout=TIMEOUT).siblings or []
        snapshot_download(name, revision=revision, local_dir=target, allow_patterns=[MODEL_SETTINGS])
        require_bart(target, name)
        needed = model_files(file.rfilename for file in listed)
        snapshot_download(name, revision=revision, local_dir=target, allow_patterns=needed)
    except RevisionNotFoundError as error:
        raise InputError(f"autoencoder_name = {name} has no revision {revision} on the hub: give an existing commit") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(f"autoencoder_name = {name} is no folder and no model that the hub shows: check the spelling") from error
    except (HubConnectionError, XetDownloadError, OSError) as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        cause = f"{type(error).__name__}: {error}".partition("\n")[0]
        remedy = "run this stage where there is a network, or give a local folder as autoencoder_name"
        raise InputError(f"autoencoder_name = {name} cannot be downloaded ({cause}): {remedy}") from error
    shutil.rmtree(target / ".cache", ignore_errors=True)  # time stamps and locks


def bring_model(name: str, revision: str | None, roots: Sequence[Path], target: Path) -> None:
    """Copy the local folder `name`, absolute or below one of `roots`, or else download the model of that name."""
    folders = [root / Path(name).expanduser() for root in roots]
    local = next((folder for folder in folders if folder.is_dir()), None)
    if local is not None and revision is not None:
        raise InputError(f"autoencoder_name = {name} is a local folder, which has no revision: set autoencoder_revision to null")
    if local is not None:
        copy_model(local, target)
    elif revision is not None:
        download_model(name, revision, target)
    else:
        raise InputError(f"autoencoder_name = {name} is no local folder; a name on the hub needs an autoencoder_revision")


def fetch_autoencoder(name: str | None, revision: str | None, roots: Sequence[Path], target: Path) -> None:
    """Write the pretrained model to `target`/autoencoder and what it is to `target`/source.json; no name, no model.

    Args:
        name: a local folder, absolute or below one of `roots`, without a revision; or a name on the hub, with a revision.

    Raises:
        InputError: there is no such model, it cannot be downloaded, it is not a BART, or it has no weights.
    """
    source: dict[str, Any] | None = None
    with atomic_path(target) as partial:
        partial.mkdir()
        if name is not None:
            folder = partial / "autoencoder"
            folder.mkdir()
            bring_model(name, revision, roots, folder)
            files = digests(folder)
            if not any(file.endswith((".safetensors", ".bin")) for file in files):
                raise InputError(f"autoencoder_name = {name} has no weights (model.safetensors or pytorch_model.bin)")
            source = {"name": name, "revision": revision, "files": files}
        write_json(partial / SOURCE, {"autoencoder": source})
