"""Texts -> models/language_model: small GPT-2 models trained on the training texts: a baseline, and the judge of perplexity
unless fetch_judges brings one."""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
import math
from pathlib import Path

from annealed_lm.autoencoder.tokenizer import train_tokenizer
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import InputError, one_sentence_errors, tell
from annealed_lm.common.files import atomic_path, read_texts
from annealed_lm.config.config import load_config, require_unchanged, settings_from
from annealed_lm.generation.language_model import BASELINE, JUDGE
from annealed_lm.trainers.language_model import LanguageModelTraining, small_gpt2, train_language_model
from annealed_lm.training.checkpoints import CheckpointStore, resume_folder
from annealed_lm.training.descriptions import Ingredients, TrainingDescription


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "texts", "resume", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    section = config.train_language_model

    train, valid = (read_texts(args.texts / f"{split}.jsonl") for split in ("train", "valid"))
    tokenizer = train_tokenizer(train, section.tokenizer, section.vocab_size, section.max_tokens)
    ingredients = Ingredients.of(Path(__file__), section.model_dump(), {"texts": args.texts})
    seeds = {BASELINE: section.baseline_seed}
    if config.fetch_judges.language_model_name is None:
        seeds = {JUDGE: section.seed, **seeds}
    stores, reports = [], []
    with atomic_path(args.out) as partial:
        for name, seed in seeds.items():
            language_model = small_gpt2(tokenizer, section.d_model, section.layers, section.heads, section.max_tokens, seed)
            training = settings_from(section, LanguageModelTraining, seed=seed)
            trains = f"language model: {name}"
            description = TrainingDescription(Path(__file__).stem, trains, section.num_train_steps, ingredients)
            stores.append(CheckpointStore(resume_folder(args.resume) / f"{ingredients.key}-{name}", description))
            with stores[-1].held():
                train_language_model(language_model, train, training, stores[-1], default_device())
            likelihoods = language_model.likelihoods(valid, section.batch_size)
            if likelihoods.perplexity == math.inf:
                raise InputError(
                    f"train_language_model: the {name} has learned nothing, to it the validation texts are infinitely unlikely: "
                    f"lower learning_rate = {section.learning_rate:g}"
                )
            report = {"valid_perplexity": likelihoods.perplexity, "valid_perplexity_corpus": likelihoods.perplexity_corpus}
            language_model.save(partial / name, report)
            reports.append(f"{name}: perplexity {likelihoods.perplexity:.4g} on validation texts")
    require_unchanged(args.params)
    for store in stores:
        store.remove()
    tell("\n".join(reports))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
