"""DVC as a user drives it: what an experiment re-runs, what comes from the cache, whose code a queue runs, what a clone gets."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVIRONMENT = os.environ | {
    "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    "OMP_NUM_THREADS": "1",
    "DVC_NO_ANALYTICS": "1",
}
DOWNSTREAM = {"validate_params", "train_diffusion", "sample_texts", "evaluate_samples", "evaluate_training", "report"}
"""The stages that a change of T_schedule concerns."""

pytestmark = pytest.mark.slow


def call(folder: Path, *command: str) -> str:
    """Run a command in `folder`; all that it prints."""
    finished = subprocess.run(
        command,
        cwd=folder,
        env=ENVIRONMENT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert finished.returncode == 0, f"{' '.join(command)}:\n{finished.stdout}"
    return finished.stdout


def running(output: str) -> set[str]:
    """The stages that DVC ran, as it tells."""
    return set(re.findall(r"^Running stage '(\w+)'", output, flags=re.MULTILINE))


def from_cache(output: str) -> set[str]:
    return set(re.findall(r"^Stage '(\w+)' is cached", output, flags=re.MULTILINE))


def commit(folder: Path, message: str) -> None:
    call(folder, "git", "add", "--all")
    call(folder, "git", "commit", "--quiet", "--message", message)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone of the working tree at tiny size, in which the default experiment has run and is committed."""
    folder = tmp_path_factory.mktemp("clone")
    for name in call(ROOT, "git", "ls-files", "--cached", "--others", "--exclude-standard").splitlines():
        if (ROOT / name).exists() and name != "dvc.lock":
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    call(folder, "git", "init", "--quiet", "--initial-branch", "main")
    call(folder, "git", "config", "user.name", "test")
    call(folder, "git", "config", "user.email", "test@localhost")
    call(folder, "python", "src/apply_preset.py", "presets/tiny.yaml", "--params", "params.yaml")
    commit(folder, "code")
    output = call(folder, "dvc", "exp", "run")
    assert running(output) > DOWNSTREAM
    assert call(folder, "git", "status", "--porcelain", "--ignored=no", "data", "models") == ""
    commit(folder, "baseline")
    return folder


def test_a_schedule_re_runs_training_and_what_follows_and_going_back_runs_nothing_again(project: Path) -> None:
    assert running(call(project, "dvc", "exp", "run", "--name", "linear", "--set-param", "T_schedule=linear")) == DOWNSTREAM
    assert "T_schedule: linear" in (project / "params.yaml").read_text()
    back = call(project, "dvc", "exp", "run", "--name", "back", "--set-param", "T_schedule=normal")
    assert from_cache(back) >= DOWNSTREAM - {"validate_params", "report"}
    assert running(back) <= {"validate_params", "report"}
    assert call(project, "git", "status", "--porcelain") == ""


def test_metrics_of_experiments_stand_side_by_side(project: Path) -> None:
    table = call(project, "dvc", "exp", "show", "--csv")
    header, *rows = table.splitlines()
    assert {"greedy.grammatical", "control.greedy.grammatical", "T_schedule"} <= set(header.split(","))
    assert any(",linear," in row and row.count("linear") >= 2 for row in rows)
    assert "validation_loss" in call(project, "dvc", "metrics", "diff", "main", "linear")
    assert "linear" in call(project, "dvc", "params", "diff", "main", "linear")


def test_a_misspelt_key_and_a_misspelt_value_stop_before_any_work(project: Path) -> None:
    for setting, told in [("T_shedule=linear", "T_shedule"), ("T_schedule=linaer", "did you mean linear")]:
        with pytest.raises(AssertionError, match=told) as caught:
            call(project, "dvc", "exp", "run", "--temp", "--set-param", setting)
        assert running(str(caught.value)) <= {"validate_params"}


def test_a_queued_experiment_runs_the_code_it_was_queued_with(project: Path) -> None:
    script = project / "src" / "sample_texts.py"
    code = script.read_text()
    call(project, "dvc", "exp", "run", "--queue", "--name", "queued", "--set-param", "sample_texts.ddim_sampling_eta=0")
    try:
        script.write_text("raise SystemExit('the code of the workspace')\n")
        call(project, "dvc", "exp", "run", "--run-all")
    finally:
        script.write_text(code)
    assert re.search(r"queued .*Success", call(project, "dvc", "queue", "status"))
    assert "ddim_sampling_eta" in call(project, "dvc", "params", "diff", "main", "queued")


