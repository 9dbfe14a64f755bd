"""train_diffusion, killed at any moment, gives the same bytes as a run that nothing disturbed."""

import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from annealed_lm.training.checkpoints import CheckpointStore
from support.diffusion_runs import arguments, outputs
from support.forked_runs import ForkedRuns, forked_runs
from support.tiny import write_latents

CHANGES = {"num_train_steps": 24, "checkpoint_every": 3, "evaluate_every": 5, "log_every": 2, "validate_every": 6, "dropout": 0.1}
CHECKPOINT_MOMENTS = ("before_the_bytes", "among_the_bytes", "before_the_rename", "after_the_rename")
OUTPUT_RENAMES = 9
"""Of the model's two, the snapshots' one and the curves' six."""

draw = random.Random(0)
Kills = list[tuple[str, int]]
"""One after the other, on one training: the moment, and the how manieth of its kind; or "any", and per cent of a whole run."""

QUICK: list[Kills] = [
    [("among_the_bytes", draw.randint(1, 7))],
    [(moment, draw.randint(1, 2)) for moment in CHECKPOINT_MOMENTS],
    [("at_an_output", draw.randint(1, OUTPUT_RENAMES))],
    [("any", draw.randint(30, 60))],
]
THOROUGH: list[Kills] = [
    *([(moment, draw.randint(1, 7))] for moment in CHECKPOINT_MOMENTS if moment != "among_the_bytes"),
    *([("at_an_output", draw.randint(1, OUTPUT_RENAMES))] for _ in range(2)),
    [("among_the_bytes", 2), ("at_an_output", 1), ("at_an_output", OUTPUT_RENAMES)],
    *([("any", draw.randint(5, 90))] for _ in range(3)),
    [("any", draw.randint(30, 60)), ("any", draw.randint(20, 40))],
]


class Stage:
    """The stage on one set of latents, run in processes of its own."""

    def __init__(self, runs: ForkedRuns, folder: Path) -> None:
        self.runs = runs
        self.latents = write_latents(folder / "latents")
        self.folder = folder
        started = time.monotonic()
        assert self.run(folder / "whole") == 0
        self.seconds = time.monotonic() - started
        self.expected = outputs(folder / "whole")

    def run(self, folder: Path, resume: Path | None = None, seed: int = 42, **ending: object) -> int:
        """Exit status; `ending` as of `ForkedRuns.run`."""
        passed = arguments(folder, self.latents, CHANGES | {"random_seed": seed})
        if resume is not None:
            passed[passed.index("--resume") + 1] = str(resume)
        return self.runs.run(passed, folder / "log", **ending)

    def kill(self, folder: Path, moment: str, count: int) -> None:
        """Kill a run at the moment; where it had ended by then, a run in its place a little earlier."""
        if moment != "any":
            assert self.run(folder, moment=moment, count=count) == -signal.SIGKILL
            return
        seconds = self.seconds * count / 100
        while (status := self.run(folder, send=signal.SIGKILL, after=seconds)) == 0:
            assert outputs(folder) == self.expected
            seconds *= 0.7
        assert status == -signal.SIGKILL


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with forked_runs() as runs:
        yield Stage(runs, tmp_path_factory.mktemp("kills"))


def test_twenty_kills_are_tried_of_which_many_within_a_checkpoint() -> None:
    moments = [moment for kills in [*QUICK, *THOROUGH] for moment, _ in kills]
    assert len(moments) == 20
    assert sum(moment in CHECKPOINT_MOMENTS for moment in moments) >= 6


def spelt(kills: Kills) -> str:
    return ",".join(f"{moment}-{count}" for moment, count in kills)


@pytest.mark.parametrize("kills", [*QUICK, *(pytest.param(kills, marks=pytest.mark.slow) for kills in THOROUGH)], ids=spelt)
def test_killed_and_run_again_equals_undisturbed(kills: Kills, stage: Stage, tmp_path: Path) -> None:
    for moment, count in kills:
        stage.kill(tmp_path, moment, count)
    assert stage.run(tmp_path) == 0
    assert outputs(tmp_path) == stage.expected
    assert list((tmp_path / "resume").iterdir()) == []


@pytest.mark.parametrize("moment", CHECKPOINT_MOMENTS)
def test_a_kill_within_a_checkpoint_costs_no_more_than_that_checkpoint(moment: str, stage: Stage, tmp_path: Path) -> None:
    stage.kill(tmp_path, moment, 3)
    (folder,) = (tmp_path / "resume").iterdir()
    assert CheckpointStore(folder).steps_done() == (9 if moment == "after_the_rename" else 6)
    assert len([*folder.glob(".checkpoint.pt.*.partial")]) == (moment != "after_the_rename")
    with CheckpointStore(folder).held():
        assert [*folder.rglob("*.partial")] == []


@pytest.mark.parametrize("send", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("share", [0.7, pytest.param(0.4, marks=pytest.mark.slow)])
def test_stopped_at_any_moment_and_run_again_equals_undisturbed(
    send: signal.Signals, share: float, stage: Stage, tmp_path: Path
) -> None:
    # Within the steps the training saves and says so; before and after them a signal means what it means anywhere.
    assert stage.run(tmp_path, send=send, after=share * stage.seconds) in {0, 1, -signal.SIGTERM}
    assert stage.run(tmp_path) == 0
    assert outputs(tmp_path) == stage.expected


def test_experiments_that_share_a_folder_never_take_each_others_state(stage: Stage, tmp_path: Path) -> None:
    assert stage.run(tmp_path / "undisturbed", seed=7) == 0
    one, other, resume = tmp_path / "one", tmp_path / "other", tmp_path / "resume"
    assert stage.run(one, resume, moment="after_the_rename", count=4) == -signal.SIGKILL
    assert stage.run(other, resume, seed=7, moment="among_the_bytes", count=6) == -signal.SIGKILL
    assert sorted(CheckpointStore(folder).steps_done() or 0 for folder in resume.iterdir()) == [12, 15]
    assert stage.run(other, resume, seed=7) == 0
    assert outputs(other) == outputs(tmp_path / "undisturbed")
    assert len([*resume.iterdir()]) == 1
    assert stage.run(one, resume) == 0
    assert outputs(one) == stage.expected != outputs(other)
    assert [*resume.iterdir()] == []
