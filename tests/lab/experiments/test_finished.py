"""Experiments as DVC leaves them in git: refs made by hand in a small repository."""

import json
from pathlib import Path

import pytest

from annealed_lab.experiments.finished import commit_of, finished_experiments, read_text_at
from annealed_lm.common.errors import InputError
from support.repositories import commit_all, git, start_repository

BASELINES = ("ab" + 38 * "0", "cd" + 38 * "1")


def commit(text: str, minute: int) -> str:
    """A commit whose metrics/evaluation.json holds `text`; its name."""
    Path("metrics").mkdir(exist_ok=True)
    Path("metrics/evaluation.json").write_text(json.dumps({"text": text}, ensure_ascii=False) + "\n", encoding="utf-8")
    return commit_all(text, minute)


def add_experiment(name: str, minute: int, baseline: str = BASELINES[0]) -> str:
    """A commit beside the branch, and the ref to it that DVC makes."""
    branch = git("rev-parse", "HEAD")
    made = commit(name, minute)
    git("update-ref", f"refs/exps/{baseline[:2]}/{baseline[2:]}/{name}", made)
    git("reset", "--quiet", "--hard", branch)
    return made


@pytest.fixture(autouse=True)
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A repository to work in, with one commit on the branch main, whose name is given."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    start_repository()
    return commit("first", 0)


def test_experiments_are_listed_from_the_oldest_to_the_newest_whatever_their_names() -> None:
    expected = {name: add_experiment(name, minute) for minute, name in enumerate(("warm-zebu", "cool-auks", "a_name.2"), start=1)}
    found = finished_experiments()
    assert found == expected
    assert list(found) == list(expected)


def test_experiments_of_every_baseline_are_listed() -> None:
    expected = {
        f"of-{baseline[:2]}": add_experiment(f"of-{baseline[:2]}", minute, baseline)
        for minute, baseline in enumerate(BASELINES, start=1)
    }
    assert finished_experiments() == expected


def test_of_two_experiments_of_one_name_the_newer_counts_and_takes_its_place_in_the_order() -> None:
    add_experiment("again", 1, BASELINES[1])
    other = add_experiment("other", 2)
    newer = add_experiment("again", 3, BASELINES[0])
    assert list(finished_experiments().items()) == [("other", other), ("again", newer)]


@pytest.mark.parametrize(
    "ref",
    [
        "refs/exps/stash",
        "refs/exps/celery/stash",
        "refs/exps/celery/failed",
        "refs/exps/exec/EXEC_BASELINE",
        "refs/exps/exec/EXEC_HEAD",
        "refs/exps/temp/ab",
        f"refs/exps/{'ab' + 38 * '0'}",
        f"refs/exps/ab/{37 * '0'}/short",
        f"refs/exps/xy/{38 * '0'}/no-hex",
        f"refs/heads/refs/exps/ab/{38 * '0'}/branch",
    ],
)
def test_what_else_dvc_and_git_keep_is_no_finished_experiment(ref: str, repository: str) -> None:
    git("update-ref", ref, repository)
    assert ref in git("for-each-ref", "--format=%(refname)")
    assert finished_experiments() == {}


def test_without_experiments_or_a_repository_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert finished_experiments() == {}
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    assert finished_experiments() == {}
    with pytest.raises(InputError, match="main is no finished experiment"):
        commit_of("main")


def test_an_experiment_goes_before_a_branch_of_its_name(repository: str) -> None:
    git("branch", "cool-auks")
    assert commit_of("cool-auks") == repository
    made = add_experiment("cool-auks", 1)
    assert made != repository
    assert commit_of("cool-auks") == made


UNUSUAL = (
    "HEAD",
    "a\u00a0b",
    "\u00a0",
    "end\u00a0",
    "a\u2003b",
    "line\u2028break",
    "next\x85line",
    "é",
    "寿司",
    "a/b",
    "@",
    "%s",
    "(x)",
)
"""Names that DVC and git take."""


def test_names_with_whatever_git_takes_are_names() -> None:
    expected = {name: add_experiment(name, minute) for minute, name in enumerate(UNUSUAL, start=1)}
    assert list(finished_experiments().items()) == list(expected.items())


def test_head_is_git_s_whatever_an_experiment_is_called(repository: str) -> None:
    made = add_experiment("HEAD", 1)
    assert finished_experiments() == {"HEAD": made}
    assert commit_of("HEAD") == repository != made
    assert commit_of(made) == made


@pytest.mark.parametrize("name", ["main", "HEAD", "a-tag", "an-annotated-tag"])
def test_branches_tags_and_commits_name_commits_too(name: str, repository: str) -> None:
    git("tag", "a-tag")
    git("tag", "--annotate", "--message", "m", "an-annotated-tag")
    assert commit_of(name) == repository
    assert commit_of(repository) == commit_of(repository[:10]) == repository


@pytest.mark.parametrize("name", ["no-such-auks", "", "--all", "main:metrics", "0" * 40])
def test_another_name_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=f"^{name} is no finished experiment, branch or commit of this project; dvc exp list"):
        commit_of(name)


def test_files_are_read_as_they_are_in_the_commit(repository: str) -> None:
    made = add_experiment("grüße–‰", 1)
    Path("metrics/evaluation.json").write_text("changed here", encoding="utf-8")
    assert json.loads(read_text_at(made, "metrics/evaluation.json")) == {"text": "grüße–‰"}
    assert json.loads(read_text_at(repository, "metrics/evaluation.json")) == {"text": "first"}


def test_a_file_that_the_commit_does_not_have_is_named(repository: str) -> None:
    with pytest.raises(InputError, match=f"^commit {repository[:12]} has no metrics/none.json: it is not the result of"):
        read_text_at(repository, "metrics/none.json")
