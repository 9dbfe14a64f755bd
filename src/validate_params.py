"""Check the whole of params.yaml, before anything is computed: params.yaml -> a file that says ok.

Every other stage waits for that file. Its content never changes, so that a change of params.yaml re-runs this stage and, through
it, nothing else.
"""

import argparse
from pathlib import Path

from annealed_lm.common.errors import one_sentence_errors
from annealed_lm.common.files import atomic_path
from annealed_lm.config.config import load_config, require_unchanged


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    load_config(args.params)
    with atomic_path(args.out) as partial:
        partial.write_text("ok\n", encoding="utf-8")
    require_unchanged(args.params)


if __name__ == "__main__":
    with one_sentence_errors():
        main()
