"""Let the next run be on texts of your own: bring the file to data/raw, and fit params.yaml to it.

FILE is .txt, one text a line; or .csv with a header, or .jsonl, one object a line, of which --text names the column of texts.
--label names one of labels, and makes the model class-conditional. Sizes, vocabulary, lengths, number of samples and steps are
taken from the texts and written into params.yaml, where they can be changed; `git checkout params.yaml` undoes it.

Reads: the file, presets/text.yaml. Writes: data/raw/text, params.yaml.
Example: python src/lab.py text reviews.csv --text review --label stars
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from annealed_lab.experiments.params_file import change_params, nested
from annealed_lab.own_texts.bringing import put, read_own_texts
from annealed_lab.own_texts.sizes import Choice, choose_sizes, most_words
from annealed_lm.config.config import load_config, settings_from
from annealed_lm.config.yaml_files import read_mapping
from annealed_lm.corpora.cleaning import Preparation, clean

PRESET = Path("presets/text.yaml")
DROPPED = {"empty": "blank", "too_long": "longer than {max_words} words", "repeated": "repeated"}
"""Findings of the cleaning, as a person is told of them."""


def told_of_cleaning(counts: Mapping[str, int], max_words: int) -> str:
    """Return what was read and what of it is kept, in one sentence."""
    found = ", ".join(f"{counts[name]} {words.format(max_words=max_words)}" for name, words in DROPPED.items())
    return f"{counts['rows']} rows ({found}), of which {counts['rows_kept']} texts are kept"


def told_of_choices(chosen: Mapping[str, Choice]) -> str:
    """Return a line for every value: its key, itself and its reason."""
    width = max(map(len, chosen)) + 2
    return "\n".join(f"  {key:{width}}{str(choice.value).lower():8}{choice.reason}" for key, choice in chosen.items())


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help=".txt, .csv or .jsonl")
    parser.add_argument("--text", metavar="COLUMN", help="of the texts, in .csv and .jsonl (text)")
    parser.add_argument("--label", metavar="COLUMN", help="of the labels, in .csv and .jsonl (none)")
    parser.add_argument("--replace", action="store_true", help="let the texts take the place of others in --raw")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"), help="the file to change (%(default)s)")
    parser.add_argument("--raw", type=Path, default=Path("data/raw"), help="folder of raw corpora (%(default)s)")
    args = parser.parse_args(arguments)

    texts = read_own_texts(args.file, args.text, args.label)
    preset = read_mapping(PRESET)
    max_words = most_words(texts)
    before = settings_from(load_config(args.params).prepare_data, Preparation)
    kept, counts = clean(texts, replace(before, max_words=max_words, duplicates="drop", other_scripts="keep"))
    print(f"{args.file}: {told_of_cleaning(counts, max_words)}")
    chosen = choose_sizes(kept, max_words)
    target = put(args.file, texts, args.raw / preset["dataset_name"], args.replace)
    change_params(args.params, [preset, nested({key: choice.value for key, choice in chosen.items()})], str(args.file))
    print(f"{target} holds them; {args.params} now says, beside what {PRESET} sets:\n{told_of_choices(chosen)}")
    print(f"next: make run (for --temp, studies and other clones, first: dvc add {target}, and commit what it makes)")
