"""The models that judge texts: a language model for perplexity, and one for each kind of features of MAUVE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from annealed_lm.feature_sets import Features
from annealed_lm.files import read_json
from annealed_lm.language_model import JUDGE, LanguageModel
from annealed_lm.model_description import ModelDescription
from annealed_lm.text_features import FeatureModel


@dataclass(frozen=True)
class Judges:
    """Attributes: `language_model` judges perplexity; `feature_models` by kind of features, "sentence" or "language_model"."""

    language_model: LanguageModel
    feature_models: Mapping[str, FeatureModel | LanguageModel]

    def descriptions(self) -> dict[str, ModelDescription]:
        """What gives each kind of features."""
        return {kind: model.description for kind, model in self.feature_models.items()}

    def features_of_sets(self, sets: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Features]]:
        """Features [n, d] by set and kind; a text that several sets share is computed once."""
        by_kind = {kind: model.features_of_sets(sets) for kind, model in self.feature_models.items()}
        return {name: {kind: features[name] for kind, features in by_kind.items()} for name in sets}


def load_judges(kinds: Sequence[str], trained: Path, pretrained: Path, device: torch.device) -> Judges:
    """Load the judges of a run.

    Args:
        kinds: of features.
        trained: folder of the stage train_language_model.
        pretrained: folder of the stage fetch_pretrained, whose source.json says which judges it brought; those take the place of
            the model trained here and of the installed sentence model.
    """
    brought = read_json(pretrained / "source.json")
    language_model = LanguageModel.load(
        trained / JUDGE if brought["language_model"] is None else pretrained / "language_model", device
    )
    models: dict[str, FeatureModel | LanguageModel] = {}
    if "language_model" in kinds:
        models["language_model"] = language_model
    if "sentence" in kinds:
        models["sentence"] = FeatureModel.load(device, None if brought["feature_model"] is None else pretrained / "feature_model")
    return Judges(language_model, {kind: models[kind] for kind in kinds})
