"""Latent diffusion language models. `TextGenerator` is the door: it opens a trained one, from this package alone.

Nothing is imported before it is asked for: torch and transformers take seconds, and no stage of the pipeline goes through here.
"""

from importlib import import_module
from typing import Any

HOMES = {"TextGenerator": "annealed_lm.publishing.text_generator"}
"""The module of every public name."""


def __getattr__(name: str) -> Any:
    """Return a public name, imported when it is first asked for.

    Raises:
        AttributeError: there is none of that name.
    """
    if name not in HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}: there is {', '.join(HOMES)}")
    return getattr(import_module(HOMES[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *HOMES]
