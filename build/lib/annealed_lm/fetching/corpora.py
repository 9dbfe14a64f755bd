"""The files of a corpus, brought from the user's folder or from where they are published, and checked."""

import hashlib
import http.client
import shutil
import urllib.request
from collections.abc import Sequence
from pathlib import Path

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path, digests, require_sha256, write_json
from annealed_lm.common.model_description import SOURCE
from annealed_lm.corpora.files import CORPUS_FILES, Release

TIMEOUT = 20
"""Seconds that a server may stay silent."""
LARGEST = 200_000_000
"""Bytes that are taken from a server that may have no end to send."""


def download(release: Release, target: Path, place: Path) -> None:
    """Fetch a published file to `target`.

    Args:
        place: where a user without network can put the file instead, for the error.

    Raises:
        InputError: it cannot be reached, or it is not the published one.
    """
    try:
        with urllib.request.urlopen(release.address, timeout=TIMEOUT) as response:
            stated = response.length
            data = response.read() if stated is not None and stated <= LARGEST else response.read(LARGEST)
    except (OSError, http.client.HTTPException) as error:
        raise InputError(f"{release.address} cannot be fetched ({error}): put that file at {place}") from error
    if hashlib.sha256(data).hexdigest() != release.sha256:
        raise InputError(f"{release.address} sent something else than the published file: put that file at {place}")
    target.write_bytes(data)


def gather_files(dataset_name: str, raw_folders: Sequence[Path], target: Path) -> None:
    """Copy the files of a corpus to `target`, from the first raw folder that has them, or else from where they are published.

    Files that only the official split needs come along if that folder has them.

    Raises:
        InputError: a file is missing, cannot be downloaded, or is not the published one.
    """
    corpus = CORPUS_FILES[dataset_name]
    # DVC watches the first folder only: from another one a file is taken only if its sha256 is known; it cannot change unseen.
    pinned = set(corpus.required["random"]) <= set(corpus.releases)
    for folder in (raw / dataset_name for raw in (raw_folders if pinned else raw_folders[:1])):
        for split in ("official", "random"):
            paths = [corpus.file_of(folder, name) for name in corpus.required[split]]
            if all(path.is_file() for path in paths):
                for name in corpus.releases:
                    require_sha256(folder / name, corpus.releases[name].sha256)
                for path in paths:
                    shutil.copyfile(path, target / path.name)
                return
    for name in corpus.required["random"]:
        place = raw_folders[-1] / dataset_name / name
        if name not in corpus.releases:
            other = f" (nor {corpus.instead[name]})" if name in corpus.instead else ""
            raise InputError(
                f"{place} is not there{other}: dataset_name = {dataset_name} reads your own copy of it, put it there "
                f"(for --temp experiments and other clones, also: dvc add {place})"
            )
        download(corpus.releases[name], target / name, place)


def fetch_corpus(dataset_name: str, raw_folders: Sequence[Path], target: Path) -> None:
    """Write the files of a corpus to the folder `target`, and their sha256 to source.json beside them.

    Files are taken from <raw folder>/<dataset_name>/; published ones that are in none are downloaded.

    Raises:
        InputError: a file is missing, cannot be downloaded, or is not the published one.
    """
    with atomic_path(target) as partial:
        partial.mkdir()
        gather_files(dataset_name, raw_folders, partial)
        write_json(partial / SOURCE, {"dataset_name": dataset_name, "files": digests(partial)})