def test_another_clone_pulls_everything_and_runs_nothing(project: Path, tmp_path: Path) -> None:
    call(project, "dvc", "remote", "add", "--default", "store", str(tmp_path / "store"))
    commit(project, "remote")
    call(project, "dvc", "push")
    clone = tmp_path / "clone"
    call(tmp_path, "git", "clone", "--quiet", str(project), str(clone))
    call(clone, "git", "config", "user.name", "test")
    call(clone, "git", "config", "user.email", "test@localhost")
    call(clone, "dvc", "pull")
    assert running(call(clone, "dvc", "exp", "run")) == set()
    assert call(clone, "dvc", "status").strip() == "Data and pipelines are up to date."


def test_plots_are_a_page_that_needs_no_network(project: Path) -> None:
    call(project, "dvc", "plots", "diff", "main", "linear")
    page = (project / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert page.count("vegaEmbed('#") == 11
    assert len(set(re.findall(r"(?:main|linear)_plots_\w+\.png", page))) == 10
    assert re.search(r'<(script|link|img)[^>]*(src|href) *= *"https?:', page) is None


def test_experiments_stand_in_one_table_with_their_intervals(project: Path) -> None:
    table = call(project, "python", "src/tabulate_results.py", "--experiments", "main", "linear").splitlines()
    names = [line.split("|")[1].strip() for line in table if line.startswith("|")][2:]
    assert {"train_train", "train_valid", "baseline", "greedy, control", "greedy, ceiling"} < set(names)
    assert any(name.startswith("main (T_schedule normal, muon, seed 42)") for name in names)
    assert any(name.startswith("linear (T_schedule linear, muon, seed 42)") for name in names)
    assert re.search(r"\| linear .*\| [0-9.e+]+ \[[0-9.e+]+, [0-9.e+]+\] \|", "\n".join(table))


def test_experiments_that_were_evaluated_differently_do_not_stand_in_one_table(project: Path) -> None:
    call(project, "dvc", "exp", "run", "--temp", "--name", "fewer", "--set-param", "sample_texts.num_samples=30")
    with pytest.raises(AssertionError, match=r"main and fewer were evaluated differently \(num_samples: 40 and 30\)"):
        call(project, "python", "src/tabulate_results.py", "--experiments", "main", "fewer")
    table = call(project, "python", "src/tabulate_results.py")
    assert "left out: fewer was evaluated differently from HEAD (num_samples: 40 and 30)" in table
    assert "| HEAD (T_schedule normal" in table
    assert re.search(r"^left out: [a-z]+-[a-z]+ has the numbers of HEAD$", table, flags=re.MULTILINE)
    assert "| linear (T_schedule linear" in table
    assert "| fewer" not in table


def test_another_judge_changes_scores_and_nothing_that_was_trained(project: Path, tmp_path: Path) -> None:
    judge = tmp_path / "my-judge"
    shutil.copytree(project / "models" / "language_model" / "baseline", judge)
    setting = f"fetch_judges.language_model_name={judge}"
    output = call(project, "dvc", "exp", "run", "--name", "judged", "--set-param", setting)
    assert running(output) == {
        *("validate_params", "fetch_judges", "train_language_model", "prepare_references"),
        *("evaluate_samples", "evaluate_training", "report"),
    }
    record = json.loads((project / "metrics" / "evaluation.json").read_text())
    assert record["settings"]["perplexity"]["name"] == str(judge)
    assert record["settings"]["mauve"]["language_model"]["name"] == str(judge)
    call(project, "git", "checkout", "--force", "--quiet", "main")
    call(project, "dvc", "checkout", "--quiet")


def test_fetched_models_go_through_a_shared_folder_to_a_machine_that_has_no_source(project: Path, tmp_path: Path) -> None:
    """What `make fetch` brought on one machine is pulled on another, where the folder it came from is not there."""
    judge = tmp_path / "my-judge"
    shutil.copytree(project / "models" / "language_model" / "baseline", judge)
    fetching, computing = tmp_path / "fetching", tmp_path / "computing"
    call(tmp_path, "git", "clone", "--quiet", str(project), str(fetching))
    for name, value in (("user.name", "test"), ("user.email", "test@localhost")):
        call(fetching, "git", "config", name, value)
    params = fetching / "params.yaml"
    params.write_text(re.sub("language_model_name:.*", f"language_model_name: {judge}", params.read_text()))
    call(fetching, "dvc", "repro", "fetch_corpus", "fetch_pretrained", "fetch_judges")
    call(fetching, "dvc", "remote", "add", "--default", "--force", "shared", str(tmp_path / "shared"))
    commit(fetching, "fetched")
    call(fetching, "dvc", "push", "data/corpus", "models/pretrained", "models/judges")
    shutil.rmtree(judge)
    call(tmp_path, "git", "clone", "--quiet", str(fetching), str(computing))
    call(computing, "dvc", "pull", "data/corpus", "models/pretrained", "models/judges")
    ran = running(call(computing, "dvc", "repro", "prepare_references"))
    assert {"prepare_data", "train_autoencoder", "prepare_references"} <= ran
    assert not ran & {"fetch_corpus", "fetch_pretrained", "fetch_judges"}
    settings = json.loads((computing / "data" / "references" / "settings.json").read_text())
    assert settings["perplexity"]["name"] == str(judge)


def test_the_test_split_is_reported_once_with_five_seeds(project: Path) -> None:
    report = ("python", "src/report_test.py", "--experiment", "linear")
    call(project, *report)
    record = json.loads((project / "metrics" / "test" / "linear.json").read_text())
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
        with pytest.raises(AssertionError, match=f"{name} was evaluated on the test split already, which is done once"):
            call(project, "python", "src/report_test.py", "--experiment", name)
    with pytest.raises(AssertionError, match="nosuch is no finished experiment, branch or commit"):
        call(project, "python", "src/report_test.py", "--experiment", "nosuch")


def test_a_sweep_of_sampling_computes_only_what_it_does_not_hold(project: Path) -> None:
    sweep = ("python", "src/sweep_sampling.py", "--eta", "1", "--strategies", "greedy", "--sampling-timesteps")
    call(project, *sweep, "2", "5")
    kept = {path: path.stat().st_mtime_ns for path in (project / ".frontier").rglob("*.json")}
    assert len(kept) == 2
    call(project, *sweep, "2", "5", "10")
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    record = json.loads((project / "metrics" / "frontier.json").read_text())
    assert [row["setting"]["network_evaluations"] for row in record["rows"]] == [2, 5, 10]
    samples = json.loads((project / "metrics" / "evaluation.json").read_text())["samples"]["greedy"]
    assert record["rows"][1]["scores"] == samples  # 5 steps at eta 1 are the experiment's own
    assert (project / "plots" / "frontier.png").stat().st_size > 0
    with pytest.raises(AssertionError, match="--sampling-timesteps 101: it should be from 1 to the model's 100"):
        call(project, *sweep, "101")


def test_speed_is_measured_on_the_outputs_of_the_experiment(project: Path) -> None:
    call(project, "python", "src/run_benchmarks.py", "--sections", "evaluation", "--repeats", "2")
    evaluation = json.loads((project / "metrics" / "bench.json").read_text())["evaluation"]
    assert evaluation["texts"] == 40
    at_hand, *recomputed = evaluation["rows"]
    assert len(recomputed) == 2
    assert 0 < at_hand["seconds"] < recomputed[-1]["seconds"]
    assert all(row["share of it at hand"] == at_hand["seconds"] / row["seconds"] for row in recomputed)


def test_labelled_texts_are_generated_by_a_conditional_model_only(project: Path, tmp_path: Path) -> None:
    out = tmp_path / "generated.csv"
    generate = ("python", "src/generate_dataset.py", "--texts-per-label", "3", "--out", str(out))
    with pytest.raises(AssertionError, match="knows no labels: it was trained with class_conditional: false"):
        call(project, *generate)
    settings = ("train_diffusion.class_conditional=true", "sample_texts.guidance_weight=2")
    call(project, "dvc", "exp", "run", "--name", "labelled", *(part for each in settings for part in ("--set-param", each)))
    samples = json.loads((project / "metrics" / "samples.json").read_text())
    assert set(samples["by_label"]["greedy"]) == {"cheap", "expensive", "moderate"}
    assert 0 <= samples["greedy"]["has_label"] <= samples["greedy"]["grammatical"] <= 1
    call(project, *generate)
    with out.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["label"] for row in rows] == [label for label in ("cheap", "expensive", "moderate") for _ in range(3)]
    with pytest.raises(AssertionError, match="does not know the label free: its labels are cheap, expensive, moderate"):
        call(project, *generate, "--labels", "free")
