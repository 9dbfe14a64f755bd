"""What a training may be taken up with again, and what it says where it starts anew: the stage train_diffusion as it is."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

import train_diffusion
from annealed_lm.common.errors import InputError
from support.diffusion_runs import arguments, outputs, stop_after_the_first_row
from support.tiny import ROOT, write_latents

STOPPED = {"learning_rate": 0.02, "dropout": 0.1}


class Stage:
    """The stage of this process, taking the key of its code from a copy, which may be edited."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.monkeypatch = folder, monkeypatch
        self.latents = write_latents(folder / "latents")
        self.source = Path(shutil.copytree(ROOT / "src", folder / "src", ignore=shutil.ignore_patterns("__pycache__")))
        monkeypatch.delenv("DVC_ROOT", raising=False)
        monkeypatch.setattr(train_diffusion, "__file__", str(self.source / "train_diffusion.py"))

    def edit(self, name: str) -> None:
        with (self.source / name).open("a") as file:
            file.write("# a comment\n")

    def run(self, **changes: Any) -> Path:
        folder = self.folder / "run"
        AcceleratorState._reset_state(reset_partial_state=True)
        self.monkeypatch.setattr(sys, "argv", ["train_diffusion.py", *arguments(folder, self.latents, STOPPED | changes)])
        train_diffusion.main()
        return folder

    def stop_after_two_steps(self) -> None:
        with self.monkeypatch.context() as patch:
            stop_after_the_first_row(patch)
            with pytest.raises(InputError, match="stopped by a signal after step 2"):
                self.run()

    def left(self) -> int:
        """How many trainings are interrupted."""
        return len([*(self.folder / "run" / "resume").iterdir()])


@pytest.fixture
def stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    yield Stage(tmp_path, monkeypatch)
    AcceleratorState._reset_state(reset_partial_state=True)


Edit = Callable[[Stage], dict[str, Any]]
"""Changes something; returns what is changed in params.yaml."""


def touch(*names: str) -> Edit:
    def edit(stage: Stage) -> dict[str, Any]:
        for name in names:
            stage.edit(name)
        return {}

    return edit


UNRELATED = (
    "annealed_lab/comparison/tables.py",
    "annealed_lm/evaluation/scores.py",
    "annealed_lm/reporting/tables.py",
    "annealed_lm/trainers/autoencoder.py",
    "annealed_lm/config/sections.py",
    "annealed_lm/config/config.py",
    "annealed_lm/config/effects.py",
    "sample_texts.py",
)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(touch(*UNRELATED), id="other code and the schema"),
        pytest.param(lambda _: {"checkpoint_every": "5min"}, id="checkpoint interval"),
        pytest.param(lambda _: {"gradient_accumulation_steps": 2}, id="parts of a batch"),
        pytest.param(lambda _: {"laplace_mean": 3, "tan_d": 5, "p2_k": 2}, id="parameters that are not read"),
    ],
)
def test_what_decides_nothing_may_change_before_a_training_goes_on(
    change: Edit, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.stop_after_two_steps()
    stage.run(**change(stage))
    assert stage.left() == 0  # the checkpoint was taken up
    assert "starts at step 0" not in capsys.readouterr().out


def test_after_a_change_of_what_is_not_read_it_ends_with_the_bytes_of_an_undisturbed_one(stage: Stage) -> None:
    changes = {"laplace_mean": 3, "logit_normal_std": 2, "min_snr_gamma": 1, "base_schedule": "cosine"}
    undisturbed = outputs(stage.run())
    stage.stop_after_two_steps()
    assert outputs(stage.run(**changes)) == undisturbed


def test_after_an_unrelated_edit_it_ends_with_the_bytes_of_an_undisturbed_one(stage: Stage) -> None:
    undisturbed = outputs(stage.run())
    stage.stop_after_two_steps()
    touch(*UNRELATED)(stage)
    assert outputs(stage.run()) == undisturbed


def other_latents(stage: Stage) -> dict[str, Any]:
    with (stage.latents / "latents.json").open("a") as file:
        file.write("\n")
    return {}


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        (touch("annealed_lm/diffusion/denoiser.py"), "code annealed_lm/diffusion/denoiser.py"),
        (lambda _: {"learning_rate": 0.03}, "learning_rate (0.02, here 0.03)"),
        (lambda _: {"log_every": 1}, "log_every (2, here 1)"),
        (lambda _: {"power": 3}, "power (2.0, here 3.0)"),
        (other_latents, "input latents"),
    ],
    ids=["denoiser", "learning rate", "rows", "power", "latents"],
)
def test_what_decides_the_result_starts_anew_and_says_so(
    change: Edit, finding: str, stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.stop_after_two_steps()
    (stopped,) = (stage.folder / "run" / "resume").iterdir()
    stage.run(**change(stage))
    what = f"{stopped} (denoiser: polynomial, adamw, seed 42; 2 of 8 steps)"
    assert f"train_diffusion starts at step 0: {what} differs in {finding}\n" in capsys.readouterr().out
    assert stopped.exists()
    assert stage.left() == 1
