from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import file_sha256, write_json
from annealed_lm.evaluation.features import INSTALLED_NAME, WEIGHTS_SHA256, FeatureModel
from annealed_lm.evaluation.judges import Judges, load_judges, load_same_judges
from annealed_lm.evaluation.references import EvaluationSettings
from annealed_lm.generation.language_model import BASELINE, JUDGE, LanguageModel
from support.scored import REFERENCES
from support.tiny import CPU, TEXTS, save_feature_model, save_language_model

KINDS = ["sentence", "language_model"]
TRAINED_WIDTH, FETCHED_WIDTH, SENTENCE_WIDTH = 16, 8, 4
Bring = Callable[..., Path]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What train_language_model leaves."""
    folder = tmp_path_factory.mktemp("language_model")
    save_language_model(folder / JUDGE, TRAINED_WIDTH)
    save_language_model(folder / BASELINE, TRAINED_WIDTH, seed=1)
    return folder


@pytest.fixture(scope="module")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("judges")
    save_language_model(folder / "language_model", FETCHED_WIDTH)
    save_feature_model(folder / "feature_model", SENTENCE_WIDTH)
    return folder


@pytest.fixture
def bring(fetched: Path) -> Bring:
    """The folder of fetched models, whose source.json says that these were brought; the files of both are there in any case."""

    def write_source(**names: str) -> Path:
        brought = {kind: {"name": name, "revision": None} for kind, name in names.items()}
        write_json(fetched / "source.json", dict.fromkeys(("language_model", "feature_model")) | brought)
        return fetched

    return write_source


@pytest.mark.parametrize("language_model", [{}, {"language_model": "org/gpt2"}], ids=["trained judge", "fetched judge"])
@pytest.mark.parametrize("feature_model", [{}, {"feature_model": "org/mpnet"}], ids=["installed", "fetched"])
def test_fetched_models_judge_if_and_only_if_they_were_brought(
    language_model: dict[str, str], feature_model: dict[str, str], trained: Path, bring: Bring
) -> None:
    fetched = bring(**language_model, **feature_model)
    judges = load_judges(KINDS, trained, fetched, CPU)
    digests = {folder: file_sha256(folder / "model.safetensors") for folder in (trained / JUDGE, fetched / "language_model")}
    expected_judge = (
        ("org/gpt2", digests[fetched / "language_model"], FETCHED_WIDTH)
        if language_model
        else (JUDGE, digests[trained / JUDGE], TRAINED_WIDTH)
    )
    sentence = judges.descriptions()["sentence"]
    assert judges.language_model.description == judges.descriptions()["language_model"] == expected_judge
    if feature_model:
        assert (sentence.name, sentence.dimension) == ("org/mpnet", SENTENCE_WIDTH)
        assert sentence.sha256 == file_sha256(next((fetched / "feature_model").rglob("model.safetensors")))
    else:
        assert sentence == (INSTALLED_NAME, WEIGHTS_SHA256, 384)


def test_the_model_of_the_features_is_the_judge_itself(trained: Path, bring: Bring) -> None:
    judges = load_judges(["language_model"], trained, bring(), CPU)
    assert judges.feature_models == {"language_model": judges.language_model}


@pytest.mark.parametrize("kinds", [["sentence"], ["language_model"], KINDS, KINDS[::-1]])
def test_features_are_of_the_kinds_asked_for_in_their_order(kinds: list[str], trained: Path, bring: Bring) -> None:
    judges = load_judges(kinds, trained, bring(feature_model="org/mpnet"), CPU)
    assert list(judges.descriptions()) == kinds
    features = judges.features_of_sets({"some": TEXTS[:3], "others": TEXTS[2:7]})
    widths = {"sentence": SENTENCE_WIDTH, "language_model": TRAINED_WIDTH}
    shapes = {name: {kind: rows.shape for kind, rows in sets.items()} for name, sets in features.items()}
    assert shapes == {name: {kind: (count, widths[kind]) for kind in kinds} for name, count in (("some", 3), ("others", 5))}
    for kind in kinds:
        np.testing.assert_array_equal(features["some"][kind][2], features["others"][kind][0])


def test_features_are_those_of_the_models(trained: Path, bring: Bring) -> None:
    judges = load_judges(KINDS, trained, bring(feature_model="org/mpnet"), CPU)
    features = judges.features_of_sets({"set": TEXTS[:5]})["set"]
    sentence = judges.feature_models["sentence"]
    assert isinstance(sentence, FeatureModel)
    np.testing.assert_allclose(features["sentence"], sentence.features(TEXTS[:5]), atol=1e-5)
    expected = LanguageModel.load(trained / JUDGE, CPU).features(TEXTS[:5], 2)
    np.testing.assert_allclose(features["language_model"], expected, atol=1e-5)


def test_no_sentence_model_is_loaded_that_nobody_asks_for(trained: Path, bring: Bring, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> NoReturn:
        raise AssertionError("a sentence model was loaded")

    monkeypatch.setattr(FeatureModel, "load", fail)
    assert load_judges(["language_model"], trained, bring(feature_model="org/mpnet"), CPU)
    with pytest.raises(AssertionError):
        load_judges(["sentence"], trained, bring(), CPU)


# Judges of references


def settings_of(judges: Judges) -> EvaluationSettings:
    """Those of references that `judges` judged."""
    judge = judges.language_model.description
    return replace(
        REFERENCES.settings,
        mauve={kind: {**model._asdict(), "scaling": 5} for kind, model in judges.descriptions().items()},
        perplexity={"name": judge.name, "sha256": judge.sha256},
    )


@pytest.mark.parametrize("kinds", [["sentence"], ["language_model"], KINDS])
def test_the_judges_of_the_references_judge_again(kinds: list[str], trained: Path, bring: Bring) -> None:
    before = load_judges(kinds, trained, bring(feature_model="org/mpnet"), CPU)
    judges = load_same_judges(settings_of(before), trained, bring(feature_model="org/mpnet"), CPU)
    assert judges.descriptions() == before.descriptions()
    assert list(judges.descriptions()) == kinds
    assert judges.language_model.description == before.language_model.description


def test_a_judge_of_another_name_with_the_same_weights_is_the_same(trained: Path, bring: Bring) -> None:
    before = settings_of(load_judges(KINDS, trained, bring(language_model="org/gpt2", feature_model="org/mpnet"), CPU))
    judges = load_same_judges(before, trained, bring(language_model="my/gpt2", feature_model="my/mpnet"), CPU)
    assert judges.language_model.description.name == "my/gpt2"


@pytest.mark.parametrize(("kinds", "use"), [(["sentence"], "perplexity"), (KINDS, "language_model")])
def test_references_of_another_language_model_are_refused(kinds: list[str], use: str, trained: Path, bring: Bring) -> None:
    before = settings_of(load_judges(kinds, trained, bring(feature_model="org/mpnet"), CPU))
    expected = (
        rf"^{use}: the references were judged by judge \({before.perplexity['sha256'][:12]}\), and org/gpt2 \([0-9a-f]{{12}}\) "
        "is another model; run the stage prepare_references$"
    )
    with pytest.raises(InputError, match=expected):
        load_same_judges(before, trained, bring(language_model="org/gpt2", feature_model="org/mpnet"), CPU)


def test_a_language_model_that_was_trained_anew_is_another(trained: Path, bring: Bring, tmp_path: Path) -> None:
    before = settings_of(load_judges(["language_model"], trained, bring(), CPU))
    save_language_model(tmp_path / JUDGE, TRAINED_WIDTH, seed=2)
    with pytest.raises(
        InputError, match=r"^language_model: the references were judged by judge \(\w+\), and judge \(\w+\) is another"
    ):
        load_same_judges(before, tmp_path, bring(), CPU)


def test_references_of_another_feature_model_are_refused(trained: Path, bring: Bring) -> None:
    before = settings_of(load_judges(KINDS, trained, bring(feature_model="org/mpnet"), CPU))
    expected = (
        rf"^sentence: the references were judged by org/mpnet \([0-9a-f]{{12}}\), and {INSTALLED_NAME} "
        rf"\({WEIGHTS_SHA256[:12]}\) is another model; run the stage prepare_references$"
    )
    with pytest.raises(InputError, match=expected):
        load_same_judges(before, trained, bring(), CPU)


def test_a_folder_that_fetch_judges_has_not_written_is_named(trained: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "missing"):
        with pytest.raises(InputError, match=rf"^{folder} holds no judges \(source\.json is missing\); the stage fetch_judges"):
            load_judges(KINDS, trained, folder, CPU)
