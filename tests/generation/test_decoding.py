import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import GenerationConfig

from annealed_lm.autoencoder.encoding import encode_ids
from annealed_lm.autoencoder.latents import Floats
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.common.errors import InputError
from annealed_lm.config.types import DecodingStrategy
from annealed_lm.generation.decoding import STRATEGIES, DecodingSettings, decode_latents, generation_config
from support.tiny import LAYOUTS, MAX_TOKENS, TEXTS, latent_settings, load_bart, make_autoencoder, save_bart

PLAIN = DecodingSettings(num_beams=4, top_p=0.95, min_length=0, no_repeat_ngram_size=0, repetition_penalty=1.0)
COUNT = 12


@pytest.fixture
def autoencoder(trained_autoencoders: dict[str, Autoencoder]) -> Autoencoder:
    return trained_autoencoders["compressed"]


@pytest.fixture(scope="module")
def babbler() -> Autoencoder:
    """Untrained: it repeats itself and ends late."""
    return make_autoencoder(width=32)


def make_noise(count: int = COUNT, seed: int = 0) -> list[Floats]:
    """Latents that belong to no text, on which decoding has something to decide."""
    random = np.random.default_rng(seed)
    return [random.standard_normal((3, 8)).astype(np.float32) for _ in range(count)]


def decode(
    autoencoder: Autoencoder, latents: list[Floats], strategy: str = "greedy", seed: int = 0, batch_size: int = 5, **changes: Any
) -> list[str]:
    return decode_latents(autoencoder, latents, strategy, dataclasses.replace(PLAIN, **changes), seed, batch_size)


def test_strategies_are_those_of_the_schema() -> None:
    assert set(STRATEGIES) == set(DecodingStrategy.__args__)


@pytest.mark.parametrize("latent_layout", LAYOUTS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_each_text_comes_back_in_its_place(
    strategy: str, latent_layout: str, trained_autoencoders: dict[str, Autoencoder]
) -> None:
    autoencoder = trained_autoencoders[latent_layout]
    texts = TEXTS[:30]
    latents = encode_ids(autoencoder, tokenize(autoencoder.tokenizer, texts, MAX_TOKENS), 16)
    decoded = decode(autoencoder, latents, strategy, top_p=0.5)
    assert len(decoded) == 30
    assert sum(a == b for a, b in zip(decoded, texts, strict=True)) >= 24


def test_empty_texts_stay_in_their_places(autoencoder: Autoencoder) -> None:
    latents = make_noise()
    inclined = copy.deepcopy(autoencoder)
    decoder_ids = torch.tensor([[autoencoder.bart.config.decoder_start_token_id]] * COUNT)
    mask = torch.ones(COUNT, 3, dtype=torch.bool)
    with torch.inference_mode():
        vectors = torch.nn.functional.layer_norm(torch.from_numpy(np.stack(latents)), (8,))
        scores = autoencoder.logits(vectors, mask, decoder_ids)[:, 0]
        margins = scores.max(-1).values - scores[:, autoencoder.tokenizer.eos_token_id]
        inclined.bart.final_logits_bias[:, autoencoder.tokenizer.eos_token_id] += margins.median() + 1e-3
    empty = [text == "" for text in decode(inclined, latents)]
    assert empty == (margins <= margins.median()).tolist()
    assert any(empty)
    assert not all(empty)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_text_does_not_depend_on_the_batch_or_on_the_number_of_texts(strategy: str, autoencoder: Autoencoder) -> None:
    texts = decode(autoencoder, make_noise(), strategy)
    assert len(set(texts)) > 6
    for batch_size in (1, 100):
        assert decode(autoencoder, make_noise(), strategy, batch_size=batch_size) == texts
    assert decode(autoencoder, make_noise()[:7], strategy) == texts[:7]


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_latents_of_unequal_length_do_not_disturb_each_other(
    latent_layout: str, trained_autoencoders: dict[str, Autoencoder]
) -> None:
    autoencoder = trained_autoencoders[latent_layout]
    lengths = [3] * 6 if latent_layout == "compressed" else [5, 9, 3, 8, 5, 6]
    random = np.random.default_rng(0)
    latents = [random.standard_normal((length, 8)).astype(np.float32) for length in lengths]
    together = decode(autoencoder, latents, batch_size=6)
    assert together == [decode(autoencoder, [each])[0] for each in latents]
    assert len(set(together)) > 3


def test_only_nucleus_draws_random_numbers(autoencoder: Autoencoder) -> None:
    for strategy in STRATEGIES:
        same = decode(autoencoder, make_noise(), strategy, seed=1) == decode(autoencoder, make_noise(), strategy, seed=2)
        assert same == (strategy != "nucleus")


def test_equal_latents_get_texts_of_their_own(autoencoder: Autoencoder) -> None:
    texts = decode(autoencoder, make_noise(1) * 20, "nucleus", top_p=1.0)
    assert len(set(texts)) > 5


def test_one_beam_is_greedy_and_a_small_nucleus_is_too(babbler: Autoencoder) -> None:
    greedy = decode(babbler, make_noise())
    assert decode(babbler, make_noise(), "beam", num_beams=1) == greedy
    assert decode(babbler, make_noise(), "nucleus", top_p=1e-6) == greedy
    assert decode(babbler, make_noise(), "greedy", num_beams=4, top_p=0.1) == greedy
    assert decode(babbler, make_noise(), "beam", num_beams=4) != greedy
    assert decode(babbler, make_noise(), "nucleus", top_p=0.95) != greedy


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    "changes",
    [{"no_repeat_ngram_size": 1}, {"no_repeat_ngram_size": 3}, {"repetition_penalty": 3.0}, {"repetition_penalty": 0.5}],
)
def test_the_settings_of_every_strategy_have_an_effect(changes: dict[str, Any], strategy: str, babbler: Autoencoder) -> None:
    plain, changed = decode(babbler, make_noise(50), strategy), decode(babbler, make_noise(50), strategy, **changes)
    assert plain != changed


