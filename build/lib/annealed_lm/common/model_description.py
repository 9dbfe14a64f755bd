"""Which model a judge is: every score that it gives states this beside itself."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from annealed_lm.common.files import file_sha256, read_json

SOURCE = "source.json"
"""The file beside the folders of fetched models that says, by folder, what they hold."""


class ModelDescription(NamedTuple):
    """What tells one model from another.

    Attributes:
        name: on the hub, or of the folder.
        sha256: of the weights file; of several files, that of their digests joined.
        dimension: of the features.
    """

    name: str
    sha256: str
    dimension: int


def source_name(folder: Path) -> str:
    """Return the name that the model in `folder` was fetched by, or that of the folder if it was made here."""
    source = folder.parent / SOURCE
    fetched = read_json(source).get(folder.name) if source.exists() else None
    return str(fetched["name"]) if fetched else folder.name


def weights_sha256(folder: Path) -> str:
    """Return the digest of the weights of the model in `folder`, those of its modules included."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".safetensors", ".bin"))
    digests = [file_sha256(path) for path in files]
    return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
