"""Write synthetic texts with their labels (CSV, columns text and label), so many of each, with a class-conditional model.

Empty texts are left out, and counted.
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

from annealed_lab.experiments.places import add_places, require_places
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import InputError, tell
from annealed_lm.common.files import atomic_path
from annealed_lm.common.seeds import derive_seed
from annealed_lm.config.config import load_config, settings_from
from annealed_lm.diffusion.model import DiffusionModel
from annealed_lm.generation.decoding import DecodingSettings
from annealed_lm.generation.solvers import SamplingSettings
from annealed_lm.generation.texts import TextSampler


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__)
    add_places(parser, "params", "diffusion", "latents", "autoencoder")
    parser.add_argument("--out", type=Path, default=Path("data/generated.csv"), help="file (%(default)s)")
    parser.add_argument("--texts-per-label", type=int, required=True, help="how many, empty ones among them")
    parser.add_argument("--seed", type=int, default=0, help="of the latents and of decoding (%(default)s)")
    parser.add_argument("--labels", nargs="+", help="(all that the model knows)")
    args = parser.parse_args(arguments)
    if args.texts_per_label < 1:
        raise InputError(f"--texts-per-label {args.texts_per_label}: it should be at least 1")
    require_places(args, "diffusion", "latents", "autoencoder")
    config = load_config(args.params)
    section = config.sample_texts

    sampler = TextSampler(DiffusionModel.load(args.diffusion), args.latents, Autoencoder.load(args.autoencoder), default_device())
    sampler.require_labels(args.labels or [])
    rows: list[tuple[str, str]] = []
    for label in args.labels or sampler.model.labels:
        seed = derive_seed(args.seed, label)
        outline = sampler.outline_of_label(label, args.texts_per_label, seed)
        latents = sampler.latents(outline, seed, settings_from(section, SamplingSettings))
        texts = sampler.texts(latents, section.strategies[0], settings_from(section, DecodingSettings), seed, section.batch_size)
        rows += [(text, label) for text in texts if text]
        tell(f"{label}: {len(texts)} texts, of which {texts.count('')} are empty and left out; the first: {texts[0]}")
    with atomic_path(args.out) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("text", "label"))
        writer.writerows(rows)
    tell(f"{len(rows)} texts in {args.out}")
