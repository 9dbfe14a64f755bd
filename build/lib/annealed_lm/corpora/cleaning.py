"""From the rows of a corpus to clean training, validation and test texts, with counts of all that was done to them."""

import random
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from annealed_lm.common.errors import InputError
from annealed_lm.corpora.files import CORPUS_FILES
from annealed_lm.corpora.readers import READERS, LabelledText, Splits
from annealed_lm.corpora.restaurants import make_corpus

SPLITS = ("train", "valid", "test")

REMOVED_CATEGORIES = {"Cc", "Cs"}
"""Control characters, and halves of surrogate pairs."""
LAYOUT = re.compile(
    "[\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U0001d173-\U0001d17a\U000e0001]"
)
"""Format characters (Cf) that are not seen and say only how a text is laid out: soft hyphen, zero-width space, word joiner, byte
order mark, directions of writing. The other ones are seen, as Arabic number signs are, or decide what is: joiners of letters."""
JOINERS = "\u200c\u200d"
"""Zero-width joiner and non-joiner: letters of Persian, Hindi, emoji of families. By themselves they are no word."""
LATIN_LETTERS_BY_ANOTHER_NAME = "ªºµ"
"""Letters of the Latin script whose Unicode names do not say so."""
FINDINGS = ("control_characters", "not_nfc", "empty", "too_long", "other_scripts", "repeated")
"""What cleaning looks for in a row, in this order; see `clean`."""


@dataclass(frozen=True)
class Preparation:
    """How a corpus is cleaned and divided; the sizes are upper bounds.

    Attributes:
        split: official, or random: rows of the training file are held out. A corpus without an official split has only random,
            and an official split without a file of its own is held out too.
        duplicates: drop or keep: rows equal to an earlier one of their file.
        other_scripts: drop or keep: texts with letters outside the Latin script.
    """

    seed: int
    split: str
    train_texts: int
    valid_texts: int
    test_texts: int
    max_words: int
    duplicates: str
    other_scripts: str

    @property
    def sizes(self) -> dict[str, int]:
        """The most texts of every split."""
        return {"train": self.train_texts, "valid": self.valid_texts, "test": self.test_texts}


def make_restaurants(folder: Path, preparation: Preparation) -> Splits:
    """Make the embedded corpus: as many texts as the preparation wants, labelled by the price range.

    Raises:
        InputError: the grammar has not so many texts.
    """
    splits = make_corpus(list(preparation.sizes.values()), preparation.seed)
    return {name: [LabelledText(each.text, each.label) for each in split] for name, split in zip(SPLITS, splits, strict=True)}


def read_files(dataset_name: str, folder: Path, preparation: Preparation) -> Splits:
    """Return the rows of the files in `folder`.

    Raises:
        InputError: a file that the split needs is missing, or a file cannot be read.
    """
    corpus = CORPUS_FILES[dataset_name]
    for name in corpus.required[preparation.split]:
        if not corpus.file_of(folder, name).is_file():
            raise InputError(
                f"split = {preparation.split} of dataset_name = {dataset_name} needs {name}, which {folder} has not: "
                "put it into the raw folder of the corpus, or choose split = random"
            )
    try:
        return READERS[dataset_name](folder, preparation.split)
    except InputError as error:
        raise InputError(f"{error} ({folder} holds copies: mend the file in the raw folder of the corpus)") from error


CORPORA: dict[str, Callable[[Path, Preparation], Splits]] = {
    **{name: partial(read_files, name) for name in CORPUS_FILES},
    "restaurants": make_restaurants,
}
"""dataset_name -> (folder of the files, preparation) -> rows."""


def without_control_characters(text: str) -> str:
    """Remove what is not seen and joins no letters; white space stays as it is, and what was no space becomes none."""
    if text.isprintable():
        return text
    kept = "".join(c for c in text if c.isspace() or unicodedata.category(c) not in REMOVED_CATEGORIES)
    return LAYOUT.sub("", kept)


def has_other_script(text: str) -> bool:
    """Return whether a letter is not of the Latin script; modifier letters belong to all scripts."""
    if text.isascii():
        return False
    letters = {c for c in text if unicodedata.category(c) in ("Lu", "Ll", "Lt", "Lo")}
    return any("LATIN" not in unicodedata.name(c, "") for c in letters.difference(LATIN_LETTERS_BY_ANOTHER_NAME))


