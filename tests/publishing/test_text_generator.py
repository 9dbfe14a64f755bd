"""The public class, on a trained autoencoder and a simple denoiser."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import annealed_lm
from annealed_lm import TextGenerator
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.errors import InputError
from support.checkouts import LABELS, write_checkout
from support.tiny import LAYOUTS, TEXTS, label_of

STEPS = 4


@pytest.fixture(scope="module")
def generators(
    tmp_path_factory: pytest.TempPathFactory, trained_autoencoders: dict[str, Autoencoder]
) -> dict[str, TextGenerator]:
    """By latent layout; the one of compressed latents knows labels."""
    made = {}
    for layout in LAYOUTS:
        folder = tmp_path_factory.mktemp(layout)
        write_checkout(folder, trained_autoencoders[layout], labelled=layout == "compressed")
        made[layout] = TextGenerator.from_pretrained(folder / "models")
    return made


@pytest.fixture(params=LAYOUTS)
def generator(request: pytest.FixtureRequest, generators: dict[str, TextGenerator]) -> TextGenerator:
    return generators[request.param]


def test_it_is_all_that_the_package_offers() -> None:
    assert "TextGenerator" in dir(annealed_lm)
    with pytest.raises(AttributeError, match="module annealed_lm has no attribute TextGenerators: there is TextGenerator"):
        _ = annealed_lm.TextGenerators


def test_a_text_depends_on_its_seed_and_not_on_how_many_there_are(generator: TextGenerator) -> None:
    texts = generator.sample(6, seed=1, steps=STEPS)
    assert generator.sample(3, seed=1, steps=STEPS) == texts[:3]
    assert generator.sample(6, seed=2, steps=STEPS) != texts
    assert generator.sample(6, seed=1, steps=STEPS, strategy="nucleus") != texts


def test_it_samples_and_decodes_as_its_run_did_unless_told_otherwise(generator: TextGenerator) -> None:
    section = generator._parts.section.model_copy(update={"strategies": ("nucleus", "greedy"), "sampling_timesteps": STEPS})
    of_run = TextGenerator(generator._sampler, replace(generator._parts, section=section))
    assert of_run.sample(6, seed=1) == generator.sample(6, seed=1, steps=STEPS, strategy="nucleus")
    assert of_run.sample(6, seed=1, strategy="greedy", steps=2 * STEPS) == generator.sample(6, seed=1, steps=2 * STEPS)
    varied = generator.variations(TEXTS[0], 6, steps=STEPS, strategy="nucleus")
    assert of_run.variations(TEXTS[0], 6) == varied != of_run.variations(TEXTS[0], 6, strategy="greedy")


def test_a_checkout_may_be_named_by_its_models_as_text_or_path(generator: TextGenerator) -> None:
    root = generator._parts.autoencoder.parents[1]
    for folder in (root, str(root), str(root / "models")):
        assert TextGenerator.from_pretrained(folder).sample(2, steps=STEPS) == generator.sample(2, steps=STEPS)


def test_most_texts_come_back(generator: TextGenerator) -> None:
    found = generator.reconstruct(TEXTS[:50])
    assert np.mean([one == other for one, other in zip(found, TEXTS, strict=False)]) > 0.7


def test_latents_are_one_array_a_text(generators: dict[str, TextGenerator]) -> None:
    assert [row.shape for row in generators["compressed"].latents(TEXTS[:2])] == [(3, 8)] * 2
    rows = generators["per_token"].latents(["the old pub is empty", "a red kettle seems far from here"])
    assert [len(row) for row in rows] == [5 + 2, 7 + 2]


def test_texts_between_two_begin_and_end_at_them(generators: dict[str, TextGenerator]) -> None:
    generator = generators["compressed"]
    found = generator.reconstruct(TEXTS[:40])
    one, other = [text for text, back in zip(TEXTS, found, strict=False) if text == back][:2]
    texts = generator.interpolate(one, other, 7)
    assert (texts[0], texts[-1], len(texts)) == (one, other, 7)


def test_texts_of_unequal_length_have_nothing_between_them_in_a_layout_per_token(generators: dict[str, TextGenerator]) -> None:
    generator = generators["per_token"]
    assert len(generator.interpolate("the old pub is empty", "a red kettle seems good", 3)) == 3
    with pytest.raises(InputError, match="the texts have 7 and 9 tokens, and this model has a latent vector for every token"):
        generator.interpolate("the old pub is empty", "a red kettle seems far from here", 3)


def test_hardly_any_noise_leaves_a_text_and_much_of_it_does_not(
    generator: TextGenerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(generator._sampler.model.denoiser, "forward", lambda x_t, *others: x_t)  # believes what it sees
    text = next(text for text in TEXTS if generator.reconstruct([text]) == [text])
    near, far = (generator.variations(text, 8, noise_level=level, steps=50) for level in (0.05, 0.99))
    (latents,) = generator.latents([text])
    assert generator.variations(text, 4, noise_level=0.99, steps=50) == far[:4]
    assert far.count(text) < near.count(text)
    assert latents.dtype == np.float32


def test_the_wanted_length_is_that_of_every_text(generator: TextGenerator) -> None:
    lengths = Counter(len(text.split()) for text in generator.sample(40, steps=STEPS))
    length = next(length for length, _ in lengths.most_common() if (generator.words == length).any())
    texts = generator.sample(5, length=length, steps=STEPS)
    assert [len(text.split()) for text in texts] == [length] * 5
    assert generator.sample(2, length=length, steps=STEPS) == texts[:2]


def test_labels_are_those_of_the_training_texts(generators: dict[str, TextGenerator]) -> None:
    generator = generators["compressed"]
    assert generator.labels == LABELS
    assert generators["per_token"].labels == ()
    assert generator.sample(3, label="red", steps=STEPS) != generator.sample(3, label="old", steps=STEPS)
    rows = generator._rows_of_length(5, "red")
    assert {(label_of(TEXTS[row]), len(TEXTS[row].split())) for row in rows} == {("red", 5)}


@pytest.mark.parametrize(
    ("method", "arguments", "sentence"),
    [
        ("sample", {"n": 0}, "n = 0: it should be a whole number of at least 1"),
        ("sample", {"n": True}, "n = True: it should be a whole number of at least 1"),
        ("sample", {"n": 2.5}, "n = 2.5: it should be a whole number of at least 1"),
        ("sample", {"n": 1, "steps": 0}, "steps = 0: it should be a whole number from 1 to the model's 50 timesteps"),
        ("sample", {"n": 1, "steps": 51}, "steps = 51: it should be"),
        ("sample", {"n": 1, "strategy": "best"}, "strategy = 'best': it should be one of greedy, beam, nucleus"),
        ("sample", {"n": 1, "label": "blue"}, "does not know the label blue: its labels are old, quiet, red, rusty"),
        ("sample", {"n": 1, "length": 0}, "length = 0: it should be a whole number of at least 1"),
        ("sample", {"n": 1, "length": 40}, "no training text has 40 words: they have from 5 to 7, mostly 5"),
        ("latents", {"texts": "a text"}, "texts should be a list of strings"),
        ("reconstruct", {"texts": ["a", 1]}, "texts should be a list of strings"),
        ("reconstruct", {"texts": ["a", "the " * 11]}, "text 1 has more than the 12 tokens that the model reads"),
        ("interpolate", {"text_a": "a", "text_b": "the", "n": 1}, "n = 1: it should be a whole number of at least 2"),
        ("variations", {"text": "a", "n": 1, "noise_level": 1}, "noise_level = 1: it should be between 0 and 1"),
        ("variations", {"text": "a", "n": 1, "noise_level": 0.1, "steps": 2}, "noise_level = 0.1 is below the noise of all 2"),
    ],
)
def test_bad_arguments_end_in_one_sentence(
    method: str, arguments: dict[str, Any], sentence: str, generators: dict[str, TextGenerator]
) -> None:
    with pytest.raises(InputError) as caught:
        getattr(generators["compressed"], method)(**arguments)
    assert sentence in str(caught.value)


def test_words_that_the_model_does_not_know_are_told(generator: TextGenerator) -> None:
    with pytest.warns(UserWarning, match="2 words of these texts are not in the vocabulary and are lost"):
        generator.latents(["the zebra is far yonder"])


@pytest.mark.parametrize("name", ["", "models", "nothing"])
def test_a_folder_without_a_model_is_told(name: str, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    with pytest.raises(InputError, match="holds no model: it should be a folder that `make export` wrote"):
        TextGenerator.from_pretrained(tmp_path / name)


def test_a_run_that_has_not_ended_is_told(tmp_path: Path, trained_autoencoders: dict[str, Autoencoder]) -> None:
    write_checkout(tmp_path, trained_autoencoders["compressed"])
    (tmp_path / "models" / "diffusion" / "diffusion.json").unlink()
    with pytest.raises(InputError, match="models/diffusion holds no diffusion model"):
        TextGenerator.from_pretrained(tmp_path)
