"""Experiments to compare: which are found, and in what they are read."""

from pathlib import Path

import pytest

from annealed_lab.experiments.sources import Candidate, commit_candidates, folder_candidates
from annealed_lm.common.errors import InputError
from support.repositories import commit_all, git, keep_as_experiment, start_repository


def put(folder: Path, text: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "params.yaml").write_text(text, encoding="utf-8")


def chosen(candidates: list[Candidate]) -> dict[str, bool]:
    return {candidate.name: candidate.required for candidate in candidates}


@pytest.fixture(autouse=True)
def stay_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))


@pytest.fixture
def branch() -> str:
    """Keep the experiments mine-a, mine-b and other on the branch main, and return its commit."""
    start_repository()
    put(Path(), "main")
    first = commit_all("first")
    for minute, name in enumerate(("mine-a", "mine-b", "other"), start=1):
        put(Path(), f"of {name}")
        commit_all(name, minute)
        keep_as_experiment(name, first)
    return first


def test_a_folder_of_experiments_stands_for_those_in_it_and_only_one_that_is_named_is_required() -> None:
    for name in ("study/b", "study/a", "study/.hidden", "alone"):
        put(Path(name), name)
    Path("study/empty").mkdir()
    found = [*folder_candidates([Path("study"), Path("alone")])]
    assert chosen(found) == {"study/a": False, "study/b": False, "study/empty": False, "alone": True}
    assert [candidate.source.read("params.yaml") for candidate in found] == ["study/a", "study/b", None, "alone"]


@pytest.mark.parametrize("name", ["none", "empty"])
def test_a_folder_without_any_is_refused(name: str) -> None:
    Path("empty/sub").mkdir(parents=True)
    with pytest.raises(InputError, match=rf"^{name} holds no experiment: it, or folders in it, should have params.yaml"):
        list(folder_candidates([Path(name)]))


def test_experiments_are_chosen_by_name_by_prefix_or_all(branch: str) -> None:
    assert chosen([*commit_candidates([], [], everything=True)]) == {"mine-a": False, "mine-b": False, "other": False}
    assert chosen([*commit_candidates([], ["mine-", "oth"], everything=False)]) == {
        "mine-a": False,
        "mine-b": False,
        "other": False,
    }
    assert chosen([*commit_candidates(["mine-b", "main"], ["mine-"], everything=False)]) == {
        "mine-b": True,
        "main": True,
        "mine-a": False,
    }
    assert chosen([*commit_candidates([], [], everything=False)]) == {}
    with pytest.raises(InputError, match=r"^no finished experiment has a name that begins with 'your'; dvc exp list"):
        list(commit_candidates([], ["mine-", "your"], everything=False))


def test_an_experiment_is_read_as_its_commit_has_it_and_a_later_one_is_newer(branch: str) -> None:
    put(Path(), "changed here")
    first, second = commit_candidates(["mine-a", "mine-b"], [], everything=False)
    assert (first.source.read("params.yaml"), first.source.read("none.yaml")) == ("of mine-a", None)
    assert second.source.newness - first.source.newness == 60
    assert first.source.commit == git("rev-parse", f"refs/exps/{branch[:2]}/{branch[2:]}/mine-a")
