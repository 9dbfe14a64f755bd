"""The files of a corpus -> data/prepared: clean training, validation and test texts as .jsonl, and statistics.json."""

import argparse
import hashlib
from pathlib import Path

from annealed_lm.common.errors import one_sentence_errors
from annealed_lm.common.files import atomic_path, write_json, write_jsonl
from annealed_lm.config.config import load_config, settings_from
from annealed_lm.corpora.cleaning import SPLITS, Preparation, prepare_corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)

    preparation = settings_from(config.prepare_data, Preparation)
    splits, statistics = prepare_corpus(config.dataset_name, args.corpus, preparation)
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


if __name__ == "__main__":
    with one_sentence_errors():
        main()
