"""The models that judge texts: a language model for perplexity, and one for each kind of features of MAUVE."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from annealed_lm.common.errors import InputError
from annealed_lm.common.feature_sets import Features
from annealed_lm.common.files import read_json
from annealed_lm.common.model_description import SOURCE, ModelDescription
from annealed_lm.evaluation.features import FeatureModel
from annealed_lm.evaluation.references import EvaluationSettings
from annealed_lm.generation.language_model import JUDGE, LanguageModel


@dataclass(frozen=True)
class Judges:
    """Attributes: `language_model` judges perplexity; `feature_models` by kind of features, "sentence" or "language_model"."""

    language_model: LanguageModel
    feature_models: Mapping[str, FeatureModel | LanguageModel]

    def descriptions(self) -> dict[str, ModelDescription]:
        """Return what gives every kind of features."""
        return {kind: model.description for kind, model in self.feature_models.items()}

    def features_of_sets(self, sets: Mapping[str, Sequence[str]]) -> dict[str, dict[str, Features]]:
        """Return features [n, d] by set and kind; a text that several sets share is computed once."""
        by_kind = {kind: model.features_of_sets(sets) for kind, model in self.feature_models.items()}
        return {name: {kind: features[name] for kind, features in by_kind.items()} for name in sets}


def load_judges(kinds: Sequence[str], trained: Path, fetched: Path, device: torch.device) -> Judges:
    """Load the judges of a run.

    Args:
        kinds: of features.
        trained: folder of the stage train_language_model.
        fetched: folder of the stage fetch_judges, whose source.json says which it brought; those take the place of the model
            trained here and of the installed sentence model.

    Raises:
        InputError: one of the two folders holds no such thing.
    """
    if not (fetched / SOURCE).exists():
        raise InputError(f"{fetched} holds no judges ({SOURCE} is missing); the stage fetch_judges writes it")
    brought = read_json(fetched / SOURCE)
    language_model = LanguageModel.load(
        trained / JUDGE if brought["language_model"] is None else fetched / "language_model", device
    )
    models: dict[str, FeatureModel | LanguageModel] = {}
    if "language_model" in kinds:
        models["language_model"] = language_model
    if "sentence" in kinds:
        models["sentence"] = FeatureModel.load(device, None if brought["feature_model"] is None else fetched / "feature_model")
    return Judges(language_model, {kind: models[kind] for kind in kinds})


def load_same_judges(settings: EvaluationSettings, trained: Path, fetched: Path, device: torch.device) -> Judges:
    """Load the judges of texts that are to be compared with references that were judged before.

    Raises:
        InputError: the references were judged by other models.
    """
    judges = load_judges(list(settings.mauve), trained, fetched, device)
    before = {kind: (model["name"], model["sha256"]) for kind, model in settings.mauve.items()}
    before["perplexity"] = (settings.perplexity["name"], settings.perplexity["sha256"])
    now = {kind: (model.name, model.sha256) for kind, model in judges.descriptions().items()}
    now["perplexity"] = (judges.language_model.description.name, judges.language_model.description.sha256)
    for use, (name, sha256) in now.items():
        if before[use][1] != sha256:
            raise InputError(
                f"{use}: the references were judged by {before[use][0]} ({before[use][1][:12]}), and {name} ({sha256[:12]}) is "
                "another model; run the stage prepare_references"
            )
    return judges
