"""A named experiment on the test split, once: five sampling seeds, a file of its own in metrics/test.

Nothing is to be chosen by what it says. The models and texts come from DVC's cache, so an experiment's name, a commit or a branch
will do. An interrupted report goes on where it was.
"""

import argparse
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from annealed_lm.checkpoints import training_key
from annealed_lm.config import load_config
from annealed_lm.errors import InputError, one_sentence_errors
from annealed_lm.experiments import commit_of
from annealed_lm.files import atomic_path, read_json, write_json
from annealed_lm.reporting import bare_values, set_rows, summary

INPUTS = (
    "params.yaml",
    "data/prepared",
    "data/latents",
    "models/autoencoder",
    "models/diffusion",
    "models/language_model",
    "models/pretrained",
)
TEST_SEEDS = [42, 43, 44, 45, 46]
"""The seeds of the thesis's test evaluation."""


def bring(path: str, commit: str, folder: Path) -> None:
    """Copy an output of a commit from DVC's cache, or a file of it from git, to `folder`.

    Raises:
        InputError: the cache does not have it.
    """
    with atomic_path(folder / path) as partial:
        command = ["dvc", "get", "--quiet", ".", path, "--rev", commit, "--out", str(partial)]
        got = subprocess.run(command, capture_output=True, text=True, check=False)
        if got.returncode:
            cause = got.stderr.strip().splitlines()[-1] if got.stderr.strip() else "no reason given"
            raise InputError(f"{path} of {commit[:12]} cannot be had ({cause}): run the experiment here, or dvc pull it")


def run_stage(stage: str, folder: Path, out: Path, *arguments: str) -> None:
    """Run a stage's script on the files of `folder`, unless what it writes is there."""
    if not out.exists():
        command = [sys.executable, f"src/{stage}.py", "--params", str(folder / "params.yaml"), *arguments, "--out", str(out)]
        finished = subprocess.run(command, check=False)
        if finished.returncode:
            raise SystemExit(finished.returncode)


def set_seeds(params: Path) -> None:
    yaml = YAML()
    values = yaml.load(params)
    values["sample_texts"]["eval_seeds"] = TEST_SEEDS
    with atomic_path(params) as partial:
        yaml.dump(values, partial)


def evaluate(folder: Path) -> dict[str, Any]:
    """References, samples and scores of the test split in `folder`; the whole record of scores."""

    def given(*names: str) -> list[str]:
        places = {"texts": "data/prepared", "references": "references", "samples": "samples", "latents": "data/latents"}
        return [
            part for name in names for part in (f"--{name}", str(folder / places.get(name, f"models/{name.replace('-', '_')}")))
        ]

    references, samples, scores = folder / "references", folder / "samples", folder / "scores"
    inputs = given("texts", "autoencoder", "latents", "language-model", "pretrained")
    run_stage("prepare_references", folder, references, *inputs, "--held-out", "test")
    run_stage("sample_texts", folder, samples, *given("diffusion", "latents", "autoencoder"))
    run_stage("evaluate_samples", folder, scores, *given("samples", "references", "language-model", "pretrained"))
    found = read_json(scores / "scores.json")
    settings = read_json(references / "settings.json") | {"eval_seeds": found["eval_seeds"]}
    by_label = {"by_label": found["by_label"]} if found["by_label"] else {}
    return {"settings": settings, "samples": found["strategies"], "references": read_json(references / "rows.json")} | by_label


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--experiment", required=True, help="an experiment's name, a branch or a commit")
    parser.add_argument("--work", type=Path, default=Path(".resume"), help="where an interrupted report leaves its parts")
    parser.add_argument("--metrics", type=Path, default=Path("metrics/test"))
    args = parser.parse_args()

    out = args.metrics / f"{args.experiment.replace('/', '_')}.json"
    commit = commit_of(args.experiment)
    if out.exists():
        raise InputError(
            f"{out} is there: {args.experiment} was evaluated on the test split already, and it is done once; read the file, or "
            "remove it if the experiment is another one now"
        )
    key = training_key({"test_report": commit}, inputs=[], code=[Path(__file__).parent])
    folder = args.work / f"{key}-test"
    for path in INPUTS:
        if not (folder / path).exists():
            bring(path, commit, folder)
    set_seeds(folder / "params.yaml")
    config = load_config(folder / "params.yaml")
    record = evaluate(folder)
    varied = {
        "T_schedule": config.T_schedule,
        "power": config.power,
        "optimizer": config.optimizer,
        "random_seed": config.random_seed,
    }
    write_json(out, {"experiment": args.experiment, "commit": commit, **varied, **record})
    shutil.rmtree(folder)
    print(summary(set_rows(bare_values(record["samples"]), bare_values(record["references"]))))
    print(f"the whole record, with deviations over {len(TEST_SEEDS)} seeds and intervals: {out}")


if __name__ == "__main__":
    with one_sentence_errors():
        main()
