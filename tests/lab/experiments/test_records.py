"""Records of experiments from commits and folders, and what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from annealed_lab.experiments.records import (
    FILES,
    Record,
    parse_samples,
    parse_table,
    read_record,
    relevant_parameters,
)
from annealed_lab.experiments.sources import CommitSource, FolderSource
from annealed_lm.common.errors import InputError
from support.comparison_records import parameters, record_files, write_record
from support.repositories import commit_all, start_repository

CHANGES = {"T_schedule": "linear", "random_seed": 3}


@pytest.fixture
def record(tmp_path: Path) -> Path:
    return write_record(tmp_path / "run", CHANGES)


def read(folder: Path) -> Record:
    return read_record("run", FolderSource(folder))


def rewrite(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | changes), encoding="utf-8")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    start_repository()
    return tmp_path


def test_a_record_holds_what_the_files_say(record: Path) -> None:
    found = read(record)
    assert found.values == parameters(CHANGES)
    assert found.training["flops_per_step"] == 2e12
    assert found.curves.validation["step"][-1] == 1200
    assert list(found.curves.by_log_snr) == ["under -4", "-4 to 0", "0 to 4", "over 4"]
    assert found.curves.quality["grammatical"]["step"] == [300, 600, 900, 1200]
    assert found.curves.timing["seconds"][-1] == 60
    assert found.samples["greedy, generated"][0] == "Text 0 of linear & seed <3>, $5, 100%."


def test_a_commit_and_a_folder_give_the_same_record(repository: Path) -> None:
    write_record(repository, CHANGES)
    source = CommitSource(commit_all("a run"))
    found, of_folder = read_record("run", source), read(repository)
    assert (source.newness > 0, of_folder.source.newness, of_folder.source.commit) == (True, 0, None)
    assert replace(found, source=of_folder.source) == of_folder


@pytest.mark.parametrize("path", FILES)
def test_an_incomplete_record_is_named_with_what_it_lacks(path: str, record: Path) -> None:
    (record / path).unlink()
    with pytest.raises(InputError, match=rf"^run has no {path}: it did not finish, or is of an earlier version"):
        read(record)


@pytest.mark.parametrize("path", [path for path in FILES if path.endswith(".tsv")])
def test_a_table_without_rows_is_told(path: str, record: Path) -> None:
    (record / path).write_text("step\tloss\n", encoding="utf-8")
    with pytest.raises(InputError, match=rf"^run has no rows in {path}"):
        read(record)


def test_a_record_from_before_the_flop_were_counted_is_named(record: Path) -> None:
    (record / "metrics/training.json").write_text('{"validation_loss": 0.2}', encoding="utf-8")
    with pytest.raises(InputError, match=r"^run has no flops_per_step in metrics/training.json"):
        read(record)


@pytest.mark.parametrize("path", FILES[:-1])
def test_a_damaged_file_is_told_in_one_sentence(path: str, record: Path) -> None:
    (record / path).write_text("{ damaged\n1\t2", encoding="utf-8")
    with pytest.raises(InputError, match=r"^run cannot be read"):
        read(record)


def test_parameters_of_another_version_are_told(record: Path) -> None:
    values = parameters(CHANGES)
    del values["train_diffusion"]["base_schedule"]
    (record / "params.yaml").write_text(json.dumps(values), encoding="utf-8")
    with pytest.raises(InputError, match=r"^run cannot be read .*base_schedule.*another version"):
        read(record)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sample_texts.num_samples": 400}, "sample_texts.num_samples is 400 in params.yaml and 500"),
        ({"sample_texts.eval_seeds": [1, 2]}, r"sample_texts.eval_seeds is \[1, 2\] in params.yaml and \[42\]"),
        ({"dataset_name": "e2e"}, "dataset_name is e2e in params.yaml and restaurants"),
        ({"sample_texts.sampling_timesteps": 9}, "sample_texts.sampling_timesteps is 9"),
        ({"train_diffusion.num_train_steps": 99}, "num_train_steps is 99 and plots/validation.tsv ends at step 1200"),
    ],
)
def test_numbers_that_are_not_those_of_the_parameters_are_refused(changes: dict[str, object], told: str, record: Path) -> None:
    (record / "params.yaml").write_text(json.dumps(parameters(CHANGES | changes)), encoding="utf-8")
    with pytest.raises(InputError, match=rf"^run contradicts itself: .*{told}"):
        read(record)


def test_a_run_that_diverged_is_told_apart(record: Path) -> None:
    rewrite(record / "metrics/training.json", validation_loss=float("nan"))
    with pytest.raises(InputError, match=r"^run diverged"):
        read(record)


def test_the_numbers_of_the_parent_commit_are_refused(repository: Path) -> None:
    write_record(repository, CHANGES)
    first = commit_all("a run")
    (repository / "params.yaml").write_text(json.dumps(parameters(CHANGES | {"random_seed": 4})), encoding="utf-8")
    stale = commit_all("a run")
    read_record("first", CommitSource(first))
    with pytest.raises(InputError, match=r"^stale has the numbers of its parent commit although its parameters differ"):
        read_record("stale", CommitSource(stale))


def test_a_commit_that_changes_nothing_of_the_run_keeps_its_numbers(repository: Path) -> None:
    write_record(repository, CHANGES)
    commit_all("a run")
    (repository / "params.yaml").write_text(json.dumps(parameters(CHANGES | {"power": 7})), encoding="utf-8")  # of polynomial
    read_record("same", CommitSource(commit_all("a run")))


def test_a_new_run_on_top_of_another_is_no_stale_one(repository: Path) -> None:
    write_record(repository, CHANGES)
    commit_all("a run")
    write_record(repository, CHANGES | {"random_seed": 4})
    assert read_record("new", CommitSource(commit_all("a run"))).values["random_seed"] == 4


def test_parameters_that_change_nothing_are_not_relevant() -> None:
    relevant = relevant_parameters(parameters({"T_schedule": "linear"}))
    assert {"T_schedule", "random_seed", "train_diffusion.start_fraction"} <= set(relevant)
    assert not {"power", "trackers", "train_diffusion.num_processes", "train_diffusion.base_schedule"} & set(relevant)


def test_empty_texts_stay_where_they_are() -> None:
    text = "greedy, generated\nOne.\n\nThree, generated.\n\n\ngreedy, control\nfour\n\nbaseline\nfive"
    assert parse_samples(text) == {
        "greedy, generated": ["One.", "", "Three, generated.", ""],
        "greedy, control": ["four"],
        "baseline": ["five"],
    }


def test_empty_cells_at_the_end_of_a_table_are_empty_again() -> None:
    assert parse_table("step\ta\tb\n1\t2\t3\n2") == [{"step": "1", "a": "2", "b": "3"}, {"step": "2", "a": "", "b": ""}]


def test_quality_that_was_not_measured_at_a_step_is_no_point_of_its_curve(record: Path) -> None:
    (record / "plots/quality.tsv").write_text("step\tgrammatical\tperplexity\n600\t\t9\n1200\t0.5\t\n", encoding="utf-8")
    assert read(record).curves.quality == {
        "grammatical": {"step": [1200], "grammatical": [0.5]},
        "perplexity": {"step": [600], "perplexity": [9]},
    }


def test_the_stand_in_has_every_file() -> None:
    assert set(record_files({})) == set(FILES)
