"""The commands on a project in which experiments have run, as a user types them."""

import csv
import json
import re
from pathlib import Path

from support.projects import call, commit, refused, running

STUDY = """\
variants:
  linear:
    T_schedule: linear
  diverging:
    optimizer: adamw
    train_diffusion.learning_rate: 1e+30
conditions:
  short:
    train_diffusion.num_train_steps: 20
grids:
- variants: [linear, diverging]
  conditions: [short]
  seeds: [42]
workers: 2
threads: 1
"""
"""Of two points: the first has the parameters of the experiment `linear`, so that nothing is computed again; the second fails."""
LABELS = ("cheap", "expensive", "moderate")


def lab(project: Path, *command: str) -> str:
    return call(project, "python", "src/lab.py", *command)


def refused_by_lab(project: Path, *command: str) -> str:
    return refused(project, "python", "src/lab.py", *command)


def test_experiments_stand_in_one_table_with_their_intervals(finished_project: Path) -> None:
    table = lab(finished_project, "table", "--experiments", "main", "linear").splitlines()
    names = [line.split("|")[1].strip() for line in table if line.startswith("|")][2:]
    assert {"train_train", "train_valid", "baseline", "greedy, control", "greedy, ceiling"} < set(names)
    assert any(name.startswith("main (T_schedule normal, muon, seed 42)") for name in names)
    assert any(name.startswith("linear (T_schedule linear, muon, seed 42)") for name in names)
    assert re.search(r"\| linear .*\| [0-9.e+]+ \[[0-9.e+]+, [0-9.e+]+\] \|", "\n".join(table))


def test_experiments_that_were_evaluated_differently_do_not_stand_in_one_table(project: Path) -> None:
    call(project, "dvc", "exp", "run", "--temp", "--name", "other", "--set-param", "sample_texts.eval_seeds=[43]")
    told = refused_by_lab(project, "table", "--experiments", "main", "other")
    assert "main and other were evaluated differently (eval_seeds: [42] and [43])" in told
    table = lab(project, "table")
    assert "left out: other was evaluated differently from HEAD (eval_seeds: [42] and [43])" in table
    assert "| HEAD (T_schedule normal" in table
    assert re.search(r"^left out: [a-z]+-[a-z]+ has the numbers of HEAD$", table, flags=re.MULTILINE)
    assert "| linear (T_schedule linear" in table
    assert "| other" not in table


def test_the_test_split_is_reported_once_with_five_seeds(project: Path) -> None:
    lab(project, "test-report", "--experiment", "linear")
    record = json.loads((project / "outputs" / "test" / "linear.json").read_text())
    assert record["settings"]["held_out"] == "test"
    assert record["settings"]["eval_seeds"] == [42, 43, 44, 45, 46]
    assert record["T_schedule"] == "linear"
    row = record["samples"]["greedy"]
    assert {"mauve_train", "mauve_test"} <= set(row)
    assert "mauve_valid" not in row
    assert row["perplexity"]["std"] > 0
    assert {"train_train", "train_test", "baseline"} <= set(record["references"])
    assert list((project / ".resume").glob("*-test")) == []
    commit_hash = call(project, "git", "rev-parse", record["commit"]).strip()
    for name in ("linear", commit_hash):
        told = refused_by_lab(project, "test-report", "--experiment", name)
        assert f"{name} was evaluated on the test split already, which is done once" in told
    told = refused_by_lab(project, "test-report", "--experiment", "nosuch")
    assert "nosuch is no finished experiment, branch or commit" in told