def longest_run(text: str) -> int:
    """How often the most frequent word stands in a text."""
    return max(map(text.split().count, text.split()))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_an_n_gram_does_not_come_twice_when_that_is_forbidden(strategy: str, babbler: Autoencoder) -> None:
    assert max(map(longest_run, decode(babbler, make_noise(), strategy))) > 1
    assert max(map(longest_run, decode(babbler, make_noise(), strategy, no_repeat_ngram_size=1))) == 1


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_min_length_counts_tokens_with_the_first(strategy: str, autoencoder: Autoencoder) -> None:
    assert min(len(text.split()) for text in decode(autoencoder, make_noise(), strategy)) < 7
    longer = decode(autoencoder, make_noise(), strategy, min_length=9, top_p=0.5)  # samples no special token
    assert min(len(ids) for ids in tokenize(autoencoder.tokenizer, longer, 100)) >= 9 + 1  # with </s>


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_no_text_is_longer_than_the_autoencoder_reads(strategy: str, babbler: Autoencoder) -> None:
    endless = decode(babbler, make_noise(), strategy, min_length=MAX_TOKENS)  # the end of text may not come
    lengths = [len(ids) for ids in tokenize(babbler.tokenizer, endless, 100)]
    # With the </s> that the longest have no room for; an untrained decoder also draws tokens that are not written.
    assert max(lengths) in (MAX_TOKENS, MAX_TOKENS + 1)


def test_latents_are_brought_back_to_the_norm_that_the_decoder_was_trained_on(autoencoder: Autoencoder) -> None:
    latents = make_noise()
    assert decode(autoencoder, [3 * each + 2 for each in latents]) == decode(autoencoder, latents)


