"""Tell which parameters change nothing in a run, so that runs which differ in nothing else count as the same."""

from collections.abc import Mapping
from typing import Any

from annealed_lm.config.effects import parameters_without_effect
from annealed_lm.training.descriptions import NOT_DECISIVE

WITHOUT_EFFECT_ANYWHERE = {"trackers", *(f"train_diffusion.{name}" for name in NOT_DECISIVE)}
"""They say at most how a training is watched, interrupted or spread."""


def irrelevant_parameters(values: Mapping[str, Any]) -> set[str]:
    """Return the dotted keys of the parameters that change nothing in a run whose params.yaml has these values, nested."""
    return parameters_without_effect(values) | WITHOUT_EFFECT_ANYWHERE
