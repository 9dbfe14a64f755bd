"""Files of the corpus that params.yaml names -> data/corpus: the user's own, or published ones, which are downloaded."""

import argparse
import os
from pathlib import Path

from annealed_lm.common.errors import one_sentence_errors
from annealed_lm.config.config import load_config, require_unchanged
from annealed_lm.fetching.corpora import fetch_corpus


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--raw", type=Path, required=True, help="folder of the user's files: <dataset_name>/<file>")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)

    # A --temp experiment runs in a copy of the project without its git-ignored files; DVC_ROOT is the project itself.
    roots = [Path(), Path(os.environ.get("DVC_ROOT", ""))]
    fetch_corpus(config.dataset_name, [root / args.raw for root in roots], args.out)
    require_unchanged(args.params)


if __name__ == "__main__":
    with one_sentence_errors():
        main()