@pytest.fixture
def bart(tmp_path: Path) -> Autoencoder:
    """A pretrained BART with generation settings of its own."""
    save_bart(tmp_path)
    torch.manual_seed(0)
    return load_bart(tmp_path, latent_settings("per_token", latent_dim=16, frozen_states=True))


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_how_a_pretrained_model_likes_to_write_is_not_consulted(strategy: str, bart: Autoencoder) -> None:
    settings = bart.bart.generation_config
    assert settings.num_beams == 4  # as its files say
    latents = [np.random.default_rng(i).standard_normal((6, 16)).astype(np.float32) for i in range(COUNT)]
    before = decode(bart, latents, strategy)
    settings.update(length_penalty=-5.0, early_stopping=False, no_repeat_ngram_size=1, min_length=9, repetition_penalty=4.0)
    assert decode(bart, latents, strategy) == before
    assert len(set(before)) > 3


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_pretrained_model_starts_as_it_was_trained_to(
    strategy: str, bart: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[list[int]] = []
    generate = bart.bart.generate

    def recorded(**arguments: Any) -> torch.Tensor:
        ids = generate(**arguments)
        assert isinstance(ids, torch.Tensor)
        written.extend(ids.tolist())
        return ids

    monkeypatch.setattr(bart.bart, "generate", recorded)
    latents = [np.random.default_rng(i).standard_normal((6, 16)).astype(np.float32) for i in range(COUNT)]
    decode(bart, latents, strategy)
    assert len(written) == COUNT
    assert all(row[:2] == [2, 0] for row in written)  # </s>, then <s>
    bart.bart.generation_config.forced_bos_token_id = None
    written.clear()
    decode(bart, latents, strategy)
    assert any(row[1] != 0 for row in written)


def tokens_read(autoencoder: Autoencoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many tokens the decoder reads at each call from now on."""
    read: list[int] = []
    decoder = autoencoder.bart.model.decoder
    forward = decoder.forward

    def counted(*arguments: Any, **options: Any) -> Any:
        read.append(options["input_ids"].shape[1])
        return forward(*arguments, **options)

    monkeypatch.setattr(decoder, "forward", counted)
    return read


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_the_cache_saves_reading_and_changes_no_text(
    strategy: str, autoencoder: Autoencoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = tokens_read(autoencoder, monkeypatch)
    with_cache = decode(autoencoder, make_noise(), strategy)
    assert set(read) == {1}
    assert len(set(with_cache)) > 6
    read.clear()

    def without_cache(*arguments: Any) -> GenerationConfig:
        config = generation_config(*arguments)
        config.use_cache = False
        return config

    monkeypatch.setattr("annealed_lm.generation.decoding.generation_config", without_cache)
    assert decode(autoencoder, make_noise(), strategy) == with_cache
    assert max(read) > 5


def test_a_model_that_likes_no_cache_is_given_one(bart: Autoencoder, monkeypatch: pytest.MonkeyPatch) -> None:
    bart.bart.config.use_cache = bart.bart.generation_config.use_cache = False
    read = tokens_read(bart, monkeypatch)
    decode(bart, [np.random.default_rng(0).standard_normal((6, 16)).astype(np.float32)])
    assert set(read) == {1}


@pytest.mark.parametrize("latent_layout", LAYOUTS)
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_bf16_gives_nearly_the_texts_of_full_precision(
    strategy: str, latent_layout: str, trained_autoencoders: dict[str, Autoencoder]
) -> None:
    autoencoder = trained_autoencoders[latent_layout]
    latents = encode_ids(autoencoder, tokenize(autoencoder.tokenizer, TEXTS[:30], MAX_TOKENS), 16)
    seen: set[torch.dtype] = set()
    hook = autoencoder.bart.lm_head.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    half = decode(autoencoder, latents, strategy, mixed_precision="bf16")
    assert seen == {torch.bfloat16}
    full = decode(autoencoder, latents, strategy)
    hook.remove()
    assert seen == {torch.bfloat16, torch.float32}
    assert sum(a == b for a, b in zip(half, full, strict=True)) >= 27


def test_memory_is_computed_in_bf16_too(autoencoder: Autoencoder) -> None:
    assert autoencoder.bottleneck is not None
    seen: set[torch.dtype] = set()
    hook = autoencoder.bottleneck.from_latent.register_forward_hook(lambda module, inputs, output: seen.add(output.dtype))
    decode(autoencoder, make_noise(), mixed_precision="bf16")
    hook.remove()
    assert seen == {torch.bfloat16}


def test_fp16_on_a_cpu_is_one_sentence(babbler: Autoencoder) -> None:
    with pytest.raises(InputError, match=r"^sample_texts\.mixed_precision = fp16 needs a GPU"):
        decode(babbler, make_noise(), mixed_precision="fp16")
