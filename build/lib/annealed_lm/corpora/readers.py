"""How the texts of every corpus are read out of its files (`files.CORPUS_FILES`)."""

import csv
import hashlib
import html
import io
import json
import re
import zipfile
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from annealed_lm.common.errors import InputError
from annealed_lm.corpora.files import AG_NEWS_FILES, CORPUS_FILES, E2E_ARCHIVE, LABELLED_TEXTS, PLAIN_TEXTS, SST2_FILES
from annealed_lm.corpora.named_columns import read_labelled_texts
from annealed_lm.corpora.text_files import read_csv, read_lines, read_rows


class LabelledText(NamedTuple):
    """A text and the name of its class; every text of a corpus has a label, or none has."""

    text: str
    label: str | None


Splits = dict[str, list[LabelledText]]
"""Texts by split: train, and valid and test as far as they have files; the others are held out of train afterwards."""


def unlabelled(texts: Iterable[str]) -> list[LabelledText]:
    return [LabelledText(text, None) for text in texts]


def read_nothing(folder: Path, split: str) -> Splits:
    """Return no texts: the embedded corpus has no files."""
    return {}


def read_text(folder: Path, split: str) -> Splits:
    """Read one text a line, or one JSON object with a text and perhaps a label; there is no official split.

    Raises:
        InputError: the file is not UTF-8, or naming the first line that is no such object.
    """
    path = CORPUS_FILES["text"].file_of(folder, PLAIN_TEXTS)
    if path.name == LABELLED_TEXTS:
        return {"train": [LabelledText(text, label) for text, label in read_labelled_texts(path)]}
    return {"train": unlabelled(read_lines(path))}


def column_numbers(header: Sequence[str], names: Sequence[str]) -> list[int] | None:
    """Return where in a header, whatever else it names and in whichever case, the named columns are; None if one is not there."""
    found = [name.strip().casefold().replace("_", " ") for name in header]
    return [found.index(name) for name in names] if all(found.count(name) == 1 for name in names) else None


def read_json_lines(path: Path) -> list[str]:
    """Return the texts of a file that holds one JSON list of one string a line; a blank line before others is an empty text.

    Raises:
        InputError: naming the first line that is anything else.
    """
    texts = []
    for number, line in enumerate(read_rows(path), start=1):
        if not line.strip():
            texts.append("")
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            value = None
        match value:
            case [str() as text]:
                texts.append(text)
            case _:
                raise InputError(f'{path} line {number} is not a JSON list of one string, such as ["Ann went home."]')
    return texts


ROC_SENTENCES = tuple(f"sentence{number}" for number in range(1, 6))
"""Columns of the original CSV files of ROCStories, beside storyid and storytitle."""
ROC_VALID_LINES = 1000
"""The first so many stories of ROCStories' valid file are for validation, the rest is the test split."""


def read_stories(path: Path) -> list[str]:
    """Return the stories of an original CSV file of ROCStories, each its five sentences without the title.

    Two such files after each other are one: the header may come again.

    Raises:
        InputError: naming the first line that is not a story.
    """
    stories: list[str] = []
    header: list[str] = []
    numbers: list[int] = []
    for where, columns in read_csv(path):
        found = column_numbers(columns, ROC_SENTENCES)
        if found is not None:
            header, numbers = columns, found
            continue
        if not header:
            raise InputError(
                f"{where} is not the header of ROCStories' CSV files: storyid, storytitle, {', '.join(ROC_SENTENCES)}"
            )
        require_columns(columns, header, where)
        stories.append(" ".join(columns[number].strip() for number in numbers))
    return stories


def read_roc_file(path: Path) -> list[LabelledText]:
    """Read one of ROCStories' files: a JSON list of one string a line, or CSV as its authors gave it, whatever it is called.

    Raises:
        InputError: naming the first line that is not as it should be.
    """
    first = next(iter(read_rows(path)), "")
    original = path.suffix == ".csv" or first.casefold().lstrip('"').startswith("storyid")
    return unlabelled(read_stories(path) if original else read_json_lines(path))


def read_roc(folder: Path, split: str) -> Splits:
    """Read ROCStories (Mostafazadeh et al. 2016, arXiv 1604.01696), original or as text diffusion repositories lay it out.

    Raises:
        InputError: naming the first line that is not as it should be.
    """
    train, valid = (CORPUS_FILES["roc"].file_of(folder, name) for name in CORPUS_FILES["roc"].required["official"])
    if split == "random":
        return {"train": read_roc_file(train)}
    held_out = read_roc_file(valid)
    return {"train": read_roc_file(train), "valid": held_out[:ROC_VALID_LINES], "test": held_out[ROC_VALID_LINES:]}


E2E_MEMBERS = {
    "train": ("e2e-dataset/trainset.csv", "530eb457155d788912309689cab6f36d"),
    "valid": ("e2e-dataset/devset.csv", "41ab9e06dd4e08ce2a3408f5f652e921"),
    "test": ("e2e-dataset/testset_w_refs.csv", "630c2ad9466add8074d62735fe1c193a"),
}
"""Split -> member of the archive and its md5."""


