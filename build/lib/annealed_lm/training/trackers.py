"""The curves of a training, copied to experiment trackers (Weights & Biases, TensorBoard, DVCLive) through accelerate.

The copy is for watching: the tables that the training writes are the record.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from annealed_lm.common.errors import InputError

PROJECT = "annealed_lm"
SCALARS = {
    "training": {"loss": "loss", "T_now": "T_now", "mean_t": "mean_t", "learning_rate": "learning_rate"},
    "validation": {"loss": "validation_loss"},
}
"""Curve -> column -> name in the trackers."""

WANDB_DEFAULTS = {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false", "WANDB_X_DISABLE_MACHINE_INFO": "true"}
"""Where the user has not set these: without the last two, wandb asks the network even when it is offline."""


@contextmanager
def tracking(accelerator: Accelerator, run: str, parameters: Mapping[str, Any]) -> Iterator[None]:
    """Open the accelerator's trackers and close them at the end, also of a training that fails.

    All of them write below the accelerator's project folder: wandb/, annealed_lm/ (TensorBoard) and dvclive/. wandb stays offline
    unless the environment sets WANDB_MODE. DVCLive leaves dvc.yaml alone and keeps no parameters: DVC does.

    Args:
        run: its name in wandb.
        parameters: the configuration that wandb shows of it.

    Raises:
        InputError: a tracker cannot start.
    """
    if not accelerator.log_with:
        yield
        return
    folder = Path(accelerator.project_dir).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    for name, value in (WANDB_DEFAULTS | {"WANDB_CACHE_DIR": str(folder / "wandb" / "cache")}).items():
        os.environ.setdefault(name, value)
    init_kwargs = {
        "wandb": {"name": run, "dir": str(folder), "config": dict(parameters)},
        "tensorboard": {"purge_step": 0},  # hides what an interrupted run left: all of it is handed over again
        "dvclive": {"dir": str(folder / "dvclive"), "dvcyaml": None, "save_dvc_exp": False, "report": None},
    }
    try:
        accelerator.init_trackers(PROJECT, init_kwargs=init_kwargs)
    except Exception as error:  # every package has errors of its own: no login, no network, no permission
        raise InputError(f"trackers could not start ({type(error).__name__}: {error}); mend it or set trackers: []") from error
    try:
        yield
    finally:
        accelerator.end_training()


class CurveTracking:
    """Hands every row of the curves to the accelerator's trackers, once and in the order of the steps.

    Rows that a checkpoint brought back are handed over too, so that what a tracker holds of a resumed run is whole.
    """

    def __init__(self, accelerator: Accelerator) -> None:
        self.accelerator = accelerator
        self.handed_over = dict.fromkeys(SCALARS, 0)

    def hand_over(self, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Hand over the rows of `curves` that are new since the last call."""
        by_step: dict[int, dict[str, Any]] = {}
        for curve, names in SCALARS.items():
            for row in curves[curve][self.handed_over[curve] :]:
                by_step.setdefault(row["step"], {}).update({name: row[column] for column, name in names.items()})
            self.handed_over[curve] = len(curves[curve])
        for step in sorted(by_step):
            self.accelerator.log(by_step[step], step=step)
