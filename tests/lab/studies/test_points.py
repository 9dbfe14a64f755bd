"""Studies: from one YAML file to the list of points."""

import re
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from annealed_lab.studies.points import Study, read_study
from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import differences, flat, value_at

ROOT = Path(__file__).parents[3]
STUDY: dict[str, Any] = {
    "settings": {"train_diffusion.tx_dim": 64},
    "variants": {"normal": {"T_schedule": "normal"}, "polynomial-3": {"T_schedule": "polynomial", "power": 3}},
    "conditions": {"short": {"train_diffusion.num_train_steps": 600}, "as-it-is": None},
    "grids": [{"variants": ["normal", "polynomial-3"], "conditions": ["short"], "seeds": [1, 2]}],
}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, which has the project's params.yaml."""
    (tmp_path / "params.yaml").write_text((ROOT / "params.yaml").read_text())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study(changes: dict[str, Any], name: str = "size") -> Study:
    """STUDY with other entries; those that are None are left out."""
    path = Path(f"{name}.yaml")
    values = {key: value for key, value in (STUDY | changes).items() if value is not None}
    YAML().dump(values, path)
    return read_study(path, Path("params.yaml"))


def names(found: Study) -> list[str]:
    return [point.name for point in found.points]


def grid(variants: list[str], conditions: list[str], seeds: list[int]) -> dict[str, Any]:
    return {"variants": variants, "conditions": conditions, "seeds": seeds}


def test_points_are_ordered_seed_by_seed() -> None:
    assert names(study({})) == [
        "size-normal-short-1",
        "size-polynomial-3-short-1",
        "size-normal-short-2",
        "size-polynomial-3-short-2",
    ]


def test_seeds_of_several_grids_go_together_and_a_point_of_two_grids_is_one() -> None:
    found = study(
        {"grids": [grid(["normal"], ["short"], [2, 1]), grid(["polynomial-3", "normal"], ["as-it-is", "short"], [1, 3])]}
    )
    assert [name.removeprefix("size-") for name in names(found)] == [
        "normal-short-2",
        "normal-short-1",
        "polynomial-3-as-it-is-1",
        "polynomial-3-short-1",
        "normal-as-it-is-1",
        "polynomial-3-as-it-is-3",
        "polynomial-3-short-3",
        "normal-as-it-is-3",
        "normal-short-3",
    ]


def test_a_point_has_the_whole_of_params_with_what_the_study_sets() -> None:
    point = study({}).points[3]
    base = YAML(typ="safe", pure=True).load(Path("params.yaml"))
    set_here = {
        "train_diffusion.tx_dim": 64,
        "T_schedule": "polynomial",
        "power": 3,
        "train_diffusion.num_train_steps": 600,
        "random_seed": 2,
    }
    assert sorted(differences(point.params, base)) == sorted(set_here)
    assert {key: value_at(point.params, key) for key in set_here} == set_here
    assert list(flat(point.params)) == list(flat(base))


def test_a_preset_goes_under_the_settings() -> None:
    Path("small.yaml").write_text("train_diffusion:\n  tx_dim: 16\n  tx_heads: 2\n")
    params = study({"preset": "small.yaml"}).points[0].params["train_diffusion"]
    assert (params["tx_dim"], params["tx_heads"]) == (64, 2)


def test_one_worker_and_no_number_of_threads_unless_the_study_says_so() -> None:
    assert (study({}).workers, study({}).threads) == (1, None)
    found = study({"workers": 2, "threads": 3})
    assert (found.workers, found.threads) == (2, 3)


def test_the_example_has_twelve_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    found = read_study(Path("studies/tiny.yaml"), Path("params.yaml"))
    assert len(found.points) == 12
    assert found.points[0].params["train_diffusion"]["tx_dim"] == 16


