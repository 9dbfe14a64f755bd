"""Score one experiment on the test split, once: five sampling seeds, a file of its own.

Nothing is to be chosen by what it says. Models and texts come from DVC's cache and the code from the experiment's own commit, so
an experiment's name, a commit or a branch will do. An interrupted report goes on where it was.

Reads: the experiment's commit, and DVC's cache. Writes: outputs/test/NAME.json. A commit that a report there, or one published
as results/*/test/NAME.json, is about is refused.
Example: python src/lab.py test-report --experiment linear
"""

import argparse
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from annealed_lab.experiments.copies import bring_code, bring_output, run_stage
from annealed_lab.experiments.finished import commit_of
from annealed_lab.experiments.places import PLACES
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, write_json
from annealed_lm.reporting.report import SHOWN_METRICS, evaluation_record, scores_table, set_rows

BROUGHT = ("texts", "latents", "autoencoder", "diffusion", "language-model", "judges")
"""What the experiment has computed before, of `PLACES`."""
REFERENCES, SAMPLES, SCORES = "test/references", "test/samples", "test/scores"
TEST_SEEDS = [42, 43, 44, 45, 46]
"""The seeds of the thesis's test evaluation."""
VARIED = ("T_schedule", "power", "optimizer", "random_seed", "dataset_name")


def places(*names: str) -> dict[str, str]:
    return {name: PLACES[name] for name in names}


def evaluate(folder: Path) -> dict[str, Any]:
    """Compute references, samples and scores of the test split in `folder`; return the whole record of scores."""
    model, judges = places("autoencoder", "latents"), places("language-model", "judges")
    run_stage("prepare_references", folder, REFERENCES, places("texts") | model | judges, "--held-out", "test")
    run_stage("sample_texts", folder, SAMPLES, places("diffusion") | model)
    run_stage("evaluate_samples", folder, SCORES, {"samples": SAMPLES, "references": REFERENCES} | judges)
    settings, rows = read_json(folder / REFERENCES / "settings.json"), read_json(folder / REFERENCES / "rows.json")
    return evaluation_record(settings, read_json(folder / SCORES / "scores.json"), rows)


def require_first_time(commit: str, experiment: str, metrics: Path) -> None:
    """Refuse a commit that a file in `metrics`, or one that was published, reports on.

    Raises:
        InputError: which file.
    """
    for path in sorted([*metrics.glob("*.json"), *Path("results").glob("*/test/*.json")]):
        if read_json(path)["commit"] == commit:
            raise InputError(f"{experiment} was evaluated on the test split already, which is done once: {path} has the numbers")


def report_path(metrics: Path, experiment: str, commit: str) -> Path:
    """Return the file for a report: named after the experiment, and after its commit too where another of that name has one."""
    name = experiment.replace("/", "_")
    path = metrics / f"{name}.json"
    return metrics / f"{name}-{commit[:12]}.json" if path.exists() else path


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--experiment", required=True, help="an experiment's name, a branch or a commit")
    parser.add_argument(
        "--work", type=Path, default=Path(".resume"), help="folder for what an interrupted report has (%(default)s)"
    )
    parser.add_argument("--metrics", type=Path, default=Path("outputs/test"), help="folder of the reports (%(default)s)")
    args = parser.parse_args(arguments)

    commit = commit_of(args.experiment)
    require_first_time(commit, args.experiment, args.metrics)
    folder = args.work / f"{commit}-test"
    folder.mkdir(parents=True, exist_ok=True)
    for name in BROUGHT:
        bring_output(PLACES[name], commit, folder)
    values = bring_code(commit, folder, {"sample_texts": {"eval_seeds": TEST_SEEDS}})
    record = evaluate(folder)
    out = report_path(args.metrics, args.experiment, commit)
    write_json(out, {"experiment": args.experiment, "commit": commit, **{key: values[key] for key in VARIED}, **record})
    shutil.rmtree(folder)
    print(scores_table(set_rows(record["samples"], record["references"]), SHOWN_METRICS))
    print(
        f"± is the deviation over {len(TEST_SEEDS)} sampling seeds, in brackets are intervals over texts; the whole record: {out}"
    )
