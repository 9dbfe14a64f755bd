"""Diffusion, autoencoder -> data/samples/<seed>/<strategy>.jsonl: latents sampled, decoded; empty texts keep a line."""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from pathlib import Path

from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import one_sentence_errors, tell
from annealed_lm.common.files import atomic_path, one_line, write_jsonl
from annealed_lm.config.config import load_config, require_unchanged, settings_from
from annealed_lm.diffusion.model import DiffusionModel
from annealed_lm.generation.decoding import DecodingSettings
from annealed_lm.generation.sampling import SamplingSettings
from annealed_lm.generation.texts import TextSampler, text_rows

SHOWN_CHARACTERS = 500
"""Of the text that is printed."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "diffusion", "latents", "autoencoder", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    section = config.sample_texts

    model, autoencoder = DiffusionModel.load(args.diffusion), Autoencoder.load(args.autoencoder)
    sampler = TextSampler(model, args.latents, autoencoder, default_device())
    report = []
    with atomic_path(args.out) as partial:
        for seed in section.eval_seeds:
            outline = sampler.outline(section.num_samples, seed)
            latents = sampler.latents(outline, seed, settings_from(section, SamplingSettings))
            for strategy in section.strategies:
                decoding = settings_from(section, DecodingSettings)
                texts = sampler.texts(latents, strategy, decoding, seed, section.batch_size, section.decode_at)
                agreement = sampler.agreement(latents, texts, section.batch_size)
                write_jsonl(partial / str(seed) / f"{strategy}.jsonl", text_rows(texts, outline.labels, agreement))
                first = one_line(texts[0])[:SHOWN_CHARACTERS]
                report.append(f"seed {seed}, {strategy}: {len(texts)} texts, {texts.count('')} empty; the first: {first}")
    require_unchanged(args.params)
    tell("\n".join(report))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
