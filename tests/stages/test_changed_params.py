"""params.yaml that changes under a stage: it ends in a sentence, DVC notes nothing wrong down, and no training is lost."""

import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

import prepare_data
import train_diffusion
from annealed_lm.common.errors import InputError
from annealed_lm.training.checkpoints import CheckpointStore
from support.diffusion_runs import arguments, outputs
from support.projects import STAGES
from support.tiny import ROOT, write_latents, write_params

AGAIN = (
    "by an edit or another dvc exp run in this checkout, and DVC would .* run again; checkpoints and finished stages are kept$"
)


def run_prepare_data(folder: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: Callable[[], object]) -> None:
    """The stage, during which something happens."""
    prepare = prepare_data.prepare_corpus

    def interrupted(*given: Any) -> Any:
        meanwhile()
        return prepare(*given)

    (folder / "corpus").mkdir()
    write_params(folder / "params.yaml", {})
    monkeypatch.setattr(prepare_data, "prepare_corpus", interrupted)
    paths = {"params": folder / "params.yaml", "corpus": folder / "corpus", "out": folder / "out"}
    monkeypatch.setattr(sys, "argv", ["prepare_data.py", *(f"--{name}={path}" for name, path in paths.items())])
    prepare_data.main()


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "its own": ({"prepare_data": {"seed": 7}}, r"prepare_data\.seed from 0 to 7"),
    "another stage's": ({"T_schedule": "linear"}, "T_schedule from 'normal' to 'linear'"),
    "several": (
        {"power": 3, "sample_texts": {"num_samples": 20, "top_p": 0.5, "num_beams": 2}},
        r"power from 2\.0 to 3\.0, sample_texts\.num_samples from 40 to 20, sample_texts\.\w+ from \S+ to \S+ and 1 more",
    ),
    "wrong": ({"T_schedule": "linaer"}, r"params\.yaml: T_schedule = linaer is not one of normal, .*"),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_under_a_stage_ends_it_in_one_sentence(change: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changes, told = CHANGES[change]
    with pytest.raises(InputError, match=rf"^params\.yaml has changed since this stage began \({told}\), {AGAIN}") as stopped:
        run_prepare_data(tmp_path, monkeypatch, lambda: write_params(tmp_path / "params.yaml", changes))
    assert "\n" not in str(stopped.value)


@pytest.mark.parametrize("become", [None, "", "a: [", "\0"])
def test_a_file_that_is_gone_or_broken_has_changed(become: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile() -> None:
        (tmp_path / "params.yaml").unlink()
        if become is not None:
            (tmp_path / "params.yaml").write_text(become)

    with pytest.raises(InputError, match=r"^params\.yaml has changed since this stage began \(.*params\.yaml .*\), ") as stopped:
        run_prepare_data(tmp_path, monkeypatch, meanwhile)
    assert "\n" not in str(stopped.value)


def test_a_comment_or_the_same_again_changes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def meanwhile() -> None:
        params = tmp_path / "params.yaml"
        params.write_text("# for the next run\n" + params.read_text())

    run_prepare_data(tmp_path, monkeypatch, meanwhile)
    assert (tmp_path / "out" / "statistics.json").exists()


def test_a_training_goes_on_when_the_old_values_are_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DVC_ROOT", raising=False)
    latents = write_latents(tmp_path / "latents")
    save = train_diffusion.save_curves

    def run(name: str, edit: bool = False) -> None:
        given = arguments(tmp_path / name, latents, {})
        AcceleratorState._reset_state(reset_partial_state=True)
        monkeypatch.setattr(sys, "argv", ["train_diffusion.py", *given])

        def edited(*values: Any) -> Any:
            if edit:
                write_params(tmp_path / name / "params.yaml", {"T_schedule": "reverse"})
            return save(*values)

        monkeypatch.setattr(train_diffusion, "save_curves", edited)
        train_diffusion.main()

    run("undisturbed")
    with pytest.raises(InputError, match=r"T_schedule from 'polynomial' to 'reverse'"):
        run("run", edit=True)
    (kept,) = (tmp_path / "run" / "resume").iterdir()
    assert CheckpointStore(kept).steps_done() == 4
    run("run")
    assert outputs(tmp_path / "run") == outputs(tmp_path / "undisturbed")
    assert list((tmp_path / "run" / "resume").iterdir()) == []


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_looks_again_before_it_forgets_or_tells_anything(stage: str) -> None:
    tree = ast.parse((ROOT / "src" / f"{stage}.py").read_text())
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    lines: dict[str, list[int]] = {}
    for call in calls:
        lines.setdefault(ast.unparse(call.func), []).append(call.lineno)
    (look,) = lines["require_unchanged"]
    assert look > max(lines.get("atomic_path", [0]))
    assert all(line > look for name, found in lines.items() if name.endswith("store.remove") for line in found)
    assert "print" not in lines  # which may fail
