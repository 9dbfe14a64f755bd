"""dvc.yaml says what the code does: the same stages, the code and the parameters that each of them uses."""

import ast
import json
import re
import subprocess
import sys
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
from dvc.utils.hydra import apply_overrides
from ruamel.yaml import YAML

from annealed_lab.comparison.compare import PREFERRED_QUALITY
from annealed_lm.config.config import Config
from annealed_lm.config.sections import Section
from annealed_lm.training import import_closure
from annealed_lm.training.descriptions import SCHEMA
from report import DRAWN_METRICS

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
TOOL = "lab"
"""The one script that is no stage: the command line of the instrument."""
READS_THE_SCHEMA = "validate_params"
"""On the schema depends the result of that stage; the others depend on the values, which are params."""
COVERED_WITHOUT_USE = {
    "validate_params": {"annealing/drawing.py", "config/effects.py"},
    "fetch_pretrained": {"fetching/corpora.py"},
    "fetch_judges": {"fetching/corpora.py"},
    "train_autoencoder": {
        "autoencoder/encoding.py",
        "autoencoder/latents.py",
        "common/feature_sets.py",
        "common/model_description.py",
        "training/averages.py",
        "training/live_curves.py",
        "training/trackers.py",
    },
    "encode_latents": {
        "common/feature_sets.py",
        "common/intervals.py",
        "common/machine.py",
        "common/model_description.py",
    },
    "train_language_model": {
        "training/averages.py",
        "training/live_curves.py",
        "training/optimizers.py",
        "training/trackers.py",
    },
    "prepare_references": {
        "common/intervals.py",
        "common/machine.py",
        "evaluation/evaluate_interface.py",
        "generation/sampling.py",
        "generation/solvers.py",
        "generation/texts.py",
    },
    "train_diffusion": {"common/feature_sets.py", "common/model_description.py"},
    "sample_texts": {
        "common/feature_sets.py",
        "common/intervals.py",
        "common/machine.py",
        "common/model_description.py",
        "generation/bounds.py",
        "generation/language_model.py",
        "generation/reconstruction.py",
    },
    "evaluate_samples": {
        "common/intervals.py",
        "common/machine.py",
        "common/words.py",
        "evaluation/evaluate_interface.py",
    },
    "evaluate_training": {
        "common/intervals.py",
        "common/machine.py",
        "evaluation/evaluate_interface.py",
        "generation/bounds.py",
        "generation/reconstruction.py",
    },
    "report": {"annealing/drawing.py", "annealing/weights.py"},
}
"""By stage, the files in the folders among its deps that it does not import: changing one re-runs the stage for nothing."""

SIDE_FOLDERS = {".resume", ".trackers"}
"""Neither dep nor out: checkpoints, which change how soon a training ends and not what it gives, and what trackers keep."""


def dvc_yaml() -> dict[str, Any]:
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(ROOT / "dvc.yaml")
    return values


STAGES: dict[str, dict[str, Any]] = dvc_yaml()["stages"]


def outs(stage: str) -> dict[str, dict[str, Any]]:
    """Path -> options."""
    entries = STAGES[stage].get("outs", [])
    return {path: options for entry in entries for path, options in (entry.items() if isinstance(entry, dict) else [(entry, {})])}


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def code_of(stage: str) -> set[str]:
    """The script and our files that it imports, directly or not, as dvc.yaml writes them."""
    files = import_closure.code_of(SOURCE / f"{stage}.py", left_out=None if stage == READS_THE_SCHEMA else SCHEMA)
    return {str(file.relative_to(ROOT)) for file in files}


@cache
def code_under(dep: str) -> set[str]:
    """The files of a dep that is code: itself, or those of the folder."""
    path = ROOT / dep
    files = [path] if path.is_file() else [file for file in path.glob("*.py") if file.read_text() != ""]
    return {str(file.relative_to(ROOT)) for file in files}


