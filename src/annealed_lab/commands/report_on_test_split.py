"""A named experiment on the test split, once: five sampling seeds, a file of its own in metrics/test.

Nothing is to be chosen by what it says. Models and texts come from DVC's cache and the code from the experiment's own commit, so
an experiment's name, a commit or a branch will do. An interrupted report goes on where it was.
"""

import argparse
import io
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from annealed_lab.experiments.finished import commit_of
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path, read_json, write_json
from annealed_lm.reporting.report import SHOWN_METRICS, evaluation_record, scores_table, set_rows

TEXTS, LATENTS, AUTOENCODER, DIFFUSION = "data/prepared", "data/latents", "models/autoencoder", "models/diffusion"
LANGUAGE_MODEL, JUDGES = "models/language_model", "models/judges"
REFERENCES, SAMPLES, SCORES = "test/references", "test/samples", "test/scores"
TEST_SEEDS = [42, 43, 44, 45, 46]
"""The seeds of the thesis's test evaluation."""


def bring_output(path: str, commit: str, folder: Path) -> None:
    """Copy an output of a commit from DVC's cache to `folder`, unless it is there.

    Raises:
        InputError: the cache does not have it.
    """
    if (folder / path).exists():
        return
    with atomic_path(folder / path) as partial:
        command = ["dvc", "get", "--quiet", ".", path, "--rev", commit, "--out", str(partial)]
        got = subprocess.run(command, capture_output=True, text=True, check=False)
        if got.returncode:
            cause = (got.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise InputError(f"{path} of {commit[:12]} cannot be had ({cause}): run the experiment here, or dvc pull it")


def bring_code(commit: str, folder: Path) -> dict[str, Any]:
    """Put the scripts and params.yaml of a commit into `folder`, with the test seeds as sampling seeds; the parameters."""
    archive = subprocess.run(["git", "archive", commit, "src", "params.yaml"], capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
        opened.extractall(folder, filter="data")
    yaml = YAML()
    values: dict[str, Any] = yaml.load(folder / "params.yaml")
    values["sample_texts"]["eval_seeds"] = TEST_SEEDS
    with atomic_path(folder / "params.yaml") as partial:
        yaml.dump(values, partial)
    return values


def run_stage(stage: str, folder: Path, out: str, paths: dict[str, str], *options: str) -> None:
    """Run a stage's script in `folder`, unless what it writes is there."""
    if (folder / out).exists():
        return
    arguments = [part for name, path in (paths | {"params": "params.yaml", "out": out}).items() for part in (f"--{name}", path)]
    finished = subprocess.run([sys.executable, f"src/{stage}.py", *arguments, *options], cwd=folder, check=False)
    if finished.returncode:
        raise SystemExit(finished.returncode)


def evaluate(folder: Path) -> dict[str, Any]:
    """References, samples and scores of the test split in `folder`; the whole record of scores."""
    judged_by = {"language-model": LANGUAGE_MODEL, "judges": JUDGES}
    model = {"autoencoder": AUTOENCODER, "latents": LATENTS}
    run_stage("prepare_references", folder, REFERENCES, {"texts": TEXTS, **model, **judged_by}, "--held-out", "test")
    run_stage("sample_texts", folder, SAMPLES, {"diffusion": DIFFUSION, **model})
    run_stage("evaluate_samples", folder, SCORES, {"samples": SAMPLES, "references": REFERENCES, **judged_by})
    settings, rows = read_json(folder / REFERENCES / "settings.json"), read_json(folder / REFERENCES / "rows.json")
    return evaluation_record(settings, read_json(folder / SCORES / "scores.json"), rows)


def require_first_time(commit: str, experiment: str, metrics: Path) -> None:
    for path in sorted(metrics.glob("*.json")):
        if read_json(path)["commit"] == commit:
            raise InputError(f"{experiment} was evaluated on the test split already, which is done once: {path} has the numbers")


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__)
    parser.add_argument("--experiment", required=True, help="an experiment's name, a branch or a commit")
    parser.add_argument("--work", type=Path, default=Path(".resume"), help="where an interrupted report leaves its parts")
    parser.add_argument("--metrics", type=Path, default=Path("metrics/test"))
    args = parser.parse_args(arguments)

    commit = commit_of(args.experiment)
    require_first_time(commit, args.experiment, args.metrics)
    folder = args.work / f"{commit}-test"
    folder.mkdir(parents=True, exist_ok=True)
    for path in (TEXTS, LATENTS, AUTOENCODER, DIFFUSION, LANGUAGE_MODEL, JUDGES):
        bring_output(path, commit, folder)
    values = bring_code(commit, folder)
    record = evaluate(folder)
    varied = {key: values[key] for key in ("T_schedule", "power", "optimizer", "random_seed", "dataset_name")}
    out = args.metrics / f"{args.experiment.replace('/', '_')}.json"
    write_json(out, {"experiment": args.experiment, "commit": commit, **varied, **record})
    shutil.rmtree(folder)
    print(scores_table(set_rows(record["samples"], record["references"]), SHOWN_METRICS))
    print(
        f"± is the deviation over {len(TEST_SEEDS)} sampling seeds, in brackets are intervals over texts; the whole record: {out}"
    )
