"""The files of every corpus: which are needed, and where published ones come from."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from annealed_lm.common.errors import InputError

E2E_ARCHIVE = "e2e-dataset.zip"
SST2_FILES = {"train": "train.tsv", "test": "dev.tsv"}
AG_NEWS_FILES = {"train": "train.csv", "test": "test.csv"}
PLAIN_TEXTS, LABELLED_TEXTS = "texts.txt", "texts.jsonl"


@dataclass(frozen=True)
class Release:
    """A file as its authors published it."""

    address: str
    sha256: str


@dataclass(frozen=True)
class CorpusFiles:
    """What a corpus is read from.

    Attributes:
        required: by kind of split (official, random), the names of the files that it needs; official needs those of random at
            least.
        releases: the files that can be fetched, by name.
        instead: by the name of a file, that of another that may be there instead of it; see `file_of`.
    """

    required: Mapping[str, tuple[str, ...]]
    releases: Mapping[str, Release] = field(default_factory=dict)
    instead: Mapping[str, str] = field(default_factory=dict)

    def file_of(self, folder: Path, name: str) -> Path:
        """Return the path of a file in `folder`, or of the one that may be there instead of it.

        Raises:
            InputError: both are there.
        """
        path, other = folder / name, folder / self.instead.get(name, name)
        if path != other and path.is_file() and other.is_file():
            raise InputError(f"{path} and {other.name} are both there, and the texts are those of one: remove the other")
        return other if other.is_file() else path


E2E_RELEASE = Release(
    address="https://github.com/tuetschek/e2e-dataset/releases/download/v1.0.0/e2e-dataset.zip",
    sha256="1261064c01907af27e8cc39e0a29a81541f6ab69208c1cbfc1be95afbb49dfac",
)

CORPUS_FILES: dict[str, CorpusFiles] = {
    "restaurants": CorpusFiles(required={"official": (), "random": ()}),
    "e2e": CorpusFiles(required={"official": (E2E_ARCHIVE,), "random": (E2E_ARCHIVE,)}, releases={E2E_ARCHIVE: E2E_RELEASE}),
    "roc": CorpusFiles(
        required={"official": ("train.json", "valid.json"), "random": ("train.json",)},
        instead={"train.json": "train.csv", "valid.json": "valid.csv"},
    ),
    "sst2": CorpusFiles(required={"official": tuple(SST2_FILES.values()), "random": (SST2_FILES["train"],)}),
    "ag_news": CorpusFiles(required={"official": tuple(AG_NEWS_FILES.values()), "random": (AG_NEWS_FILES["train"],)}),
    "text": CorpusFiles(required={"official": (PLAIN_TEXTS,), "random": (PLAIN_TEXTS,)}, instead={PLAIN_TEXTS: LABELLED_TEXTS}),
}
"""By dataset_name. To add a corpus, enter its files here and its reader in `readers.READERS`."""
