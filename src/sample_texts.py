"""Diffusion and autoencoder -> data/samples: latents drawn by DDIM, decoded by each strategy. Empty texts keep their line."""

import annealed_lm.offline  # noqa: F401, I001  (first: the model libraries read it when they are imported)

import argparse
from pathlib import Path

from annealed_lm.autoencoder import Autoencoder
from annealed_lm.config import load_config
from annealed_lm.decoding import DecodingSettings, decode_latents
from annealed_lm.devices import default_device
from annealed_lm.diffusion_model import DiffusionModel
from annealed_lm.errors import one_sentence_errors
from annealed_lm.files import atomic_path, write_jsonl
from annealed_lm.latents import LatentSet, LatentStatistics, draw_lengths
from annealed_lm.sampling import sample_latents


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "diffusion", "latents", "autoencoder", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    section = config.sample_texts
    device = default_device()

    model = DiffusionModel.load(args.diffusion)
    normalise = model.process.normalize_latent
    statistics = (
        LatentStatistics.load(args.latents) if normalise else LatentStatistics.identity(model.denoiser.settings.latent_dim)
    )
    latents = sample_latents(
        model.process.process(device),
        model.denoiser.to(device),
        statistics,
        draw_lengths(LatentSet.load(args.latents, "train").lengths, section.num_samples, section.seed),
        seed=section.seed,
        batch_size=section.batch_size,
        sampling_timesteps=section.sampling_timesteps,
        eta=section.ddim_sampling_eta,
        device=device,
    )
    settings = DecodingSettings(
        num_beams=section.num_beams,
        top_p=section.top_p,
        min_length=section.min_length,
        no_repeat_ngram_size=section.no_repeat_ngram_size,
        repetition_penalty=section.repetition_penalty,
    )
    autoencoder = Autoencoder.load(args.autoencoder).to(device)
    with atomic_path(args.out) as partial:
        partial.mkdir()
        for strategy in section.strategies:
            texts = decode_latents(autoencoder, latents, strategy, settings, section.seed, section.batch_size)
            write_jsonl(partial / f"{strategy}.jsonl", ({"text": text} for text in texts))
            print(f"{strategy}: {len(texts)} texts, {texts.count('')} empty; the first: {texts[0]}")


if __name__ == "__main__":
    with one_sentence_errors():
        main()