def code_deps(stage: str) -> set[str]:
    return {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")}


def is_key(key: str) -> bool:
    model: Any = Config
    for name in key.split("."):
        if not (isinstance(model, type) and issubclass(model, Section) and name in model.model_fields):
            return False
        model = model.model_fields[name].annotation
    return True


def keys_read(stage: str) -> set[str]:
    """The keys of params.yaml that a script reads: each config.<key> and config.<section>.<key> that it writes out."""
    module = tree(SOURCE / f"{stage}.py")
    functions = {node.name for node in module.body if isinstance(node, ast.FunctionDef)}
    parents = {child: node for node in ast.walk(module) for child in ast.iter_child_nodes(node)}
    keys = set()
    for node in ast.walk(module):
        if not (isinstance(node, ast.Name) and node.id == "config" and isinstance(node.ctx, ast.Load)):
            continue
        key = ""
        step = parents[node]
        while isinstance(step, ast.Attribute) and is_key(f"{key}.{step.attr}".lstrip(".")):
            key = f"{key}.{step.attr}".lstrip(".")
            step = parents[step]
        if isinstance(step, ast.Call) and isinstance(step.func, ast.Name) and step.func.id in functions:
            continue  # what that function reads is written out in this file too
        assert key, f"src/{stage}.py line {node.lineno} uses config without naming a key"
        keys.add(key)
    return keys


def keys_declared(stage: str) -> set[str]:
    return {entry for entry in STAGES[stage].get("params", []) if isinstance(entry, str)}


def leaves(key: str) -> set[str]:
    """The keys under a section, or the key itself."""
    annotation: Any = Config
    for name in key.split("."):
        annotation = annotation.model_fields[name].annotation
    if isinstance(annotation, type) and issubclass(annotation, Section):
        return {f"{key}.{name}" for name in annotation.model_fields}
    return {key}


def all_leaves(keys: set[str]) -> set[str]:
    return {leaf for key in keys for leaf in leaves(key)}


def test_a_stage_is_a_script() -> None:
    assert {path.stem for path in SOURCE.glob("*.py")} == {*STAGES, TOOL}


def test_a_section_of_params_belongs_to_the_stage_of_its_name() -> None:
    sections = {name for name in Config.model_fields if leaves(name) != {name}}
    assert sections <= set(STAGES)


@pytest.mark.parametrize("stage", STAGES)
def test_deps_cover_the_code_that_the_stage_imports(stage: str) -> None:
    covered = {file for dep in code_deps(stage) for file in code_under(dep)}
    assert code_of(stage) <= covered
    unused = {file.removeprefix("src/annealed_lm/") for file in covered - code_of(stage)}
    assert unused == COVERED_WITHOUT_USE.get(stage, set())


@pytest.mark.parametrize("stage", STAGES)
def test_a_folder_is_named_only_where_the_stage_uses_more_than_half_of_it(stage: str) -> None:
    for dep in code_deps(stage):
        files = code_under(dep)
        assert 2 * len(files & code_of(stage)) > len(files), dep


def test_dvc_yaml_is_short() -> None:
    assert sum(len(code_deps(stage)) - 1 for stage in STAGES) <= 85  # without the scripts


def test_an_edit_of_a_corpus_reader_fetches_nothing_again() -> None:
    for stage in ("fetch_corpus", "fetch_pretrained", "fetch_judges"):
        covered = {file for dep in code_deps(stage) for file in code_under(dep)}
        assert "src/annealed_lm/corpora/readers.py" not in covered


def test_an_edit_of_decoding_or_of_another_trainer_does_not_retrain() -> None:
    foreign = {
        "train_autoencoder": ("generation/decoding", "generation/reconstruction", "trainers/denoiser", "trainers/language_model"),
        "train_language_model": ("generation/decoding", "trainers/denoiser", "trainers/autoencoder"),
        "train_diffusion": ("generation/decoding", "generation/solvers", "trainers/language_model", "evaluation/scores"),
    }
    for stage, modules in foreign.items():
        covered = {file for dep in code_deps(stage) for file in code_under(dep)}
        assert not covered & {f"src/annealed_lm/{module}.py" for module in modules}, stage


@pytest.mark.parametrize("stage", [stage for stage in STAGES if stage != READS_THE_SCHEMA])
def test_params_are_what_the_stage_reads(stage: str) -> None:
    read, declared = all_leaves(keys_read(stage)), all_leaves(keys_declared(stage))
    assert read <= declared, "read, but not under params"
    assert declared - read <= leaves(stage) if stage in Config.model_fields else declared == read


def test_the_whole_of_params_is_checked_first() -> None:
    assert STAGES[READS_THE_SCHEMA]["params"] == [{"params.yaml": None}]
    (marker,) = outs(READS_THE_SCHEMA)
    assert all(marker in STAGES[stage]["deps"] for stage in STAGES if stage != READS_THE_SCHEMA)


def test_dvc_changes_no_other_line_of_params_when_it_sets_one(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text((ROOT / "params.yaml").read_text())
    apply_overrides(str(path), ["random_seed=7", "train_diffusion.tan_d=3"])
    before, after = ((folder / "params.yaml").read_text().splitlines() for folder in (ROOT, tmp_path))
    assert len(before) == len(after)
    changed = [new.split()[0] for old, new in zip(before, after, strict=True) if old != new]
    assert changed == ["random_seed:", "tan_d:"]


def test_every_parameter_is_read_by_some_stage() -> None:
    read = {leaf for stage in STAGES for leaf in all_leaves(keys_read(stage))} if STAGES else set()
    assert all_leaves(set(Config.model_fields)) - read == set()


@pytest.mark.parametrize("stage", STAGES)
def test_command_names_the_script_and_the_paths_of_the_entry(stage: str) -> None:
    program, script, *arguments = STAGES[stage]["cmd"].split()
    assert (program, script) == ("python", f"src/{stage}.py")
    flags, paths = arguments[::2], arguments[1::2]
    assert all(flag.startswith("--") for flag in flags)
    inputs = {dep for dep in STAGES[stage]["deps"] if not dep.startswith("src/")}
    inputs -= set(outs(READS_THE_SCHEMA))  # waited for, not read
    # a folder that stands for the files in it which are outs, beside others that are not of this stage
    written = {path for path in outs(stage) if path not in paths} and {path.split("/")[0] for path in outs(stage)}
    assert set(paths) - SIDE_FOLDERS == {"params.yaml"} | inputs | (written or set(outs(stage)))


@pytest.mark.parametrize("stage", STAGES)
def test_inputs_are_outs_of_other_stages_or_the_raw_data(stage: str) -> None:
    produced = {path for other in STAGES if other != stage for path in outs(other)}
    inputs = {dep for dep in STAGES[stage]["deps"] if not dep.startswith("src/")}
    assert inputs <= produced | {"data/raw"}


@pytest.mark.parametrize("stage", STAGES)
def test_outs_are_cached_and_ignored_by_git_except_the_report(stage: str) -> None:
    for path, options in outs(stage).items():
        ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", f"{path}/x"], cwd=ROOT, check=False).returncode == 0
        file_ignored = subprocess.run(["git", "check-ignore", "-q", "--no-index", path], cwd=ROOT, check=False).returncode == 0
        cached = options.get("cache", True)
        assert cached == (stage != "report")
        assert (ignored or file_ignored) == cached
        assert "persist" not in options


def test_metrics_and_plots_are_in_git() -> None:
    files = [*dvc_yaml()["metrics"]]
    for plot in dvc_yaml()["plots"]:
        files += [plot] if isinstance(plot, str) else [path for options in plot.values() for path in options["y"]]
    assert files
    assert set(files) <= set(outs("report"))


def test_a_change_of_the_metrics_does_not_retrain_the_diffusion() -> None:
    for stage in ("train_diffusion", "train_autoencoder", "encode_latents"):
        names = {Path(path).stem for path in code_of(stage)}
        assert not names & {"text_metrics", "ngrams", "mauve_metric", "features", "plots"}, stage


def test_only_training_depends_on_the_T_schedule() -> None:
    varied = {"T_schedule", "power", "optimizer", "random_seed"}
    assert {stage for stage in STAGES if keys_declared(stage) & (varied - {"power"})} == {"train_diffusion"}
    assert keys_declared("train_diffusion") >= varied
    assert {stage for stage in STAGES if "src/annealed_lm/annealing/timesteps.py" in code_of(stage)} == {
        "validate_params",
        "train_diffusion",
        "report",
    }


def test_no_stage_uses_the_instrument() -> None:
    for stage in STAGES:
        assert not [file for file in code_of(stage) if file.startswith("src/annealed_lab")]


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt", "requirements-trackers.txt"])
def test_requirements_are_pinned(name: str) -> None:
    lines = [line.split("  #")[0] for line in (ROOT / name).read_text().splitlines() if not line.startswith(("#", "-r "))]
    assert lines
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line)] == []


