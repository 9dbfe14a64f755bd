"""Check the whole of params.yaml, before anything is computed: params.yaml -> a file that says ok.

What differs from the last commit is printed first: an override that stuck in params.yaml would confound the next experiment.
Every other stage waits for that file. Its content never changes, so that a change of params.yaml re-runs this stage and, through
it, nothing else.
"""

import argparse
from pathlib import Path

from annealed_lm.common.errors import one_sentence_errors, tell
from annealed_lm.common.files import atomic_path
from annealed_lm.common.machine import require_trackers
from annealed_lm.config.config import load_config, read_params, require_unchanged
from annealed_lm.config.last_commit import committed, differing_line


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--params", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    values, before = read_params(args.params), committed(args.params)
    if before is not None and isinstance(values, dict) and (line := differing_line(values, before)):
        tell(line)
    require_trackers(load_config(args.params).trackers)
    with atomic_path(args.out) as partial:
        partial.write_text("ok\n", encoding="utf-8")
    require_unchanged(args.params)


if __name__ == "__main__":
    with one_sentence_errors():
        main()
