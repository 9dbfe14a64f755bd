"""Tell which parameters change nothing in a run, so that runs which differ in nothing else count as the same."""

from collections.abc import Mapping
from typing import Any

from annealed_lm.annealing.timesteps import DISTRIBUTIONS
from annealed_lm.config.yaml_files import value_at
from annealed_lm.training.descriptions import NOT_DECISIVE

USED_ONLY_WITH: dict[str, dict[str | bool, tuple[str, ...]]] = {
    "train_diffusion.lr_schedule": {"warmup_stable_decay": ("train_diffusion.lr_decay_fraction",)},
    "train_diffusion.class_conditional": {True: ("train_diffusion.class_unconditional_prob",)},
    "train_diffusion.noise_schedule": {"tan": ("train_diffusion.tan_d",)},
    "train_diffusion.loss_weight": {
        "min_snr": ("train_diffusion.min_snr_gamma",),
        "p2": ("train_diffusion.p2_k", "train_diffusion.p2_gamma"),
    },
}
"""Parameter -> value -> the parameters that only this value uses."""
WITHOUT_EFFECT_ANYWHERE = {"trackers", *(f"train_diffusion.{name}" for name in NOT_DECISIVE)}
"""They say at most how a training is watched, interrupted or spread."""


def parameters_of_T_schedule(T_schedule: str, base_schedule: str) -> set[str]:
    """Return the dotted keys of the parameters that a T schedule reads, those of its base schedule among them."""
    parameters = set(DISTRIBUTIONS[T_schedule].parameters)
    if "train_diffusion.base_schedule" in parameters:
        parameters |= set(DISTRIBUTIONS[base_schedule].parameters)
    return parameters


def parameters_without_effect(values: Mapping[str, Any]) -> set[str]:
    """Return the dotted keys of the parameters that change nothing in a run.

    Args:
        values: its params.yaml, nested.
    """
    read = parameters_of_T_schedule(values["T_schedule"], values["train_diffusion"]["base_schedule"])
    without_effect = {key for kind in DISTRIBUTIONS.values() for key in kind.parameters} - read
    if values["T_schedule"] == "normal":  # uniform t needs no weights: all three choices are 1
        without_effect.add("train_diffusion.sampling_weights")
    for key, choices in USED_ONLY_WITH.items():
        chosen = value_at(values, key)
        without_effect |= {name for choice, names in choices.items() if choice != chosen for name in names}
    return without_effect | WITHOUT_EFFECT_ANYWHERE
