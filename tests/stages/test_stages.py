"""What all stages in turn leave on presets/tiny.yaml."""

import json
import math
import re
from pathlib import Path
from typing import Any

import pytest

from support.projects import STAGES, attempt, call, commands, outs

NUM_SAMPLES = 40  # of presets/tiny.yaml


def read_metrics(project: Path, name: str) -> Any:
    return json.loads((project / "metrics" / f"{name}.json").read_text())


def numbers(value: Any) -> list[float]:
    return [number for each in value.values() for number in numbers(each)] if isinstance(value, dict) else [value]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_writes_its_outs_and_leaves_nothing_half_written(stage: str, finished_project: Path) -> None:
    for out in outs(stage):
        path = finished_project / out
        assert path.is_file() or any(path.iterdir())
    assert list(finished_project.rglob("*.partial")) == []


@pytest.mark.parametrize("name", ["autoencoder", "dataset", "references", "samples", "training"])
def test_metrics_are_finite_numbers(name: str, finished_project: Path) -> None:
    values = numbers(read_metrics(finished_project, name))
    assert values
    assert all(isinstance(value, int | float) and math.isfinite(value) for value in values)


def test_reconstruction_is_a_share_of_tokens_at_each_level_of_noise(finished_project: Path) -> None:
    report = read_metrics(finished_project, "autoencoder")
    assert all(0 <= report[f"noise_{level}"]["token"] <= 1 for level in (0.0, 0.3, 0.5, 0.7))


def test_generated_control_ceiling_and_references_have_the_same_metrics(finished_project: Path) -> None:
    samples, references = read_metrics(finished_project, "samples"), read_metrics(finished_project, "references")
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


def test_every_score_has_beside_it_what_it_needs_to_be_read(finished_project: Path) -> None:
    record = read_metrics(finished_project, "evaluation")
    row = record["samples"]["greedy"]
    for metric in ("grammatical", "perplexity", "perplexity_corpus", "diversity", "memorization"):
        assert row[metric]["low"] <= row[metric]["value"] <= row[metric]["high"]
    for metric in ("mauve_train", "mauve_valid", "mauve_lm_train", "mauve_lm_valid"):
        assert row[metric]["real"] == record["references"]["train_train"][metric]["value"]
        assert "clustering_std" in row[metric]
    settings = record["settings"]
    assert settings["num_samples"] == NUM_SAMPLES
    assert settings["eval_seeds"] == record["sampling"]["eval_seeds"] == [42]
    assert (
        settings["fingerprint"]
        == json.loads((finished_project / "data" / "prepared" / "statistics.json").read_text())["fingerprint"]
    )
    for judge in (settings["perplexity"], *settings["mauve"].values()):
        assert re.fullmatch("[0-9a-f]{64}", judge["sha256"])
    assert {kind: each["scaling"] for kind, each in settings["mauve"].items()} == {"sentence": 8, "language_model": 5}


def test_the_curve_of_quality_ends_at_the_scores_of_the_final_model(finished_project: Path) -> None:
    header, *rows = [line.split("\t") for line in (finished_project / "plots" / "quality.tsv").read_text().splitlines()]
    curve = [dict(zip(header, map(float, row), strict=True)) for row in rows]
    assert [row["step"] for row in curve] == [10, 20]
    final = read_metrics(finished_project, "samples")["greedy"]
    assert {name: curve[-1][name] for name in final} == pytest.approx(final, rel=1e-5)
    assert curve[0]["perplexity"] != curve[-1]["perplexity"]


def test_samples_are_as_many_as_asked_for(finished_project: Path) -> None:
    lines = (finished_project / "data" / "samples" / "42" / "greedy.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    assert len(lines) == NUM_SAMPLES
    assert all(isinstance(json.loads(line)["text"], str) for line in lines)


def test_splits_are_disjoint_and_of_the_stated_size(finished_project: Path) -> None:
    splits = [
        (finished_project / "data" / "prepared" / f"{name}.jsonl").read_text().splitlines() for name in ("train", "valid", "test")
    ]
    assert [len(split) for split in splits] == [400, 60, 60]
    assert len({line for split in splits for line in split}) == 520


def test_T_now_follows_the_T_schedule(finished_project: Path) -> None:
    header, *rows = [line.split("\t") for line in (finished_project / "plots" / "training.tsv").read_text().splitlines()]
    assert header == ["step", "loss", "T_now", "mean_t", "learning_rate"]
    assert {row[2] for row in rows} == {"100"}  # normal: all timesteps, always


def test_a_run_ends_with_what_to_look_at_in_eight_lines_of_a_terminal(project: Path) -> None:
    (command,) = commands("report")
    lines = call(project, *command).splitlines()
    assert len(lines) <= 8
    assert max(map(len, lines)) <= 80
    assert [line.split(",")[0].split()[0] for line in lines[1:5]] == ["generated", "control", "ceiling", "baseline"]


@pytest.mark.parametrize("stage", ["sample_texts", "report"])
def test_running_a_stage_again_gives_the_same_bytes(stage: str, project: Path) -> None:
    def contents() -> dict[Path, bytes]:
        paths = [project / out for out in outs(stage)]
        files = [path for out in paths for path in ([out] if out.is_file() else out.rglob("*")) if path.is_file()]
        return {path: path.read_bytes() for path in files}

    before = contents()
    (command,) = commands(stage)
    call(project, *command)
    assert contents() == before
    assert before


def test_bad_params_stop_the_first_stage_with_one_sentence(project: Path) -> None:
    params = project / "params.yaml"
    params.write_text(params.read_text().replace("T_schedule: normal", "T_schedule: linaer"))
    (project / "data" / "params.ok").unlink()
    (command,) = commands("validate_params")
    stopped = attempt(project, *command)
    assert stopped.returncode == 1
    difference, sentence = stopped.stdout.splitlines()
    assert difference == "differs from HEAD: T_schedule linaer"
    assert sentence.startswith("error: params.yaml: T_schedule = linaer is not one of")
    assert not (project / "data" / "params.ok").exists()
