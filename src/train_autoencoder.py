"""Texts -> models/autoencoder: a small BART trained here, or a pretrained one kept frozen."""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from pathlib import Path

import torch
from transformers import AutoTokenizer, BartForConditionalGeneration

from annealed_lm.autoencoder.model import Autoencoder, LatentSettings, small_bart
from annealed_lm.autoencoder.tokenizer import tokenize, train_tokenizer
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import InputError, one_sentence_errors
from annealed_lm.common.files import read_json, read_texts
from annealed_lm.common.seeds import derive_seed
from annealed_lm.config.config import load_config, require_unchanged, settings_from
from annealed_lm.config.effects import decisive
from annealed_lm.config.sections import TrainAutoencoder
from annealed_lm.trainers.autoencoder import AutoencoderTraining, train_autoencoder
from annealed_lm.training.checkpoints import CheckpointStore, resume_folder
from annealed_lm.training.descriptions import Ingredients, TrainingDescription


def untrained_autoencoder(section: TrainAutoencoder, texts: list[str], pretrained: Path) -> Autoencoder:
    """Return the autoencoder before training: a new BART for these texts, or the pretrained one, frozen.

    Raises:
        InputError: the pretrained one is not there, or does not fit the settings.
    """
    frozen = section.initialisation == "pretrained"
    settings = settings_from(section, LatentSettings, frozen_states=frozen and section.latent_layout == "per_token")
    torch.manual_seed(derive_seed(section.seed, "weights"))
    if not frozen:
        tokenizer = train_tokenizer(texts, section.tokenizer, section.vocab_size, section.max_tokens)
        return Autoencoder(
            small_bart(tokenizer, section.d_model, section.layers, section.heads, section.max_tokens), tokenizer, settings
        )
    if not (pretrained / "config.json").exists():
        raise InputError(
            f"{pretrained} holds no pretrained BART; name one in fetch_pretrained.autoencoder_name and run fetch_pretrained"
        )
    autoencoder = Autoencoder(
        BartForConditionalGeneration.from_pretrained(pretrained), AutoTokenizer.from_pretrained(pretrained), settings
    )
    autoencoder.freeze_bart(but_decoder=section.train_decoder)
    return autoencoder


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "texts", "pretrained", "resume", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    section = config.train_autoencoder

    texts = read_texts(args.texts / "train.jsonl")
    statistics = read_json(args.texts / "statistics.json")
    autoencoder = untrained_autoencoder(section, texts, args.pretrained / "autoencoder")
    if autoencoder.reader is not None:
        inputs = {"texts": args.texts, "pretrained": args.pretrained}
        ingredients = Ingredients.of(Path(__file__), decisive("train_autoencoder", section.model_dump()), inputs)
        trains = f"autoencoder of {statistics['dataset_name']}, {section.latent_layout}"
        description = TrainingDescription(Path(__file__).stem, trains, section.num_train_steps, ingredients)
        store = CheckpointStore(resume_folder(args.resume) / ingredients.key, description)
        ids = tokenize(autoencoder.tokenizer, texts, section.max_tokens)
        with store.held():
            train_autoencoder(autoencoder, ids, settings_from(section, AutoencoderTraining), store, default_device())
    autoencoder.save(args.out, statistics["fingerprint"], statistics["dataset_name"])
    require_unchanged(args.params)
    if autoencoder.reader is not None:
        store.remove()


if __name__ == "__main__":
    with one_sentence_errors():
        main()
