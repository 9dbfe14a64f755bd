"""Texts and autoencoder -> data/latents: training and validation texts encoded, ragged, in half precision; labels, statistics.

With train_latents: on_the_fly the vectors of the training texts are not written: only their statistics are taken.
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from annealed_lm.autoencoder.encoding import encoded_rows
from annealed_lm.autoencoder.latents import Floats, LatentIndex, index_labels
from annealed_lm.autoencoder.model import Autoencoder, require_same_corpus
from annealed_lm.autoencoder.tokenizer import tokenization_counts, tokenize
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import one_sentence_errors, tell
from annealed_lm.common.files import atomic_path, read_json, read_labels, read_texts, write_json
from annealed_lm.config.config import load_config, require_unchanged
from annealed_lm.diffusion.normalization import LatentStatistics


def write_latents(
    folder: Path, split: str, rows: Iterable[tuple[int, Floats]], index: LatentIndex, width: int, cached: bool
) -> Iterator[Floats]:
    """Write the latents of a split to `folder`, the vectors themselves only where `cached`, and yield them as they pass by.

    Each goes to its place in the file by plain writing: where the disk is full that is an error, and in a file that is mapped
    into memory it would be the end of the process.
    """
    index.save(folder, split)
    if not cached:
        yield from (row for _, row in rows)
        return
    shape = (int(index.offsets[-1]), width)
    with (folder / f"{split}.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f2", "fortran_order": False, "shape": shape})
        start = file.tell()
        for text, row in rows:
            file.seek(start + int(index.offsets[text]) * width * np.dtype(np.float16).itemsize)
            file.write(row.astype("<f2").tobytes())
            yield row


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
    names, labels = index_labels({split: read_labels(args.texts / f"{split}.jsonl") for split in ("train", "valid")})
    counts = {}
    with atomic_path(args.out) as partial:
        partial.mkdir()
        for split in labels:
            texts = read_texts(args.texts / f"{split}.jsonl")
            ids = tokenize(autoencoder.tokenizer, texts, settings.max_tokens)
            index = LatentIndex.of([settings.length(len(row)) for row in ids], labels[split])
            cached = split == "valid" or config.encode_latents.train_latents == "cached"
            rows = encoded_rows(autoencoder, ids, config.encode_latents.batch_size)
            written = write_latents(partial, split, rows, index, settings.latent_dim, cached)
            statistics = LatentStatistics.of(written, per_position=settings.latent_layout == "compressed")
            if split == "train":
                statistics.save(partial)
            counts[split] = {"texts": len(texts), "vectors": int(index.offsets[-1])}
            counts[split] |= tokenization_counts(autoencoder.tokenizer, texts, ids)
        description = {
            "latent_dim": settings.latent_dim,
            "max_length": settings.max_length,
            "labels": names,
            "splits": counts,
        }
        write_json(partial / "latents.json", description)
    require_unchanged(args.params)
    for split, row in counts.items():
        tell(f"{split}: {', '.join(f'{value} {name}' for name, value in row.items())}")


if __name__ == "__main__":
    with one_sentence_errors():
        main()
