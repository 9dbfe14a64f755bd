"""Name the places where dvc.yaml puts what the stages make, and let a command read them elsewhere."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from annealed_lm.common.errors import InputError

PLACES = {
    "params": "params.yaml",
    "texts": "data/prepared",
    "latents": "data/latents",
    "references": "data/references",
    "samples": "data/samples",
    "autoencoder": "models/autoencoder",
    "diffusion": "models/diffusion",
    "language-model": "models/language_model",
    "judges": "models/judges",
}
"""What the stages call a file or folder (as an option, --texts) -> its path in the project."""


def first_samples(samples: Path, eval_seeds: Sequence[int], strategies: Sequence[str]) -> Path:
    """Return the file of a run's first set of samples, of those that `samples` holds."""
    return samples / str(eval_seeds[0]) / f"{strategies[0]}.jsonl"


def add_places(parser: argparse.ArgumentParser, *names: str) -> None:
    """Add an option for each of the named places."""
    for name in names:
        parser.add_argument(f"--{name}", type=Path, default=Path(PLACES[name]), metavar="PATH", help="(%(default)s)")


def require_places(args: argparse.Namespace, *names: str) -> None:
    """Check that something is at each of the named places, as the options say them.

    Raises:
        InputError: which is missing.
    """
    for name in names:
        path: Path = getattr(args, name.replace("-", "_"))
        if not path.exists():
            raise InputError(f"--{name} {path} is not there: name another, or bring it with dvc exp run or dvc pull")
