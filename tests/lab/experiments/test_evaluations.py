"""Scores of experiments: which stand in one table."""

import json
from pathlib import Path

import pytest

from annealed_lab.experiments.evaluations import all_evaluations, difference, named_evaluations
from annealed_lm.common.errors import InputError
from support.repositories import commit_all, git, keep_as_experiment, start_repository

EXPERIMENTS = (("linear", "linear", 8.0, 40), ("polynomial", "polynomial", 7.0, 40), ("fewer", "normal", 9.5, 30))
"""Name, T schedule, perplexity, number of samples."""


def put(T_schedule: str, perplexity: float, num_samples: int = 40) -> None:
    """Write what is read of an experiment."""
    params = {"T_schedule": T_schedule, "power": 3, "optimizer": "muon", "random_seed": 5}
    scores = {"settings": {"num_samples": num_samples}, "samples": {"greedy": {"perplexity": {"value": perplexity}}}}
    Path("metrics").mkdir(exist_ok=True)
    for path, content in {"params.yaml": params, "metrics/evaluation.json": scores}.items():
        Path(path).write_text(json.dumps(content), encoding="utf-8")


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A last commit, two experiments that were evaluated like it, one that was not, one with its numbers, one of another
    version."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    start_repository()
    first = commit_all("first")
    put("normal", 9.0)
    Path("params.yaml").write_text("schedule: normal\n")
    commit_all("other parameters", 1)
    keep_as_experiment("old", first)
    put("normal", 9.0)
    branch = commit_all("baseline", 2)
    for minute, (name, T_schedule, perplexity, num_samples) in enumerate(EXPERIMENTS, start=3):
        put(T_schedule, perplexity, num_samples)
        commit_all(name, minute)
        keep_as_experiment(name, branch)
    commit_all("the same", 9)
    keep_as_experiment("same", branch)


def test_the_last_commit_and_what_was_evaluated_like_it_are_kept_and_the_others_told() -> None:
    evaluations, left_out = all_evaluations()
    assert {name: evaluation["run"] for name, evaluation in evaluations.items()} == {
        "HEAD": "T_schedule normal, muon, seed 5",
        "linear": "T_schedule linear, muon, seed 5",
        "polynomial": "T_schedule polynomial 3, muon, seed 5",
    }
    assert evaluations["linear"]["samples"]["greedy"]["perplexity"]["value"] == 8
    old, fewer, same = left_out
    assert old.endswith("has no T_schedule in params.yaml: it is not the result of an experiment of this version")
    assert fewer == "fewer was evaluated differently from HEAD (num_samples: 40 and 30)"
    assert same == "same has the numbers of HEAD"


def test_an_experiment_called_head_does_not_take_the_place_of_the_last_commit() -> None:
    put("cosine", 5.0)
    made = commit_all("HEAD", 10)
    keep_as_experiment("HEAD", git("rev-parse", "HEAD~1"))
    put("cosine", 4.0)
    commit_all("white space", 11)
    keep_as_experiment("a\u00a0b", git("rev-parse", "HEAD~1"))
    evaluations, _ = all_evaluations()
    assert {name: evaluation["samples"]["greedy"]["perplexity"]["value"] for name, evaluation in evaluations.items()} == {
        "HEAD": 9,
        "linear": 8,
        "polynomial": 7,
        f"HEAD (experiment {made[:7]})": 5,
        "a\u00a0b": 4,
    }
    assert named_evaluations(["HEAD", "linear"])["HEAD"] == evaluations["HEAD"]


def test_named_ones_have_to_be_there_and_to_be_evaluated_alike() -> None:
    assert list(named_evaluations(["polynomial", "main"])) == ["polynomial", "main"]
    with pytest.raises(InputError, match=r"^linear and fewer were evaluated differently \(num_samples: 40 and 30\)"):
        named_evaluations(["linear", "polynomial", "fewer"])
    with pytest.raises(InputError, match=r"has no T_schedule in params.yaml: it is not the result of an experiment of this"):
        named_evaluations(["old"])
    with pytest.raises(InputError, match=r"has no metrics/evaluation.json: it is not the result of an experiment of this"):
        named_evaluations(["main~1"])
    with pytest.raises(InputError, match=r"^nosuch is no finished experiment"):
        named_evaluations(["nosuch"])


def test_a_setting_that_one_lacks_is_a_difference() -> None:
    assert difference({"settings": {"a": 1}}, {"settings": {"a": 1}}) is None
    assert difference({"settings": {"a": 1}}, {"settings": {"a": 1, "b": 2}}) == "b: absent and 2"


def test_a_difference_is_told_in_words() -> None:
    judged = [{"settings": {"mauve": {"sentence": {"name": "judge", "sha256": digest}}}} for digest in ("a", "b")]
    assert difference(*judged) == "the weights of the judge of mauve.sentence, as where it was trained on another machine"
    assert difference({"settings": {"fingerprint": 1}}, {"settings": {"fingerprint": 2}}) == "the texts of the corpus"


def test_where_nothing_was_evaluated_like_the_last_commit_the_newest_experiment_is_the_measure() -> None:
    put("normal", 9.0, 41)
    commit_all("published on another machine", 20)
    evaluations, left_out = all_evaluations()
    assert set(evaluations) == {"linear", "polynomial", "same"}
    assert "HEAD was evaluated differently from same (num_samples: 40 and 41)" in left_out
