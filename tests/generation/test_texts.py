from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from annealed_lm.autoencoder.latents import LatentSet
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.errors import InputError
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.generation.decoding import STRATEGIES, DecodingSettings
from annealed_lm.generation.texts import Outline, TextSampler, require_known_level, text_rows
from support.tiny import CPU, LATENT_DIM, SAMPLING, make_autoencoder, make_diffusion_model

LENGTHS_BY_LABEL = {"cheap": (2, 3), "expensive": (4,), "moderate": (5, 6)}
"""Vectors of the training texts of each label, so that a length tells the label."""
TEXTS_BY_LABEL = {"cheap": 6, "expensive": 18, "moderate": 36}
LABELS = (*LENGTHS_BY_LABEL, "unheard-of")
"""Of the model; one is of no training text, but perhaps of one for validation."""
TRAIN = 60
DECODING = DecodingSettings(num_beams=2, top_p=0.95, min_length=0, no_repeat_ngram_size=0, repetition_penalty=1.0)
MakeSampler = Callable[..., TextSampler]


def make_latents(folder: Path) -> None:
    """Training latents that are far from mean 0 and standard deviation 1."""
    draw = np.random.default_rng(0)
    labels = draw.permutation([number for number, count in enumerate(TEXTS_BY_LABEL.values()) for _ in range(count)]).tolist()
    lengths = [int(draw.choice(list(LENGTHS_BY_LABEL.values())[label])) for label in labels]
    rows = [3 + 2 * draw.standard_normal((length, LATENT_DIM), dtype=np.float32) for length in lengths]
    train = LatentSet.from_rows(rows, labels)
    train.save(folder, "train")
    LatentStatistics.of(train, per_position=False).save(folder)


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("latents")
    make_latents(folder)
    return folder


@pytest.fixture(scope="module")
def autoencoder() -> Autoencoder:
    return make_autoencoder("per_token", latent_dim=LATENT_DIM)


@pytest.fixture(scope="module")
def make_sampler(latents: Path, autoencoder: Autoencoder) -> MakeSampler:
    def make(labels: tuple[str, ...] = LABELS, normalize_latent: bool = True) -> TextSampler:
        return TextSampler(make_diffusion_model(labels, normalize_latent), latents, autoencoder, CPU)

    return make


def label_of_length(length: int) -> str:
    return next(label for label, lengths in LENGTHS_BY_LABEL.items() if length in lengths)


# Outlines


def test_lengths_and_labels_are_those_of_training_texts_in_their_proportions(make_sampler: MakeSampler) -> None:
    outline = make_sampler().outline(1500, seed=0)
    assert outline.labels == [label_of_length(length) for length in outline.lengths]
    shares = {label: count / 1500 for label, count in Counter(outline.labels).items()}
    assert shares == pytest.approx({label: count / TRAIN for label, count in TEXTS_BY_LABEL.items()}, abs=0.04)


def test_an_unconditional_model_draws_the_same_lengths_and_no_labels(make_sampler: MakeSampler) -> None:
    conditional, unconditional = (make_sampler(labels).outline(50, seed=3) for labels in (LABELS, ()))
    assert unconditional == Outline(conditional.lengths, None)
    assert conditional.labels is not None


def test_the_outline_of_a_text_depends_on_the_seed_and_not_on_the_number_of_texts(make_sampler: MakeSampler) -> None:
    sampler = make_sampler()
    few, many, other = sampler.outline(20, seed=0), sampler.outline(30, seed=0), sampler.outline(20, seed=1)
    assert many.labels is not None
    assert few == Outline(many.lengths[:20], many.labels[:20])
    assert few != other


@pytest.mark.parametrize("label", LENGTHS_BY_LABEL)
def test_the_outline_of_a_label_has_lengths_of_that_label_only(label: str, make_sampler: MakeSampler) -> None:
    outline = make_sampler().outline_of_label(label, 40, seed=0)
    assert outline.labels == [label] * 40
    assert set(outline.lengths) == set(LENGTHS_BY_LABEL[label])


def test_a_label_of_no_training_text_is_refused(make_sampler: MakeSampler) -> None:
    with pytest.raises(
        InputError, match=r"^no training text has the label unheard-of, so the diffusion model has learned nothing"
    ):
        make_sampler().outline_of_label("unheard-of", 40, seed=0)


def test_only_labels_that_the_model_knows_can_be_asked_for(make_sampler: MakeSampler) -> None:
    sampler = make_sampler()
    sampler.require_labels([])
    sampler.require_labels(LABELS)
    with pytest.raises(
        InputError,
        match=r"^the diffusion model does not know the label free: its labels are cheap, expensive, moderate, unheard-of$",
    ):
        sampler.require_labels(["cheap", "free"])


@pytest.mark.parametrize("labels", [[], ["cheap"]])
def test_an_unconditional_model_cannot_be_asked_for_labels(labels: list[str], make_sampler: MakeSampler) -> None:
    with pytest.raises(InputError, match=r"^the diffusion model knows no labels: .*class_conditional: false"):
        make_sampler(()).require_labels(labels)


# Latents


