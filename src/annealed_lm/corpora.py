"""From the rows of a corpus to clean training, validation and test texts, with counts of all that was done to them."""

import random
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from annealed_lm.corpus_files import CORPUS_FILES, Splits
from annealed_lm.errors import InputError
from annealed_lm.restaurants import make_corpus

SPLITS = ("train", "valid", "test")

CONTROL_CATEGORIES = {"Cc", "Cf", "Cs"}
"""Control and format characters (zero-width spaces, byte order marks), and halves of surrogate pairs."""
LATIN_LETTERS_BY_ANOTHER_NAME = "ªºµ"
FINDINGS = ("control_characters", "not_nfc", "empty", "too_long", "other_scripts", "repeated")
"""What cleaning looks for in a row, in this order; see `clean`."""


@dataclass(frozen=True)
class Preparation:
    """How a corpus is cleaned and divided; the sizes are upper bounds.

    Attributes:
        split: official, or random: rows of the training file are held out. A corpus without an official split has only random.
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
        return {"train": self.train_texts, "valid": self.valid_texts, "test": self.test_texts}


def make_restaurants(folder: Path, preparation: Preparation) -> Splits:
    """The embedded corpus, as many texts as asked for."""
    splits = make_corpus(list(preparation.sizes.values()), preparation.seed)
    return {name: [restaurant.text for restaurant in split] for name, split in zip(SPLITS, splits, strict=True)}


def read_files(dataset_name: str, folder: Path, preparation: Preparation) -> Splits:
    """The rows of the files in `folder`.

    Raises:
        InputError: a file that the split needs is missing, or a file cannot be read.
    """
    corpus = CORPUS_FILES[dataset_name]
    for name in corpus.required[preparation.split]:
        if not (folder / name).is_file():
            raise InputError(
                f"split = {preparation.split} of dataset_name = {dataset_name} needs {name}, which {folder} has not: "
                "put it into the raw folder of the corpus, or choose split = random"
            )
    return corpus.read(folder, preparation.split)


CORPORA: dict[str, Callable[[Path, Preparation], Splits]] = {
    **{name: partial(read_files, name) for name in CORPUS_FILES},
    "restaurants": make_restaurants,
}
"""dataset_name -> (folder of the files, preparation) -> rows."""


def without_control_characters(text: str) -> str:
    """Each control character as a space; white space stays as it is."""
    if text.isprintable():
        return text
    return "".join(" " if unicodedata.category(c) in CONTROL_CATEGORIES and not c.isspace() else c for c in text)


def has_other_script(text: str) -> bool:
    """Whether a letter is not of the Latin script; modifier letters belong to all scripts."""
    if text.isascii():
        return False
    letters = {c for c in text if unicodedata.category(c) in ("Lu", "Ll", "Lt", "Lo")}
    return any("LATIN" not in unicodedata.name(c, "") for c in letters.difference(LATIN_LETTERS_BY_ANOTHER_NAME))


def clean(rows: Sequence[str], preparation: Preparation) -> tuple[list[str], dict[str, int]]:
    """Clean the rows of one file: the texts kept, in order, and how many rows each finding concerns.

    Control characters become spaces, Unicode is composed (NFC), runs of white space become one space. Then empty rows and rows
    of more than `max_words` words are dropped; rows with letters of other scripts, and rows equal to an earlier one that was
    kept, are dropped or kept as asked.
    """
    optional = {"other_scripts": preparation.other_scripts, "repeated": preparation.duplicates}
    dropping = ["empty", "too_long"] + [finding for finding, treatment in optional.items() if treatment == "drop"]
    counts = Counter(dict.fromkeys(FINDINGS, 0))
    kept: list[str] = []
    seen: set[str] = set()
    for row in rows:
        printable = without_control_characters(row)
        composed = unicodedata.normalize("NFC", printable)
        words = composed.split()
        text = " ".join(words)
        findings = {
            "control_characters": printable != row,
            "not_nfc": composed != printable,
            "empty": not words,
            "too_long": len(words) > preparation.max_words,
            "other_scripts": has_other_script(text),
            "repeated": text in seen,
        }
        counts.update(findings)
        if not any(findings[finding] for finding in dropping):
            kept.append(text)
            seen.add(text)
    return kept, {"rows": len(rows), **counts, "rows_kept": len(kept)}


def divide(texts: Sequence[str], preparation: Preparation) -> Splits:
    """Hold out distinct texts by the seed; every row of a held-out text goes with it, so that no two splits share a text.

    Raises:
        InputError: the held-out texts would leave none to train on.
    """
    distinct = list(dict.fromkeys(texts))
    held_out = preparation.valid_texts + preparation.test_texts
    if len(distinct) <= held_out:
        raise InputError(
            f"{len(distinct)} distinct texts are too few: valid_texts + test_texts = {held_out} are held out, "
            "and some must be left for training; lower these sizes or bring more texts"
        )
    drawn = random.Random(preparation.seed).sample(distinct, held_out)
    split_of = dict.fromkeys(drawn[: preparation.valid_texts], "valid") | dict.fromkeys(drawn[preparation.valid_texts :], "test")
    return {name: [text for text in texts if split_of.get(text, "train") == name] for name in SPLITS}


def draw(texts: Sequence[str], size: int, seed: str) -> list[str]:
    """At most `size` texts, drawn by the seed, in their order."""
    if len(texts) <= size:
        return list(texts)
    return [texts[i] for i in sorted(random.Random(seed).sample(range(len(texts)), size))]


def describe(texts: Sequence[str], train: Sequence[str]) -> dict[str, float]:
    """Counts of one split; lengths are in words, `in_train` is the number of its texts that are training texts too."""
    words = [text.split() for text in texts]
    lengths = [len(each) for each in words]
    training_texts = set(train)
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


def prepare_corpus(dataset_name: str, folder: Path, preparation: Preparation) -> tuple[Splits, dict[str, Any]]:
    """Texts of train, valid and test, and their statistics: `files` counts the rows as read, `splits` the texts as handed out.

    Raises:
        InputError: a file cannot be read, or a split has no texts.
    """
    rows = CORPORA[dataset_name](folder, preparation)
    cleaned, files = {}, {}
    for name, texts in rows.items():
        cleaned[name], files[name] = clean(texts, preparation)
        if not cleaned[name]:
            found = ", ".join(f"{finding}: {count}" for finding, count in files[name].items())
            raise InputError(f"{dataset_name} has no texts for {name} after cleaning ({found})")
    if set(cleaned) == {"train"}:
        cleaned = divide(cleaned["train"], preparation)
    splits = {name: draw(cleaned[name], size, f"{preparation.seed} {name}") for name, size in preparation.sizes.items()}
    described = {name: describe(texts, splits["train"]) for name, texts in splits.items()}
    return splits, {"files": files, "splits": described}
