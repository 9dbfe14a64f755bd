"""Averaged models from along the training -> data/quality/quality.tsv: every metric of the texts that each of them samples.

Training itself evaluates nothing: it leaves the models, so a metric can change without training again.
"""

import annealed_lm.offline  # noqa: F401, I001  (first: the model libraries read it when they are imported)

import argparse
from pathlib import Path

from annealed_lm.autoencoder import Autoencoder
from annealed_lm.config import load_config, settings_from
from annealed_lm.decoding import DecodingSettings
from annealed_lm.devices import default_device
from annealed_lm.diffusion_model import DiffusionModel
from annealed_lm.errors import one_sentence_errors
from annealed_lm.evaluation import score_texts
from annealed_lm.files import atomic_path, write_tsv
from annealed_lm.generation import SamplingSettings, TextSampler
from annealed_lm.judges import load_judges
from annealed_lm.references import References
from annealed_lm.tables import aligned_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "snapshots", "latents", "autoencoder", "references", "language-model", "pretrained", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    section, device = config.sample_texts, default_device()
    seed, strategy = section.eval_seeds[0], section.strategies[0]

    autoencoder, references = Autoencoder.load(args.autoencoder), References.load(args.references)
    judges = load_judges(list(references.settings.mauve), args.language_model, args.pretrained, device)
    rows = []
    for snapshot in sorted(args.snapshots.iterdir()):
        sampler = TextSampler(DiffusionModel.load(snapshot), args.latents, autoencoder, device)
        outline = sampler.outline(section.num_samples, seed)
        latents = sampler.latents(outline, seed, settings_from(section, SamplingSettings))
        texts = sampler.texts(latents, strategy, settings_from(section, DecodingSettings), seed, section.batch_size)
        features = judges.features_of_sets({"texts": texts})["texts"]
        scores = score_texts(texts, features, references, judges.language_model, labels=outline.labels)
        rows.append({"step": int(snapshot.name), **scores.values})
        print(f"step {int(snapshot.name)}: {', '.join(f'{name} {value:.4g}' for name, value in scores.values.items())}")
    with atomic_path(args.out) as partial:
        partial.mkdir()
        write_tsv(partial / "quality.tsv", aligned_rows(rows))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
