"""Named corpora and models -> data/corpus, models/pretrained: the only stage that may use the network."""

import argparse
import os
from pathlib import Path

from annealed_lm.config import load_config
from annealed_lm.errors import one_sentence_errors
from annealed_lm.fetching import fetch_corpus
from annealed_lm.pretrained_models import fetch_models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--raw", type=Path, required=True, help="folder of the user's files: <dataset_name>/<file>")
    parser.add_argument("--corpus", type=Path, required=True)
    parser.add_argument("--pretrained", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)

    # A queued experiment runs in a copy of the project without its git-ignored files; DVC_ROOT is the project itself.
    roots = [Path(), Path(os.environ.get("DVC_ROOT", ""))]
    section = config.fetch_pretrained
    models = {
        "autoencoder": (section.autoencoder_name, section.autoencoder_revision),
        "language_model": (section.language_model_name, section.language_model_revision),
        "feature_model": (section.feature_model_name, section.feature_model_revision),
    }
    fetch_corpus(config.dataset_name, [root / args.raw for root in roots], args.corpus)
    fetch_models(models, roots, args.pretrained)


if __name__ == "__main__":
    with one_sentence_errors():
        main()