def read_e2e(folder: Path, split: str, members: Mapping[str, tuple[str, str]]) -> Splits:
    """Read the reference texts of the E2E NLG release 1.0.0 (Novikova et al. 2017, arXiv 1706.09254, CC BY-SA 4.0).

    Args:
        members: by split, the member of the archive and its md5.

    Raises:
        InputError: the archive is damaged, or its members are not the published ones.
    """
    archive = folder / E2E_ARCHIVE
    texts = {}
    for name in ["train"] if split == "random" else members:
        member, md5 = members[name]
        try:
            with zipfile.ZipFile(archive) as opened:
                data = opened.read(member)
        except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
            raise InputError(f"{archive} is no whole E2E archive ({error}): remove it and fetch it again") from error
        if hashlib.md5(data, usedforsecurity=False).hexdigest() != md5:
            raise InputError(f"{archive}: {member} is not the published file (md5 {md5}): remove the archive and fetch it again")
        rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig"), newline=""))
        texts[name] = unlabelled(row["ref"] for row in rows)
    return texts


def require_columns(columns: Sequence[str], names: Sequence[str], where: str) -> None:
    """Check that a row has a column for every name.

    Args:
        where: the file and line of the row, for the error.

    Raises:
        InputError: it has more or fewer columns.
    """
    if len(columns) != len(names):
        raise InputError(f"{where} has {len(columns)} columns, not the {len(names)} columns {', '.join(names)}")


def label_name(value: str, labels: Mapping[str, str], where: str) -> str:
    """Return the label that `value` stands for.

    Args:
        where: the file and line of the value, for the error.

    Raises:
        InputError: it stands for none.
    """
    if value not in labels:
        allowed = ", ".join(f"{known} ({name})" for known, name in labels.items())
        raise InputError(f"{where} has the label {value[:40]!r}: allowed are {allowed}")
    return labels[value]


SST2_COLUMNS = ("sentence", "label")
SST2_LABELS = {"0": "negative", "1": "positive"}


def read_sst2_file(path: Path) -> list[LabelledText]:
    """Read the rows of a tab-separated file under a header with sentence and label; other columns, such as an index, are ignored.

    Raises:
        InputError: naming the first line that is not such a row.
    """
    header, *rows = (row.split("\t") for row in read_rows(path) or [""])
    numbers = column_numbers(header, SST2_COLUMNS)
    if numbers is None:
        raise InputError(f"{path} line 1 is not the header of GLUE's SST-2 files: {', '.join(SST2_COLUMNS)}, separated by a tab")
    texts = []
    for number, columns in enumerate(rows, start=2):
        where = f"{path} line {number}"
        require_columns(columns, header, where)
        sentence, label = (columns[number] for number in numbers)
        texts.append(LabelledText(sentence, label_name(label, SST2_LABELS, where)))
    return texts


def read_sst2(folder: Path, split: str) -> Splits:
    """Read SST-2 (Socher et al. 2013) in GLUE's layout (Wang et al. 2018, arXiv 1804.07461), tokenised as it comes.

    GLUE keeps the labels of its test.tsv to itself, so the official test split is dev.tsv.

    Raises:
        InputError: naming the first line that is not as it should be.
    """
    names = ["train"] if split == "random" else list(SST2_FILES)
    return {name: read_sst2_file(folder / SST2_FILES[name]) for name in names}


AG_NEWS_COLUMNS = ("class index", "title", "description")
AG_NEWS_LABELS = {"1": "World", "2": "Sports", "3": "Business", "4": "Sci/Tech"}
DAMAGED_ENTITY = re.compile(r"(?:&|(?:^|[ ])(?=(?:#\d+|quot|amp|lt|gt|nbsp);))(#?\w+);")
"""An HTML entity, with its & or with a space (nothing, where a text begins) in the place of it."""


def without_escapes(text: str) -> str:
    r"""Undo what the AG News files do to dollar signs (\$55bn), line breaks (a\barrel) and entities (Google #39;s, &lt;b&gt;)."""
    unescaped = text.replace("\\$", "$").replace("\\", "\n")
    return DAMAGED_ENTITY.sub(lambda found: html.unescape(f"&{found[1]};"), unescaped)


def read_ag_news_file(path: Path) -> list[LabelledText]:
    """Read the rows of a CSV file of class index, title and description, with a header of these names or without.

    Raises:
        InputError: naming the first line that is not such a row.
    """
    header: Sequence[str] = AG_NEWS_COLUMNS
    index, _, description = range(len(AG_NEWS_COLUMNS))
    texts: list[LabelledText] = []
    for row, (where, columns) in enumerate(read_csv(path)):
        if row == 0 and (numbers := column_numbers(columns, AG_NEWS_COLUMNS)):
            header, (index, _, description) = columns, numbers
            continue
        require_columns(columns, header, where)
        label = label_name(columns[index], AG_NEWS_LABELS, where)
        texts.append(LabelledText(without_escapes(columns[description]), label))
    return texts


def read_ag_news(folder: Path, split: str) -> Splits:
    """Read AG News in the layout of Zhang et al. 2015 (arXiv 1509.01626); a text is the description (as in LD4LG).

    Raises:
        InputError: naming the first line that is not as it should be.
    """
    names = ["train"] if split == "random" else list(AG_NEWS_FILES)
    return {name: read_ag_news_file(folder / AG_NEWS_FILES[name]) for name in names}


READERS: dict[str, Callable[[Path, str], Splits]] = {
    "restaurants": read_nothing,
    "e2e": partial(read_e2e, members=E2E_MEMBERS),
    "roc": read_roc,
    "sst2": read_sst2,
    "ag_news": read_ag_news,
    "text": read_text,
}
"""By dataset_name: (folder of the files, kind of split) -> texts."""
