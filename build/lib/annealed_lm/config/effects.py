"""Tell which parameters change nothing in a run, for another one beside them decides that they are not read.

So runs that differ in nothing else count as the same, and an interrupted training goes on whatever becomes of them.
"""

from collections.abc import Mapping
from typing import Any

from annealed_lm.annealing.timesteps import DISTRIBUTIONS
from annealed_lm.config.yaml_files import value_at

USED_ONLY_WITH: dict[str, dict[str | bool, tuple[str, ...]]] = {
    "train_diffusion.lr_schedule": {"warmup_stable_decay": ("train_diffusion.lr_decay_fraction",)},
    "train_diffusion.class_conditional": {True: ("train_diffusion.class_unconditional_prob",)},
    "train_diffusion.noise_schedule": {"tan": ("train_diffusion.tan_d",)},
    "train_diffusion.loss_weight": {
        "min_snr": ("train_diffusion.min_snr_gamma",),
        "p2": ("train_diffusion.p2_k", "train_diffusion.p2_gamma"),
    },
    "train_autoencoder.initialisation": {
        "scratch": tuple(f"train_autoencoder.{name}" for name in ("tokenizer", "vocab_size", "d_model", "layers", "heads")),
        "pretrained": ("train_autoencoder.adapter_layers", "train_autoencoder.train_decoder"),
    },
    "train_autoencoder.latent_layout": {
        "compressed": ("train_autoencoder.num_latents", "train_autoencoder.resampler_layers"),
    },
    "sample_texts.solver": {"ddim": ("sample_texts.ddim_sampling_eta",)},
}
"""Parameter -> value -> the parameters that only this value uses."""


def parameters_of_T_schedule(T_schedule: str, base_schedule: str) -> set[str]:
    """Return the dotted keys of the parameters that a T schedule reads, those of its base schedule among them."""
    parameters = set(DISTRIBUTIONS[T_schedule].parameters)
    if "train_diffusion.base_schedule" in parameters:
        parameters |= set(DISTRIBUTIONS[base_schedule].parameters)
    return parameters


def unread_for_T_schedule(values: Mapping[str, Any]) -> set[str]:
    """Return the dotted keys of the parameters that the T schedule of a run does not read."""
    read = parameters_of_T_schedule(values["T_schedule"], values["train_diffusion"]["base_schedule"])
    if values["train_diffusion"]["range_start"]:
        read.add("train_diffusion.range_in")  # which says where the range starts, whatever is drawn of it
    unread = {key for kind in DISTRIBUTIONS.values() for key in kind.parameters} - read
    # uniform t needs no weights: all three choices are 1
    return unread | {"train_diffusion.sampling_weights"} if values["T_schedule"] == "normal" else unread


def parameters_without_effect(values: Mapping[str, Any]) -> set[str]:
    """Return the dotted keys of the parameters that change nothing in a run.

    Args:
        values: its params.yaml, nested; or sections of it, and what stands beside these that they are read with.
    """
    without_effect = unread_for_T_schedule(values) if "train_diffusion" in values else set()
    for key, choices in USED_ONLY_WITH.items():
        if key.partition(".")[0] in values:
            chosen = value_at(values, key)
            without_effect |= {name for choice, names in choices.items() if choice != chosen for name in names}
    return without_effect


def decisive(section: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return those parameters of a training that change something in it.

    Args:
        section: of params.yaml.
        parameters: by name, all of the section and, if it is that of the diffusion, those beside it that it is read with.
    """
    unread = parameters_without_effect({**parameters, section: parameters})
    return {name: value for name, value in parameters.items() if not unread & {name, f"{section}.{name}"}}
