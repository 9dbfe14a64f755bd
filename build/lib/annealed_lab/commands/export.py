"""Put the trained model of this checkout and its model card into one folder, for other programs and for the Hugging Face hub.

`TextGenerator.from_pretrained(folder)` reads it wherever this package is installed; `hf upload user/name folder` shares it.

Reads: models/, data/, metrics/, params.yaml and dvc.lock of a finished run. Writes: the folder.
Example: python src/lab.py export my-model
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from collections.abc import Sequence
from pathlib import Path

from annealed_lab.handing_over.card import model_card
from annealed_lab.handing_over.run import Run
from annealed_lm.publishing.exporting import CARD, export_model, require_free
from annealed_lm.publishing.model_folder import ModelFolder

STATED = ("dataset_name", "T_schedule", "random_seed")
"""Parameters that the exported description repeats."""


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="to write; an exported model that is there is replaced")
    parser.add_argument("--licence", metavar="NAME", help="of the training texts, as the hub calls it (the corpus's, if known)")
    args = parser.parse_args(arguments)

    require_free(args.folder)
    root = Path()
    run, parts = Run.read(root), ModelFolder.of_checkout(root)
    export_model(parts, args.folder, model_card(run, root / "models", args.licence), {key: run.params[key] for key in STATED})
    size = sum(path.stat().st_size for path in args.folder.rglob("*") if path.is_file())
    print(f"{args.folder}: the model, {size / 1e6:.1f} MB, and its card, {args.folder / CARD}")
    print(f'next: TextGenerator.from_pretrained("{args.folder}"), or to share it: hf upload USER/NAME {args.folder}')
