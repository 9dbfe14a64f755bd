"""Pretrained models, brought from the hub or from local folders, and checked: whole, and of the kind that is needed."""

import hashlib
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import (
    HFValidationError,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
    XetDownloadError,
)
from huggingface_hub.errors import HTTPError as HubConnectionError  # type: ignore[attr-defined]  # of the library's HTTP client
from huggingface_hub.hf_api import RepoSibling
from huggingface_hub.utils.tqdm import disable_progress_bars

from annealed_lm.common.errors import DISK_ERRORS, InputError
from annealed_lm.common.files import atomic_path, digests, file_sha256, read_json, write_json
from annealed_lm.common.model_description import SOURCE
from annealed_lm.fetching.model_files import ModelChoice, model_files, require_no_pickle, require_parts, require_readable

CONFIG, MODULES = "config.json", "modules.json"

TIMEOUT = 20
"""Seconds that a server may stay silent."""


class Origin(Protocol):
    """Where a model comes from: the paths of its files, and a way to bring some of them to the folder `target`."""

    paths: list[str]

    def bring(self, paths: Sequence[str], target: Path) -> None: ...


class LocalOrigin:
    """A local folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]

    def bring(self, paths: Sequence[str], target: Path) -> None:
        """Copy these files to `target`; links become files."""
        for path in paths:
            (target / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.folder / path, target / path)


def git_blob_id(path: Path) -> str:
    """Return the name that git, and so the hub, gives to the content of a small file."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@contextmanager
def hub_errors(choice: ModelChoice) -> Iterator[None]:
    """Say in one sentence what went wrong at the hub; a full disk stays what it is.

    Raises:
        InputError: the model, the revision or a file is not there, or the hub cannot be reached.
    """
    remedy = f"give a local folder as {choice.kind}_name"
    try:
        yield
    except RevisionNotFoundError as error:
        raise InputError(f"{choice} has no revision {choice.revision} on the hub: give an existing commit") from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        raise InputError(f"{choice} is no folder and no model that the hub shows: check the spelling") from error
    except RemoteEntryNotFoundError as error:
        cause = str(error).strip().rpartition("\n")[2]
        raise InputError(f"{choice} lacks a file that the hub lists ({cause}): name another revision, or {remedy}") from error
    except (HubConnectionError, XetDownloadError, OSError) as error:
        if isinstance(error, OSError) and error.errno in DISK_ERRORS:
            raise
        cause = f"{type(error).__name__}: {error}".partition("\n")[0]
        raise InputError(
            f"{choice} cannot be downloaded ({cause}): run this stage where there is a network, or {remedy}"
        ) from error


class HubOrigin:
    """A model of the hub at a revision (40 hex digits).

    Raises:
        InputError: the hub cannot be reached, or does not have it.
    """

    def __init__(self, choice: ModelChoice) -> None:
        if not sys.stderr.isatty():
            disable_progress_bars()
        self.choice = choice
        with hub_errors(choice):
            # This request comes first since it alone is not repeated for half a minute where there is no network.
            stated = HfApi().model_info(choice.name, revision=choice.revision, files_metadata=True, timeout=TIMEOUT)
        self.listed = {file.rfilename: file for file in stated.siblings or []}
        self.paths = list(self.listed)

    def bring(self, paths: Sequence[str], target: Path) -> None:
        """Download these files to `target`, and compare them with what the hub states of them.

        Raises:
            InputError: a file cannot be downloaded, or is another than the hub states.
        """
        with hub_errors(self.choice):
            snapshot_download(self.choice.name, revision=self.choice.revision, local_dir=target, allow_patterns=list(paths))
            for path in paths:
                self.require_stated(target / path, self.listed[path])
        shutil.rmtree(target / ".cache", ignore_errors=True)  # time stamps and locks

    def require_stated(self, path: Path, file: RepoSibling) -> None:
        """Check that a file has the digest that the hub states, and raise an InputError if it has not."""
        if not file.lfs and not file.blob_id:
            raise InputError(
                f"{self.choice}: the hub states no digest of {file.rfilename} that it could be checked against; "
                f"give a local folder as {self.choice.kind}_name"
            )
        stated = f"sha256 {file.lfs.sha256}" if file.lfs else f"git blob {file.blob_id}"
        found = f"sha256 {file_sha256(path)}" if file.lfs else f"git blob {git_blob_id(path)}"
        if found != stated:
            raise InputError(
                f"{self.choice} came with another {file.rfilename} ({found}) than the hub states ({stated}): "
                f"run this stage again, or give a local folder as {self.choice.kind}_name"
            )


