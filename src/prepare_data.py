"""The files of a corpus -> data/prepared: clean training, validation and test texts as .jsonl, and statistics.json.

It is the last stage before those that take long, so it also says where this corpus or this machine is not enough for what
params.yaml wants later.
"""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

from annealed_lm.common.errors import InputError, one_sentence_errors
from annealed_lm.common.files import atomic_path, write_json, write_jsonl
from annealed_lm.common.words import count_words, unknown_share, vocabulary_for
from annealed_lm.config.config import Config, load_config, require_unchanged, settings_from
from annealed_lm.corpora.cleaning import SPLITS, Preparation, prepare_corpus

MOST_UNKNOWN = 0.05
"""Share of the words of the training texts that a vocabulary may lack: what it lacks no text that it writes can have."""


def require_machine(config: Config) -> None:
    """Check that this machine computes in the precisions, compiles, and has the GPUs, that params.yaml names.

    The libraries that know take seconds to import, so each is asked only about what not every machine has.

    Raises:
        InputError: it does not.
    """
    precisions = {
        "train_diffusion.mixed_precision": config.train_diffusion.mixed_precision,
        "sample_texts.mixed_precision": config.sample_texts.mixed_precision,
    }
    num_processes = config.train_diffusion.num_processes
    if "fp16" in precisions.values() or num_processes > 1:
        from annealed_lm.common.devices import default_device, gpu_count

        for key, precision in precisions.items():
            if precision == "fp16" and default_device().type == "cpu":
                raise InputError(f"{key} = fp16 needs a GPU, and this machine has none: it should be no or bf16")
        if 0 < gpu_count() < num_processes:
            raise InputError(
                f"train_diffusion.num_processes = {num_processes} takes a GPU each, and this machine has {gpu_count()}"
            )
    if config.train_diffusion.compile:
        from annealed_lm.training.processes import require_compiler

        require_compiler()


def require_texts_to_compare_with(train_texts: int, valid_texts: int, num_samples: int) -> None:
    """Check that the corpus has enough texts for the sets of real texts that samples are compared with.

    Raises:
        InputError: it has not.
    """
    if train_texts < 2 * num_samples or valid_texts < num_samples:
        raise InputError(
            f"sample_texts.num_samples = {num_samples} needs {2 * num_samples} training and {num_samples} validation texts to "
            f"compare with, and after cleaning the corpus has {train_texts} and {valid_texts}: lower it, or bring more texts"
        )


def require_known_words(config: Config, texts: Sequence[str]) -> None:
    """Check that the vocabularies of whole words know most words of the training texts.

    Raises:
        InputError: more than `MOST_UNKNOWN` of them are unknown to one; it says what to set.
    """
    vocabularies = {
        "train_language_model": (config.train_language_model.tokenizer, config.train_language_model.vocab_size),
        "train_autoencoder": (config.train_autoencoder.tokenizer, config.train_autoencoder.vocab_size),
    }
    if config.train_autoencoder.initialisation == "pretrained":
        del vocabularies["train_autoencoder"]  # which has one of its own
    of_words = {name: vocab_size for name, (tokenizer, vocab_size) in vocabularies.items() if tokenizer == "word"}
    if not of_words:
        return
    counts = count_words(texts)
    for name, vocab_size in of_words.items():
        unknown = unknown_share(counts, vocab_size)
        if unknown > MOST_UNKNOWN:
            raise InputError(
                f"{name}.vocab_size = {vocab_size} leaves {unknown:.1%} of the words of the training texts unknown, more than "
                f"{MOST_UNKNOWN:.0%}: set it to {vocabulary_for(counts, MOST_UNKNOWN)} or more, or {name}.tokenizer to bpe, "
                "which knows every text"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)

    require_machine(config)
    num_samples = config.sample_texts.num_samples
    preparation = settings_from(config.prepare_data, Preparation)
    splits, statistics = prepare_corpus(config.dataset_name, args.corpus, preparation)
    require_texts_to_compare_with(len(splits["train"]), len(splits["valid"]), num_samples)
    require_known_words(config, [row.text for row in splits["train"]])
    if config.train_diffusion.class_conditional and "labels" not in statistics:
        raise InputError(f"train_diffusion.class_conditional needs texts with labels, and those of {args.corpus} have none")
    with atomic_path(args.out) as partial:
        partial.mkdir()
        fingerprint = hashlib.sha256()
        for name in SPLITS:
            path = partial / f"{name}.jsonl"
            rows = ({key: value for key, value in row._asdict().items() if value is not None} for row in splits[name])
            write_jsonl(path, rows)  # without a label where there is none
            fingerprint.update(path.read_bytes())
        described = {"dataset_name": config.dataset_name, "fingerprint": fingerprint.hexdigest(), **statistics}
        write_json(partial / "statistics.json", described)
    require_unchanged(args.params)


if __name__ == "__main__":
    with one_sentence_errors():
        main()
