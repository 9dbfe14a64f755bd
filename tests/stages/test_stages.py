"""All stages in turn on presets/tiny.yaml, by the commands of dvc.yaml, in a folder of their own."""

import json
import math
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
STAGES: dict[str, dict[str, Any]] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")["stages"]
NUM_SAMPLES = 40  # of presets/tiny.yaml


IN_TURN = """
import json, runpy, sys
for script, *arguments in json.loads(sys.argv[1]):
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")
"""
"""Runs scripts in one process, for the libraries take seconds to import; test_experiments.py runs them one by one."""


def run(folder: Path, *stages: str) -> subprocess.CompletedProcess[str]:
    """What DVC would run."""
    scripts = [STAGES[stage]["cmd"].split()[1:] for stage in stages]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": "src"}
    command = [sys.executable, "-c", IN_TURN, json.dumps(scripts)]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def make_project(folder: Path) -> Path:
    (folder / "src").symlink_to(ROOT / "src")
    (folder / "data" / "raw").mkdir(parents=True)
    (folder / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    preset = [sys.executable, "src/apply_preset.py", ROOT / "presets" / "tiny.yaml", "--params", "params.yaml"]
    subprocess.run(preset, cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project in which every stage has run."""
    folder = make_project(tmp_path_factory.mktemp("project"))
    finished = run(folder, *STAGES)
    assert finished.returncode == 0, finished.stderr
    return folder


def read_metrics(project: Path, name: str) -> Any:
    return json.loads((project / "metrics" / f"{name}.json").read_text())


def numbers(value: Any) -> list[float]:
    return [number for each in value.values() for number in numbers(each)] if isinstance(value, dict) else [value]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_writes_its_outs_and_leaves_nothing_half_written(stage: str, project: Path) -> None:
    for out in STAGES[stage]["outs"]:
        path = project / (out if isinstance(out, str) else next(iter(out)))
        assert path.is_file() or any(path.iterdir())
    assert list(project.rglob("*.partial")) == []


@pytest.mark.parametrize("name", ["autoencoder", "dataset", "references", "samples", "training"])
def test_metrics_are_finite_numbers(name: str, project: Path) -> None:
    values = numbers(read_metrics(project, name))
    assert values
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def test_generated_control_ceiling_and_references_have_the_same_metrics(project: Path) -> None:
    samples, references = read_metrics(project, "samples"), read_metrics(project, "references")
    expected = {
        "grammatical",
        "perplexity",
        "mauve_train",
        "mauve_valid",
        "mauve_lm_train",
        "mauve_lm_valid",
        "diversity",
        "repetition_2",
        "repetition_3",
        "repetition_4",
        "unique_words",
        "distinct",
        "memorization",
        "seen_trigrams",
        "doubled_word",
    }
    assert expected <= set(samples["greedy"])
    assert set(references) - {"by_label"} == {"train_train", "train_valid", "baseline", "control", "ceiling"}
    assert set(references["control"]["greedy"]) == set(references["ceiling"]["greedy"]) == set(samples["greedy"])
    assert references["train_train"]["grammatical"] == 1


def test_every_score_has_beside_it_what_it_needs_to_be_read(project: Path) -> None:
    record = read_metrics(project, "evaluation")
    row = record["samples"]["greedy"]
    for metric in ("grammatical", "perplexity", "perplexity_corpus", "diversity", "memorization"):
        assert row[metric]["low"] <= row[metric]["value"] <= row[metric]["high"]
    for metric in ("mauve_train", "mauve_valid", "mauve_lm_train", "mauve_lm_valid"):
        assert row[metric]["real"] == record["references"]["train_train"][metric]["value"]
        assert "clustering_std" in row[metric]
    settings = record["settings"]
    assert settings["num_samples"] == NUM_SAMPLES
    assert settings["eval_seeds"] == record["sampling"]["eval_seeds"] == [42]
    assert settings["fingerprint"] == json.loads((project / "data" / "prepared" / "statistics.json").read_text())["fingerprint"]
    for judge in (settings["perplexity"], *settings["mauve"].values()):
        assert re.fullmatch("[0-9a-f]{64}", judge["sha256"])
    assert {kind: each["scaling"] for kind, each in settings["mauve"].items()} == {"sentence": 8, "language_model": 5}


def test_the_curve_of_quality_ends_at_the_scores_of_the_final_model(project: Path) -> None:
    header, *rows = [line.split("\t") for line in (project / "plots" / "quality.tsv").read_text().splitlines()]
    curve = [dict(zip(header, map(float, row), strict=True)) for row in rows]
    assert [row["step"] for row in curve] == [10, 20]
    final = read_metrics(project, "samples")["greedy"]
    assert {name: curve[-1][name] for name in final} == pytest.approx(final, rel=1e-5)
    assert curve[0]["perplexity"] != curve[-1]["perplexity"]


def test_the_test_split_is_read_by_no_stage_after_it_was_made(project: Path) -> None:
    hidden = project / "data" / "prepared" / "test.jsonl"
    contents = hidden.read_bytes()
    hidden.write_text("not a row\n")
    try:
        assert run(project, *list(STAGES)[list(STAGES).index("prepare_data") + 1 :]).returncode == 0
    finally:
        hidden.write_bytes(contents)


def test_samples_are_as_many_as_asked_for(project: Path) -> None:
    lines = (project / "data" / "samples" / "42" / "greedy.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert len(lines) == NUM_SAMPLES
    assert all(isinstance(json.loads(line)["text"], str) for line in lines)


def test_splits_are_disjoint_and_of_the_stated_size(project: Path) -> None:
    splits = [(project / "data" / "prepared" / f"{name}.jsonl").read_text().splitlines() for name in ("train", "valid", "test")]
    assert [len(split) for split in splits] == [400, 60, 60]
    assert len({line for split in splits for line in split}) == 520


def test_T_now_follows_the_T_schedule(project: Path) -> None:
    header, *rows = [line.split("\t") for line in (project / "plots" / "training.tsv").read_text().splitlines()]
    assert header == ["step", "loss", "T_now", "mean_t", "learning_rate"]
    assert {row[2] for row in rows} == {"100"}  # normal: all timesteps, always


def test_report_prints_each_row_of_comparison(project: Path) -> None:
    lines = run(project, "report").stdout.splitlines()
    rows = ["greedy, generated", "greedy, control", "greedy, ceiling", "train_train", "train_valid", "baseline"]
    assert [next(row for row in rows if line.startswith(row)) for line in lines[1:]] == rows


@pytest.mark.parametrize("stage", ["sample_texts", "report"])
def test_running_a_stage_again_gives_the_same_bytes(stage: str, project: Path) -> None:
    outs = [project / (out if isinstance(out, str) else next(iter(out))) for out in STAGES[stage]["outs"]]

    def contents() -> dict[Path, bytes]:
        files = [path for out in outs for path in ([out] if out.is_file() else out.rglob("*")) if path.is_file()]
        return {path: path.read_bytes() for path in files}

    before = contents()
    assert run(project, stage).returncode == 0
    assert contents() == before
    assert before


def test_bad_params_stop_the_first_stage_with_one_sentence(tmp_path: Path) -> None:
    project = make_project(tmp_path)
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("T_schedule: normal", "T_schedule: linaer"))
    stopped = run(project, "validate_params")
    assert stopped.returncode == 1
    assert stopped.stderr.startswith("error: params.yaml: T_schedule = linaer is not one of")
    assert len(stopped.stderr.splitlines()) == 1
    assert not (project / "data" / "params.ok").exists()