def test_a_sweep_of_sampling_computes_only_what_it_does_not_hold(project: Path) -> None:
    sweep = ("frontier", "--eta", "1", "--strategies", "greedy", "--decode-at", "0.3", "--sampling-timesteps")
    lab(project, *sweep, "2", "5")
    kept = {path: path.stat().st_mtime_ns for path in (project / ".frontier").rglob("*.json")}
    assert len(kept) == 3 + 2  # settings of sampling, and the bounds of two noise levels
    lab(project, *sweep, "2", "5", "10")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    record = json.loads((project / "outputs" / "frontier" / "frontier.json").read_text())
    assert [row["setting"]["network_evaluations"] for row in record["rows"]] == [2, 5, 10, 5]
    assert [row["setting"]["decode_at"] for row in record["rows"]] == [0, 0, 0, 0.3]
    samples = json.loads((project / "metrics" / "evaluation.json").read_text())["samples"]["greedy"]
    references = json.loads((project / "metrics" / "evaluation.json").read_text())["references"]
    assert record["rows"][1]["scores"] == samples  # 5 steps at eta 1 are the experiment's own
    assert all(record["rows"][1][bound] == references[bound]["greedy"] for bound in ("control", "ceiling"))
    assert record["rows"][3]["ceiling"]["latent_agreement"]["value"] < record["rows"][1]["ceiling"]["latent_agreement"]["value"]
    names = (f"{name}.{form}" for name in ("frontier", "frontier_decode_at") for form in ("png", "pdf"))
    assert all((project / "outputs" / "frontier" / name).stat().st_size > 0 for name in names)
    told = refused_by_lab(project, *sweep, "101")
    assert "sampling_timesteps = 101 is more than the 100 timesteps above decode_at = 0" in told
    told = refused_by_lab(project, "frontier", "--decode-at", "0.6")
    assert "decode_at = 0.6 is more noise than the decoder has learned to read: it should be at most 0.5" in told
    for place in ("judges", "language-model", "references", "latents", "autoencoder", "diffusion"):
        assert refused_by_lab(project, *sweep, "2", f"--{place}", "missing").startswith(
            f"error: --{place} missing is not there: "
        )


def test_speed_is_measured_on_the_outputs_of_the_experiment(project: Path) -> None:
    lab(project, "bench", "--sections", "evaluation", "--repeats", "1")
    evaluation = json.loads((project / "outputs" / "bench.json").read_text())["evaluation"]
    assert evaluation["texts"] == 40
    at_hand, *recomputed = evaluation["rows"]
    assert len(recomputed) == 2
    assert 0 < at_hand["seconds"] < recomputed[-1]["seconds"]
    assert all(row["share of it at hand"] == at_hand["seconds"] / row["seconds"] for row in recomputed)


def test_labelled_texts_are_generated_by_a_conditional_model_only(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "generated.csv"
    generate = ("generate", "--count", "3", "--steps", "5", "--out", str(out), "--label")
    assert "the model knows no labels" in refused_by_lab(project, *generate, "all")
    settings = ("train_diffusion.class_conditional=true", "sample_texts.guidance_weight=2")
    call(project, "dvc", "exp", "run", "--name", "labelled", *(part for each in settings for part in ("--set-param", each)))
    samples = json.loads((project / "metrics" / "samples.json").read_text())
    assert set(samples["by_label"]["greedy"]) == set(LABELS)
    assert 0 <= samples["greedy"]["has_label"] <= samples["greedy"]["grammatical"] <= 1
    lab(project, *generate, "all")
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [label for label in LABELS for _ in range(3)]
    told = refused_by_lab(project, *generate, "free")
    assert f"does not know the label free: its labels are {', '.join(LABELS)}" in told


def test_a_finished_run_is_exported_with_its_card(finished_project: Path, tmp_path: Path) -> None:
    out = tmp_path / "model"
    assert f"{out}: the model, " in lab(finished_project, "export", str(out))
    card = (out / "README.md").read_text(encoding="utf-8")
    first = json.loads((finished_project / "data/samples/42/greedy.jsonl").read_text(encoding="utf-8").splitlines()[0])["text"]
    assert card.startswith("---\nlanguage: en\nlicense: mit\n")
    assert "| greedy, ceiling " in card
    assert first in card


def test_a_study_runs_what_is_left_and_says_what_failed(project: Path) -> None:
    (project / "two.yaml").write_text(STUDY)
    commit(project, "study")
    told = refused_by_lab(project, "study", "two.yaml").splitlines()
    assert told[0] == "two: 2 points: 0 done, 0 running, 0 failed, 2 left"
    assert any(line.startswith("two-linear-short-42: done (") for line in told)
    assert any(line.startswith("two-diverging-short-42: failed") and "lower the learning rate" in line for line in told)
    assert told[-2] == "two: 2 points: 1 done, 0 running, 1 failed, 0 left"
    assert told[-1].endswith("make compare PREFIX=two-")
    assert running((project / "runs/two/two-linear-short-42.log").read_text()) <= {"validate_params", "report"}
    assert call(project, "git", "status", "--porcelain") == ""
    assert "| two-linear-short-42 (T_schedule linear" in lab(project, "table")
