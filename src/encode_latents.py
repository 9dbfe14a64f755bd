"""Texts and autoencoder -> data/latents: training and validation texts encoded once, ragged, in half precision; their labels."""

import annealed_lm.offline  # noqa: F401, I001  (first: the model libraries read it when they are imported)

import argparse
from pathlib import Path

from annealed_lm.autoencoder import Autoencoder, require_same_corpus
from annealed_lm.config import load_config
from annealed_lm.devices import default_device
from annealed_lm.encoding import encode_ids
from annealed_lm.errors import one_sentence_errors
from annealed_lm.files import atomic_path, read_json, read_labels, read_texts, write_json
from annealed_lm.latents import LatentSet, LatentStatistics, index_labels
from annealed_lm.tokenizer import tokenization_counts, tokenize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "texts", "autoencoder", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)

    autoencoder = Autoencoder.load(args.autoencoder)
    require_same_corpus(args.autoencoder, read_json(args.texts / "statistics.json")["fingerprint"])
    autoencoder.to(default_device())
    settings = autoencoder.settings
    compressed = settings.latent_layout == "compressed"
    names, labels = index_labels({split: read_labels(args.texts / f"{split}.jsonl") for split in ("train", "valid")})
    counts = {}
    with atomic_path(args.out) as partial:
        partial.mkdir()
        for split in labels:
            texts = read_texts(args.texts / f"{split}.jsonl")
            ids = tokenize(autoencoder.tokenizer, texts, settings.max_tokens)
            latents = LatentSet.from_rows(encode_ids(autoencoder, ids, config.encode_latents.batch_size), labels[split])
            latents.save(partial, split)
            counts[split] = {"texts": len(latents), "vectors": int(latents.offsets[-1])}
            counts[split] |= tokenization_counts(autoencoder.tokenizer, texts, ids)
            if split == "train":
                LatentStatistics.of(latents, per_position=compressed).save(partial)
        description = {
            "latent_dim": settings.latent_dim,
            "max_length": settings.num_latents if compressed else settings.max_tokens,
            "labels": names,
            "splits": counts,
        }
        write_json(partial / "latents.json", description)
    for split, row in counts.items():
        print(f"{split}: {', '.join(f'{value} {name}' for name, value in row.items())}")


if __name__ == "__main__":
    with one_sentence_errors():
        main()
