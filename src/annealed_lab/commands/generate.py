"""Write texts of a trained model to a file: .txt, one a line, or .csv or .jsonl with the columns text and label.

With --label, --count texts of each, and their labels beside them; without, a model that knows labels writes texts of all of them,
as often as the training set has them, and the file does not say which. Empty texts are left out, and counted. In .csv, texts that
a spreadsheet would take for a formula have an apostrophe before them; the other two keep every text as it is.

Reads: an exported model, or that of the workspace (dvc exp apply puts another there). Writes: data/generated.txt.
Example: python src/lab.py generate --count 1000 --out texts.jsonl
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
import csv
from collections.abc import Callable, Sequence
from pathlib import Path

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path, one_line, write_jsonl, write_text
from annealed_lm.common.seeds import derive_seed
from annealed_lm.generation.decoding import STRATEGIES
from annealed_lm.publishing.text_generator import TextGenerator

Rows = Sequence[tuple[str, str | None]]
"""Texts with their labels; None: the model was told none."""
EVERY_LABEL = "all"
FORMULA_SIGNS = ("=", "+", "-", "@", "\t", "\r")
"""A spreadsheet runs what begins with one of them (OWASP, CSV injection)."""


def write_lines(path: Path, rows: Rows) -> None:
    write_text(path, "".join(one_line(text) + "\n" for text, _ in rows))


def cell(text: str | None) -> str | None:
    return f"'{text}" if text and text.startswith(FORMULA_SIGNS) else text


def write_csv(path: Path, rows: Rows) -> None:
    """Write the rows under a header, without a column of labels where there are none, and no cell as a formula."""
    width = 1 if all(label is None for _, label in rows) else 2
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([cell(value) for value in row[:width]] for row in [("text", "label"), *rows])


def write_objects(path: Path, rows: Rows) -> None:
    """Write one JSON object a line, without a label where there is none."""
    write_jsonl(path, ({"text": text} | ({} if label is None else {"label": label}) for text, label in rows))


WRITERS: dict[str, Callable[[Path, Rows], None]] = {".txt": write_lines, ".csv": write_csv, ".jsonl": write_objects}
"""By how the name of the file ends."""


def parse_arguments(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    """Return the options.

    Raises:
        InputError: --out is of another kind.
    """
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, required=True, help="how many texts, empty ones among them; of every --label")
    parser.add_argument("--out", type=Path, default=Path("data/generated.txt"), help="file, .txt, .csv or .jsonl (%(default)s)")
    parser.add_argument(
        "--model", type=Path, default=Path("models"), help="exported folder, or a checkout's models/ (%(default)s)"
    )
    parser.add_argument("--label", nargs="+", default=[], help=f"that the texts are to have, or {EVERY_LABEL}")
    parser.add_argument("--length", type=int, help="words that every text is to have")
    parser.add_argument("--seed", type=int, default=0, help="of the latents and of decoding (%(default)s)")
    parser.add_argument("--steps", type=int, help="of sampling (as many as the run took)")
    parser.add_argument("--strategy", choices=STRATEGIES, help="of decoding (the run's first)")
    args = parser.parse_args(arguments)
    if args.out.suffix not in WRITERS:
        raise InputError(f"--out {args.out}: its name should end with {', '.join(WRITERS)}")
    return args


def main(program: str, arguments: Sequence[str]) -> None:
    args = parse_arguments(program, arguments)
    generator = TextGenerator.from_pretrained(args.model)
    labels = generator.labels if args.label == [EVERY_LABEL] else args.label
    if args.label == [EVERY_LABEL] and not labels:
        raise InputError(f"--label {EVERY_LABEL}: the model knows no labels")
    rows: list[tuple[str, str | None]] = []
    for label in labels or [None]:
        seed = args.seed if label is None else derive_seed(args.seed, label)
        texts = generator.sample(args.count, seed, label, args.length, args.steps, args.strategy)
        rows += [(text, label) for text in texts if text]
        told = "" if label is None else f"{label}: "
        print(f"{told}{len(texts)} texts, of which {texts.count('')} are empty and left out; the first: {one_line(texts[0])}")
    WRITERS[args.out.suffix](args.out, rows)
    print(f"{len(rows)} texts in {args.out}")
