"""DVC as a user drives it: what an experiment re-runs, what comes from the cache, whose code it runs."""

import json
import re
import shutil
from pathlib import Path

import pytest

from support.projects import call, clone, from_cache, refused, running

DOWNSTREAM = {"validate_params", "train_diffusion", "sample_texts", "evaluate_samples", "evaluate_training", "report"}
"""The stages that a change of T_schedule concerns."""


def test_a_schedule_re_runs_training_and_what_follows(finished_project: Path) -> None:
    assert running((finished_project / "baseline.log").read_text()) > DOWNSTREAM
    assert running((finished_project / "linear.log").read_text()) == DOWNSTREAM


def test_going_back_runs_nothing_again(project: Path) -> None:
    call(project, "dvc", "exp", "apply", "linear")
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
        output = refused(project, "dvc", "exp", "run", "--temp", "--set-param", setting)
        assert told in output
        assert running(output) <= {"validate_params"}


def test_an_experiment_runs_the_code_of_its_snapshot_where_other_code_is_installed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one experiment of `make test` whose Python and DVC are started anew each time, without support/fork_server.py.

    The code of the workspace is found before all that is installed: `pip install --editable .` would be found after it.
    """
    module = project / "src" / "annealed_lm" / "config" / "config.py"
    module.write_text(module.read_text() + "\nprint(f'code of {__file__}')\n")
    monkeypatch.setenv("PYTHONPATH", str(project / "src"))
    changed = ("--set-param", "sample_texts.ddim_sampling_eta=0.5")
    output = call(project, "dvc", "exp", "run", "--temp", *changed, "sample_texts", forking=False)
    assert running(output) == {"validate_params", "sample_texts"}
    files = re.findall(r"^code of (.*)$", output, flags=re.MULTILINE)
    assert len(files) == 2
    assert all(Path(file).is_relative_to(project / ".dvc" / "tmp" / "exps") for file in files)


@pytest.mark.slow
def test_a_queued_experiment_runs_the_code_it_was_queued_with(project: Path) -> None:
    script = project / "src" / "sample_texts.py"
    call(project, "dvc", "exp", "run", "--queue", "--name", "queued", "--set-param", "sample_texts.ddim_sampling_eta=0")
    script.write_text("raise SystemExit('the code of the workspace')\n")
    call(project, "dvc", "exp", "run", "--run-all", forking=False)
    assert re.search(r"queued .*Success", call(project, "dvc", "queue", "status"))
    assert "ddim_sampling_eta" in call(project, "dvc", "params", "diff", "main", "queued")


def test_plots_are_a_page_that_needs_no_network(project: Path) -> None:
    call(project, "dvc", "plots", "diff", "main", "linear")
    page = (project / "dvc_plots" / "index.html").read_text(encoding="utf-8")
    assert page.count("vegaEmbed('#") == 7  # one for both revisions, not one for each
    assert page.index("quality of the samples") < page.index("validation loss")
    assert set(re.findall(r"(?:main|linear)_plots_\w+\.png", page)) == {"main_plots_samples.png", "linear_plots_samples.png"}
    assert re.search(r'<(script|link|img)[^>]*(src|href) *= *"https?:', page) is None


def test_another_judge_changes_scores_and_nothing_that_was_trained(project: Path, tmp_path: Path) -> None:
    judge = shutil.copytree(project / "models" / "language_model" / "baseline", tmp_path / "my-judge")
    setting = f"fetch_judges.language_model_name={judge}"
    output = call(project, "dvc", "exp", "run", "--name", "judged", "--set-param", setting)
    assert running(output) == {
        *("validate_params", "fetch_judges", "train_language_model", "prepare_references"),
        *("evaluate_samples", "evaluate_training", "report"),
    }
    record = json.loads((project / "metrics" / "evaluation.json").read_text())
    assert record["settings"]["perplexity"]["name"] == str(judge)
    assert record["settings"]["mauve"]["language_model"]["name"] == str(judge)


def test_fetched_models_go_through_a_shared_folder_to_a_machine_that_has_no_source(project: Path, tmp_path: Path) -> None:
    """What `make fetch` brought on one machine is pulled on another, where the folder it came from is not there."""
    judge = shutil.copytree(project / "models" / "language_model" / "baseline", tmp_path / "my-judge")
    fetching = clone(project, tmp_path / "fetching")
    params = fetching / "params.yaml"
    params.write_text(re.sub("language_model_name:.*", f"language_model_name: {judge}", params.read_text()))
    call(fetching, "dvc", "repro", "fetch_corpus", "fetch_pretrained", "fetch_judges")
    call(fetching, "dvc", "remote", "add", "--default", "--force", "shared", str(tmp_path / "shared"))
    call(fetching, "git", "add", "params.yaml", "dvc.lock", ".dvc/config")  # all that docs/offline.md names
    call(fetching, "git", "commit", "--quiet", "--message", "fetched")
    call(fetching, "dvc", "push", "data/corpus", "models/pretrained", "models/judges")
    shutil.rmtree(judge)
    computing = clone(fetching, tmp_path / "computing")
    call(computing, "dvc", "pull", "data/corpus", "models/pretrained", "models/judges")
    ran = running(call(computing, "dvc", "repro", "prepare_references"))
    assert {"prepare_data", "train_autoencoder", "prepare_references"} <= ran
    assert not ran & {"fetch_corpus", "fetch_pretrained", "fetch_judges"}
    settings = json.loads((computing / "data" / "references" / "settings.json").read_text())
    assert settings["perplexity"]["name"] == str(judge)
