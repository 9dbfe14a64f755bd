"""The models that params.yaml names to judge texts -> models/judges; nothing by default."""

import argparse
import os
from pathlib import Path

from annealed_lm.common.errors import one_sentence_errors
from annealed_lm.config.config import load_config, require_unchanged
from annealed_lm.fetching.pretrained import fetch_models


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)

    models = {
        "language_model": (config.fetch_judges.language_model_name, config.fetch_judges.language_model_revision),
        "feature_model": (config.fetch_judges.feature_model_name, config.fetch_judges.feature_model_revision),
    }
    # A local folder may be named from the project's root, also in the copy of the project that a --temp experiment runs in.
    fetch_models(models, [Path(), Path(os.environ.get("DVC_ROOT", ""))], args.out)
    require_unchanged(args.params)


if __name__ == "__main__":
    with one_sentence_errors():
        main()