def clean(rows: Sequence[LabelledText], preparation: Preparation) -> tuple[list[LabelledText], dict[str, int]]:
    """Clean the rows of one file.

    Control and layout characters go, Unicode is composed (NFC), runs of white space become one space. Then empty rows and rows of
    more than `max_words` words are dropped. Rows with letters of other scripts, and rows whose text equals that of an earlier one
    that was kept, whatever their labels, are dropped or kept as the preparation says.

    Returns:
        The rows that are kept, in order and with their labels; and how many rows every finding concerns, by finding.
    """
    optional = {"other_scripts": preparation.other_scripts, "repeated": preparation.duplicates}
    dropping = ["empty", "too_long"] + [finding for finding, treatment in optional.items() if treatment == "drop"]
    counts = Counter(dict.fromkeys(FINDINGS, 0))
    kept: list[LabelledText] = []
    seen: set[str] = set()
    for row in rows:
        printable = without_control_characters(row.text)
        composed = unicodedata.normalize("NFC", printable)
        words = [word for word in composed.split() if word.strip(JOINERS)]
        text = " ".join(words)
        findings = {
            "control_characters": printable != row.text,
            "not_nfc": composed != printable,
            "empty": not words,
            "too_long": len(words) > preparation.max_words,
            "other_scripts": has_other_script(text),
            "repeated": text in seen,
        }
        counts.update(findings)
        if not any(findings[finding] for finding in dropping):
            kept.append(LabelledText(text, row.label))
            seen.add(text)
    return kept, {"rows": len(rows), **counts, "rows_kept": len(kept)}


def divide(rows: Splits, preparation: Preparation) -> Splits:
    """Hold out of train, by the seed, distinct texts for the splits that have no rows.

    Every row of a held-out text goes with it, and texts of a split that has rows are not held out: what is held out shares no
    text with any other split.

    Raises:
        InputError: the held-out texts would leave none to train on.
    """
    missing = {name: size for name, size in preparation.sizes.items() if name not in rows}
    if not missing:
        return rows
    elsewhere = {row.text for name in rows if name != "train" for row in rows[name]}
    distinct = list(dict.fromkeys(row.text for row in rows["train"] if row.text not in elsewhere))
    held_out = sum(missing.values())
    if len(distinct) <= held_out:
        sizes = " + ".join(f"{name}_texts" for name in missing)
        raise InputError(
            f"{len(distinct)} distinct texts are too few: {sizes} = {held_out} are held out, "
            "and some must be left for training; lower these sizes or bring more texts"
        )
    drawn = iter(random.Random(preparation.seed).sample(distinct, held_out))
    split_of = {text: name for name, size in missing.items() for text in islice(drawn, size)}
    divided = {name: [row for row in rows["train"] if split_of.get(row.text, "train") == name] for name in ("train", *missing)}
    return rows | divided


def draw(rows: Sequence[LabelledText], size: int, seed: str) -> list[LabelledText]:
    """Return at most `size` rows in their order, chosen at random by the seed."""
    if len(rows) <= size:
        return list(rows)
    return [rows[i] for i in sorted(random.Random(seed).sample(range(len(rows)), size))]


def describe(rows: Sequence[LabelledText], train: Sequence[LabelledText]) -> dict[str, float]:
    """Count the texts and words of one split; lengths are in words.

    `in_train` is the number of its texts that are training texts too.
    """
    texts = [row.text for row in rows]
    words = [text.split() for text in texts]
    lengths = [len(each) for each in words]
    training_texts = {row.text for row in train}
    return {
        "texts": len(texts),
        "distinct_texts": len(set(texts)),
        "in_train": sum(text in training_texts for text in texts),
        "words": sum(lengths),
        "word_types": len({word.strip(string.punctuation) for each in words for word in each}),
        "words_a_text": round(sum(lengths) / len(lengths), 3),
        "shortest": min(lengths),
        "longest": max(lengths),
    }


def count_labels(splits: Splits) -> dict[str, dict[str, int]]:
    """Count the texts of every label in every split; a corpus without labels has no counts."""
    labels = sorted({row.label for rows in splits.values() for row in rows if row.label is not None})
    counts = {name: Counter(row.label for row in rows) for name, rows in splits.items()}
    return {name: {label: counts[name][label] for label in labels} for name in splits} if labels else {}


def prepare_corpus(dataset_name: str, folder: Path, preparation: Preparation) -> tuple[Splits, dict[str, Any]]:
    """Return the texts of train, valid and test, and their statistics.

    `files` counts the rows as read, `splits` the texts as handed out, and `labels`, where there are any, the texts of every
    label.

    Raises:
        InputError: a file cannot be read, a split has no texts, or too few texts are left for training.
    """
    rows = CORPORA[dataset_name](folder, preparation)
    cleaned, files = {}, {}
    for name, rows_of_file in rows.items():
        cleaned[name], files[name] = clean(rows_of_file, preparation)
        if not cleaned[name]:
            found = ", ".join(f"{finding}: {count}" for finding, count in files[name].items())
            raise InputError(f"{dataset_name} has no texts for {name} after cleaning ({found})")
    divided = divide(cleaned, preparation)
    splits = {name: draw(divided[name], size, f"{preparation.seed} {name}") for name, size in preparation.sizes.items()}
    statistics: dict[str, Any] = {
        "files": files,
        "splits": {name: describe(each, splits["train"]) for name, each in splits.items()},
    }
    labels = count_labels(splits)
    return splits, statistics | ({"labels": labels} if labels else {})
