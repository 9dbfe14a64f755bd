"""Texts -> models/language_model: a small GPT-2 trained on the training texts, the judge of perplexity."""

import annealed_lm.offline  # noqa: F401, I001  (first: the model libraries read it when they are imported)

import argparse
from pathlib import Path

from annealed_lm.checkpoints import CheckpointStore, resume_folder, training_key
from annealed_lm.config import load_config
from annealed_lm.devices import default_device
from annealed_lm.errors import one_sentence_errors
from annealed_lm.files import read_texts
from annealed_lm.language_model_training import LanguageModelTraining, small_gpt2, train_language_model
from annealed_lm.tokenizer import train_tokenizer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "texts", "resume", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    section = config.train_language_model

    train, valid = (read_texts(args.texts / f"{split}.jsonl") for split in ("train", "valid"))
    tokenizer = train_tokenizer(train, section.tokenizer, section.vocab_size, section.max_tokens)
    language_model = small_gpt2(tokenizer, section.d_model, section.layers, section.heads, section.max_tokens, section.seed)
    training = LanguageModelTraining(
        seed=section.seed,
        num_train_steps=section.num_train_steps,
        batch_size=section.batch_size,
        learning_rate=section.learning_rate,
    )
    key = training_key(section.model_dump(), inputs=[args.texts], code=[Path(__file__).parent])
    store = CheckpointStore(resume_folder(args.resume) / key)
    with store.held():
        train_language_model(language_model, train, training, store, default_device())
    likelihoods = language_model.likelihoods(valid, section.batch_size)
    report = {"valid_perplexity": likelihoods.perplexity, "valid_perplexity_corpus": likelihoods.perplexity_corpus}
    language_model.save(args.out, report)
    store.remove()
    for name, value in report.items():
        print(f"{name}: {value:.4g}")


if __name__ == "__main__":
    with one_sentence_errors():
        main()