def find_model(choice: ModelChoice, roots: Sequence[Path]) -> Origin:
    """Return the local folder of that name, absolute or below one of `roots`, or else the model of that name on the hub.

    Raises:
        InputError: there is neither, a name on the hub has no revision, or a local folder has one.
    """
    kind, name, revision = choice
    folders = [root / Path(name).expanduser() for root in roots]
    local = next((folder for folder in folders if folder.is_dir()), None)
    if local is not None and revision is not None:
        raise InputError(f"{choice} is a local folder, which has no revision: set {kind}_revision to null")
    if local is not None:
        return LocalOrigin(local)
    if revision is None:
        raise InputError(f"{choice} is no local folder; a name on the hub needs {kind}_revision, 40 hex digits")
    return HubOrigin(choice)


def read_config(choice: ModelChoice, folder: Path) -> tuple[str, list[str]]:
    """Return the type and the architectures of a model, as transformers saves them.

    Raises:
        InputError: they are missing.
    """
    try:
        config = read_json(folder / CONFIG)
        return str(config["model_type"]), list(config.get("architectures") or [])
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{choice} has no {CONFIG} with a model_type: it is no saved model") from error


def autoencoder_folders(choice: ModelChoice, folder: Path) -> list[str]:
    """Check that a model is a BART; its files lie in its own folder."""
    model_type, _ = read_config(choice, folder)
    if model_type != "bart":
        raise InputError(f"{choice} is a model of type {model_type}: only bart can be used")
    return [""]


def language_model_folders(choice: ModelChoice, folder: Path) -> list[str]:
    """Check that a model is a causal language model; its files lie in its own folder."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES  # brings torch: only where it is needed

    model_type, architectures = read_config(choice, folder)
    causal = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(model_type)
    # Some types, such as bart and bert, have a causal variant, but what is published is another one.
    if causal is None or causal not in (architectures or [causal]):
        found = architectures[0] if architectures else f"model of type {model_type}"
        raise InputError(f"{choice} is a {found}: only causal language models, such as gpt2-large, can be used")
    return [""]


def feature_model_folders(choice: ModelChoice, folder: Path) -> list[str]:
    """Check that a model is one of sentence-transformers, and return its folder and those of its modules."""
    try:
        modules = {module["path"]: str(module["type"]) for module in read_json(folder / MODULES)}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{choice} has no {MODULES} that names its modules: it is no sentence-transformers model") from error
    for name in modules.values():
        if not name.startswith("sentence_transformers."):
            raise InputError(f"{choice} has the module {name}: only those of sentence-transformers can be used")
    return ["", *modules]


KINDS = {
    "autoencoder": autoencoder_folders,
    "language_model": language_model_folders,
    "feature_model": feature_model_folders,
}
"""By kind: a function that checks the settings in a folder, and returns which folders in it hold the model's files ("": itself).

They all raise:
    InputError: the settings are missing, or those of another kind of model.
"""


def fetch_models(models: Mapping[str, tuple[str | None, str | None]], roots: Sequence[Path], target: Path) -> None:
    """Write every model to `target`/<kind>, and what they are to `target`/source.json; a kind without a name has no model.

    All or nothing: if one cannot be had, nothing is written.

    Args:
        models: by kind, a key of `KINDS`, the model's name and revision: a local folder, absolute or below one of `roots`,
            without a revision; or a name on the hub with one.

    Raises:
        InputError: a model is not there, cannot be downloaded, is another than the hub states, of another kind, damaged, or not
            whole.
    """
    chosen = {kind: None if name is None else ModelChoice(kind, name, revision) for kind, (name, revision) in models.items()}
    sources: dict[str, Any] = dict.fromkeys(models)
    with atomic_path(target) as partial:
        partial.mkdir()
        found = []
        for kind, choice in chosen.items():
            if choice is not None:
                origin, folder = find_model(choice, roots), partial / kind
                folder.mkdir()
                origin.bring([path for path in (CONFIG, MODULES) if path in origin.paths], folder)
                files = model_files(origin.paths, KINDS[kind](choice, folder))
                require_parts(choice, files)
                require_no_pickle(choice, files)
                found.append((choice, origin, files, folder))
        for choice, origin, files, folder in found:  # not before every model has proved to be the right one: weights are large
            origin.bring(files, folder)
            require_readable(choice, folder)
            sources[choice.kind] = {"name": choice.name, "revision": choice.revision, "files": digests(folder)}
        write_json(partial / SOURCE, sources)
