"""Which parameters of a run have no effect, so that runs which differ in nothing else count as the same variant."""

from collections.abc import Mapping
from typing import Any

from annealed_lm.annealing.timesteps import DISTRIBUTIONS
from annealed_lm.config.yaml_files import value_at
from annealed_lm.training.descriptions import NOT_DECISIVE

CHOICES: dict[str, dict[str | bool, tuple[str, ...]]] = {
    "train_diffusion.lr_schedule": {"warmup_stable_decay": ("train_diffusion.lr_decay_fraction",)},
    "train_diffusion.class_conditional": {True: ("train_diffusion.class_unconditional_prob",)},
    "train_diffusion.noise_schedule": {"tan": ("train_diffusion.tan_d",)},
    "train_diffusion.loss_weight": {
        "min_snr": ("train_diffusion.min_snr_gamma",),
        "p2": ("train_diffusion.p2_k", "train_diffusion.p2_gamma"),
    },
}
"""Key -> value -> the parameters that only this value uses."""
NEVER = {"trackers", *(f"train_diffusion.{name}" for name in NOT_DECISIVE)}
"""What changes at most how a training is watched, interrupted or spread."""


def schedule_parameters(T_schedule: str, base_schedule: str) -> set[str]:
    """The dotted keys of the parameters that a T schedule reads."""
    kind = DISTRIBUTIONS[T_schedule]
    parameters = set(kind.parameters)
    if "train_diffusion.base_schedule" in parameters:
        parameters |= set(DISTRIBUTIONS[base_schedule].parameters)
    return parameters


def unused_parameters(values: Mapping[str, Any]) -> set[str]:
    """The dotted keys of the parameters in `values` (nested, as in params.yaml) that change nothing in this run."""
    read = schedule_parameters(values["T_schedule"], values["train_diffusion"]["base_schedule"])
    unused = {key for known in DISTRIBUTIONS.values() for key in known.parameters} - read
    if values["T_schedule"] == "normal":  # uniform t needs no weights: all three choices are 1
        unused.add("train_diffusion.sampling_weights")
    for key, choices in CHOICES.items():
        chosen = value_at(values, key)
        unused |= {parameter for choice, parameters in choices.items() if choice != chosen for parameter in parameters}
    return unused | NEVER