def test_what_the_code_imports_is_required() -> None:
    required = {line.split("==")[0].lower() for line in (ROOT / "requirements.txt").read_text().splitlines() if "==" in line}
    imported = {module.split(".")[0] for path in SOURCE.rglob("*.py") for module in import_closure.imported_modules(path)}
    providers = packages_distributions()
    foreign = imported - set(sys.stdlib_module_names) - {"annealed_lm", "annealed_lab"}
    assert {name for name in foreign if not required & {provider.lower() for provider in providers[name]}} == set()
    assert foreign


def test_templates_of_the_plots_are_there_and_draw_the_headline_first() -> None:
    first, *others = [options for plot in dvc_yaml()["plots"] if not isinstance(plot, str) for options in plot.values()]
    templates = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in (ROOT / ".dvc" / "plots").glob("*.json")}
    assert {first["template"], *(each["template"] for each in others)} == set(templates)
    drawn = templates[first["template"]]["transform"][0]["fold"]
    assert tuple(drawn[:3]) == PREFERRED_QUALITY[:3]
    assert set(drawn) == set(DRAWN_METRICS)
    assert templates[first["template"]]["facet"]["sort"] == drawn


def test_page_of_the_plots_loads_nothing_from_the_network() -> None:
    page = (ROOT / ".dvc" / "plots" / "offline.html").read_text(encoding="utf-8")
    assert page.count("{plot_divs}") == 1
    assert "{scripts}" not in page
    assert page.count("<script") == 1
    assert re.search(r"""<(script|link|img)[^>]*(src|href)\s*=\s*["']?(https?:)?//""", page) is None
    assert all(f"window.{name}=" in page for name in ("vega", "vegaLite", "vegaEmbed"))
