"""Averaged models from along the training -> data/quality/quality.tsv: every metric of the texts that they write.

Training itself evaluates nothing: it leaves the models, so a metric can change without training again. Texts are those of the
first sampling seed and decoding strategy. The first model is the guide of all of them, and so stays unguided.
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from dataclasses import replace
from pathlib import Path

from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import one_sentence_errors, tell
from annealed_lm.common.files import atomic_path, is_whole, read_json, seal, write_json, write_tsv
from annealed_lm.config.config import load_config, require_unchanged, settings_from
from annealed_lm.diffusion.model import DiffusionModel, kept_models
from annealed_lm.evaluation.judges import load_same_judges
from annealed_lm.evaluation.references import References
from annealed_lm.evaluation.scores import score_alone
from annealed_lm.generation.decoding import DecodingSettings
from annealed_lm.generation.sampling import SamplingSettings
from annealed_lm.generation.texts import TextSampler
from annealed_lm.reporting.tables import aligned_rows
from annealed_lm.training.checkpoints import CheckpointStore, resume_folder
from annealed_lm.training.descriptions import Ingredients, TrainingDescription

SHOWN = ("step", "grammatical", "perplexity", "mauve_train", "diversity")
"""What is printed of a model, as a sign that work goes on."""
INPUTS = ("snapshots", "latents", "autoencoder", "references", "language_model", "judges")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "snapshots", "latents", "autoencoder", "references", "language-model", "judges", "resume", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    section, device = config.sample_texts, default_device()
    seed, strategy = section.eval_seeds[0], section.strategies[0]

    autoencoder, references = Autoencoder.load(args.autoencoder), References.load(args.references)
    judges = load_same_judges(references.settings, args.language_model, args.judges, device)
    inputs = {name: getattr(args, name) for name in INPUTS}
    ingredients = Ingredients.of(Path(__file__), section.model_dump(), inputs)
    snapshots = kept_models(args.snapshots)
    guide = DiffusionModel.load(snapshots[0]).denoiser
    trains = "metrics of the models along a training"
    description = TrainingDescription(Path(__file__).stem, trains, len(snapshots), ingredients)
    store = CheckpointStore(resume_folder(args.resume) / f"{ingredients.key}-quality", description)
    rows = []
    with store.held():
        for snapshot in snapshots:
            finished = store.folder / f"{snapshot.name}.json"
            if not is_whole(finished):
                model = replace(DiffusionModel.load(snapshot), guide=guide)
                sampler = TextSampler(model, args.latents, autoencoder, device)
                outline = sampler.outline(section.num_samples, seed)
                latents = sampler.latents(outline, seed, settings_from(section, SamplingSettings))
                decoding = settings_from(section, DecodingSettings)
                texts = sampler.texts(latents, strategy, decoding, seed, section.batch_size, section.decode_at)
                agreement = sampler.agreement(latents, texts, section.batch_size)
                write_json(finished, score_alone(texts, references, judges, labels=outline.labels, agreement=agreement).values)
                seal(finished)
            rows.append({"step": int(snapshot.name), **read_json(finished)})
            tell(", ".join(f"{name} {rows[-1][name]:.4g}" for name in SHOWN if name in rows[-1]))
        with atomic_path(args.out) as partial:
            partial.mkdir()
            write_tsv(partial / "quality.tsv", aligned_rows(rows))
    require_unchanged(args.params)
    store.remove()


if __name__ == "__main__":
    with one_sentence_errors():
        main()