def test_a_text_depends_neither_on_the_number_of_texts_nor_on_the_batch_size(make_sampler: MakeSampler) -> None:
    sampler = make_sampler()
    drawn = []
    for count, batch_size in ((20, 8), (30, 30)):
        outline = sampler.outline(count, seed=0)
        latents = sampler.latents(outline, 0, replace(SAMPLING, batch_size=batch_size))
        texts = {strategy: sampler.texts(latents, strategy, DECODING, 0, batch_size, 0) for strategy in STRATEGIES}
        assert [row.shape for row in latents] == [(length, LATENT_DIM) for length in outline.lengths]
        assert {len(each) for each in texts.values()} == {count}
        drawn.append((latents, texts))
    (few_latents, few_texts), (many_latents, many_texts) = drawn
    for one, other in zip(few_latents, many_latents, strict=False):
        np.testing.assert_allclose(one, other, atol=1e-4, rtol=1e-4)
    assert few_texts == {strategy: texts[:20] for strategy, texts in many_texts.items()}
    assert len(set(few_texts["nucleus"])) > 10


@pytest.mark.parametrize(
    "changes",
    [
        {"sampling_timesteps": 4},
        {"ddim_sampling_eta": 0.0},
        {"guidance_weight": 2.0},
        {"guidance_weight": 0.0},
        {"autoguidance_weight": 2.0},
    ],
)
def test_a_setting_changes_the_latents(changes: dict[str, Any], make_sampler: MakeSampler) -> None:
    sampler = make_sampler()
    outline = sampler.outline(10, seed=0)
    before = sampler.latents(outline, 0, SAMPLING)
    after = sampler.latents(outline, 0, replace(SAMPLING, **changes))
    assert not any(np.allclose(one, other, atol=1e-3) for one, other in zip(before, after, strict=True))


def test_a_lower_precision_changes_no_more_than_the_rounding(make_sampler: MakeSampler) -> None:
    sampler = make_sampler()
    outline = sampler.outline(10, seed=0)
    full, half = (sampler.latents(outline, 0, replace(SAMPLING, mixed_precision=each)) for each in ("no", "bf16"))
    assert {row.dtype for row in half} == {np.dtype(np.float32)}
    for one, other in zip(full, half, strict=True):
        assert 0 < np.abs(one - other).max() < 0.1 * np.abs(one).max()
    with pytest.raises(InputError, match=r"^sample_texts\.mixed_precision = fp16 needs a GPU"):
        sampler.latents(outline, 0, replace(SAMPLING, mixed_precision="fp16"))


def test_the_seed_changes_the_latents(make_sampler: MakeSampler) -> None:
    sampler = make_sampler()
    outline = sampler.outline(10, seed=0)
    for one, other in zip(sampler.latents(outline, 0, SAMPLING), sampler.latents(outline, 1, SAMPLING), strict=True):
        assert not np.allclose(one, other, atol=1e-3)


def test_each_text_is_drawn_for_its_own_label(make_sampler: MakeSampler) -> None:
    sampler = make_sampler()
    labels = [label for label in LABELS for _ in range(2)]
    mixed = sampler.latents(Outline([4] * len(labels), labels), 0, SAMPLING)
    for label in LABELS:
        alone = sampler.latents(Outline([4] * len(labels), [label] * len(labels)), 0, SAMPLING)
        equal = [np.allclose(one, other, atol=1e-4) for one, other in zip(mixed, alone, strict=True)]
        assert equal == [each == label for each in labels]


def test_guidance_of_an_unconditional_model_is_refused(make_sampler: MakeSampler) -> None:
    sampler = make_sampler(())
    outline = sampler.outline(10, seed=0)
    assert len(sampler.latents(outline, 0, SAMPLING)) == 10
    with pytest.raises(InputError, match="guidance_weight = 2"):
        sampler.latents(outline, 0, replace(SAMPLING, guidance_weight=2.0))


def test_only_a_model_of_normalised_latents_is_brought_to_the_scale_of_the_training_set(
    latents: Path, make_sampler: MakeSampler
) -> None:
    normalised, raw = (make_sampler(normalize_latent=normalize_latent) for normalize_latent in (True, False))
    outline = raw.outline(10, seed=0)
    statistics = LatentStatistics.load(latents)
    assert float(statistics.mean.min()) > 2
    for one, other in zip(normalised.latents(outline, 0, SAMPLING), raw.latents(outline, 0, SAMPLING), strict=True):
        np.testing.assert_allclose(one, other * statistics.std.numpy() + statistics.mean.numpy(), atol=1e-4, rtol=1e-4)


# Texts


def test_texts_are_decoded_by_the_strategy_and_its_settings(make_sampler: MakeSampler) -> None:
    sampler = make_sampler()
    given = sampler.latents(sampler.outline(20, seed=0), 0, SAMPLING)
    nucleus = sampler.texts(given, "nucleus", DECODING, 0, 8, 0)
    assert nucleus != sampler.texts(given, "greedy", DECODING, 0, 8, 0)
    assert nucleus != sampler.texts(given, "nucleus", DECODING, 1, 8, 0)
    assert nucleus != sampler.texts(given, "nucleus", replace(DECODING, top_p=0.2), 0, 8, 0)


def test_rows_of_a_file_say_the_label_asked_for_where_there_is_one() -> None:
    plain = [{"text": "a", "latent_agreement": 0.5}, {"text": "", "latent_agreement": 0.1}]
    assert text_rows(["a", ""], None, [0.5, 0.1]) == plain
    assert text_rows(["a", ""], ["x", "y"], [0.5, 0.1]) == [plain[0] | {"label": "x"}, plain[1] | {"label": "y"}]


def test_more_noise_than_the_decoder_knows_is_one_sentence() -> None:
    autoencoder = make_autoencoder(latent_noise=0.5)
    require_known_level(autoencoder, 0.5)
    with pytest.raises(InputError, match=r"decode_at = 0\.6 is more noise than the decoder has learned.* at most 0\.5$"):
        require_known_level(autoencoder, 0.6)