@pytest.mark.parametrize("study", sorted(path.name for path in (ROOT / "studies").glob("*.yaml")))
def test_every_study_of_the_folder_may_run_on_its_preset(monkeypatch: pytest.MonkeyPatch, study: str) -> None:
    monkeypatch.chdir(ROOT)
    assert read_study(Path("studies") / study, Path("params.yaml")).points


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"varaints": {}}, "size.yaml: varaints is not a known key (did you mean variants?)"),
        ({"variants": None}, "size.yaml: variants is missing"),
        ({"grids": []}, "size.yaml: grids = []: it should have at least 1 item"),
        ({"workers": 0}, "size.yaml: workers = 0: it should be greater than 0"),
        ({"settings": [1]}, "size.yaml: settings = [1]: it should be a valid dictionary"),
        (
            {"grids": [grid(["normal"], ["short"], [1]) | {"seed": 1}]},
            "size.yaml: grids.0: seed is not a known key (did you mean",
        ),
        ({"grids": [grid(["normal"], ["short"], [1, 1])]}, "size.yaml: grids.0: seeds = [1, 1]: it should name each entry once"),
        ({"grids": [grid(["normal"], ["short"], [-1])]}, "size.yaml: grids.0: seeds.0 = -1: it should be greater than or equal"),
        (
            {"grids": [grid(["normall"], ["short"], [1])]},
            "size.yaml: grids.0 names the variant normall, which is not one of normal, polynomial-3 (did you mean normal?)",
        ),
        (
            {"grids": [grid(["normal"], ["shor"], [1])]},
            "size.yaml: grids.0 names the condition shor, which is not one of short, as-it-is (did you mean short?)",
        ),
        (
            {"settings": {"train_diffusion.tx_dimm": 64}},
            "size.yaml: settings.train_diffusion.tx_dimm is not in params.yaml (did you mean train_diffusion.tx_dim?)",
        ),
        (
            {"variants": {"normal": {"train_diffusion": 3}, "polynomial-3": None}},
            "size.yaml: variants.normal.train_diffusion is a section of params.yaml: name a key of it",
        ),
        (
            {"variants": {"normal": {"random_seed": 3}, "polynomial-3": None}},
            "size.yaml: variants.normal sets random_seed, which the seeds of the grids do",
        ),
        (
            {"conditions": {"short": {"power": 3}}},
            "size.yaml: the variant polynomial-3 and the condition short both set power: only one of them may",
        ),
        (
            {"variants": {"normal": {"T_schedule": "linaer"}, "polynomial-3": None}},
            "size-normal-short-1: T_schedule = linaer is not one of",
        ),
        (
            {"conditions": {"short": {"train_diffusion.num_train_steps": -1}}},
            "size-normal-short-1: train_diffusion.num_train_steps = -1: it should be greater than 0",
        ),
        ({"variants": {"a b": None}}, "size.yaml: variants: the name a b should be letters, digits and _"),
        ({"conditions": {"a..b": None}}, "size.yaml: conditions: the name a..b should be letters, digits and _"),
        (
            {
                "variants": {"a": None, "a-b": None},
                "conditions": {"b-c": {"power": 3}, "c": {"power": 4}},
                "grids": [grid(["a", "a-b"], ["b-c", "c"], [1])],
            },
            "size.yaml: the variant a-b with the condition c, and a with b-c, both make size-a-b-c-1: rename one of them",
        ),
        ({"preset": "none.yaml"}, "none.yaml is not there"),
    ],
)
def test_what_is_wrong_is_told_in_one_sentence(changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=f"^{re.escape(told)}") as caught:
        study(changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["a b", "a~b", "a.lock", "-a", "a.", "grün"])
def test_the_name_of_a_study_must_be_one_of_an_experiment(name: str) -> None:
    with pytest.raises(InputError, match=f"^the name of {re.escape(name)}.yaml should be letters, digits and _, with single"):
        study({}, name)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "size.yaml is not valid YAML"),
        ("- a", "size.yaml does not hold keys and values"),
        (None, "size.yaml is not there"),
    ],
)
def test_a_file_that_is_no_study_is_told(text: str | None, told: str) -> None:
    if text is not None:
        Path("size.yaml").write_text(text)
    with pytest.raises(InputError, match=told):
        read_study(Path("size.yaml"), Path("params.yaml"))
