"""What texts of one's own decide in params.yaml."""

import copy
import random
from collections.abc import Callable

import pytest

from annealed_lab.experiments.params_file import nested
from annealed_lab.own_texts import sizes
from annealed_lm.common.errors import InputError
from annealed_lm.config.config import Config, parse_config
from annealed_lm.config.yaml_files import merge_preset
from annealed_lm.corpora.readers import unlabelled
from support.tiny import ROOT, yaml_of

DRAW = random.Random(0)
FEW_WORDS = [f"word{i}" for i in range(60)]
SYLLABLES = ("ka", "ro", "mi", "te", "su", "no", "la", "ve")


def short_text(i: int) -> str:
    return " ".join(DRAW.choices(FEW_WORDS, k=8))


def varied_text(i: int) -> str:
    """Of words that hardly come again."""
    return " ".join("".join(DRAW.choices(SYLLABLES, k=5)) for _ in range(20))


def config_for(texts: list[str], label: str | None = None) -> Config:
    rows = [row._replace(label=label) for row in unlabelled(texts)]
    chosen = sizes.choose_sizes(rows, sizes.most_words(rows))
    values = copy.deepcopy(yaml_of(ROOT / "params.yaml"))
    merge_preset(values, yaml_of(ROOT / "presets" / "text.yaml"))
    merge_preset(values, nested({key: choice.value for key, choice in chosen.items()}))
    return parse_config(values)


@pytest.mark.parametrize("count", [500, 999])
@pytest.mark.parametrize("make", [short_text, varied_text])
def test_a_run_has_what_it_needs_from_500_texts_on(count: int, make: Callable[[int], str]) -> None:
    config = config_for([make(i) for i in range(count)])
    data = config.prepare_data
    assert data.train_texts + data.valid_texts + data.test_texts == count
    assert data.train_texts >= 0.8 * count - 1
    assert config.train_autoencoder.tokenizer == ("word" if make is short_text else "bpe")


@pytest.mark.parametrize("count", [500, 5_000, 50_000, 1_000_000])
def test_sizes_of_the_splits_and_steps_grow_with_the_texts_within_bounds(count: int) -> None:
    chosen = {key: choice.value for key, choice in (sizes.choose_texts(count) | sizes.choose_steps(count)).items()}
    samples, held_out = chosen["sample_texts.num_samples"], chosen["prepare_data.valid_texts"]
    assert 20 <= samples <= held_out <= 1000
    assert chosen["prepare_data.train_texts"] == count - 2 * held_out >= 2 * samples
    assert 1000 <= chosen["train_autoencoder.num_train_steps"] <= 8000
    assert chosen["train_diffusion.num_train_steps"] == 3 * chosen["train_autoencoder.num_train_steps"]
    assert chosen["train_diffusion.num_train_steps"] / chosen["train_diffusion.evaluate_every"] <= 4


def test_too_few_texts_are_refused() -> None:
    with pytest.raises(InputError, match="499 different texts are left after cleaning, and training needs at least 500"):
        sizes.choose_texts(499)


def test_labels_make_the_model_conditional() -> None:
    texts = [short_text(i) for i in range(500)]
    assert config_for(texts, "good").train_diffusion.class_conditional
    assert not config_for(texts).train_diffusion.class_conditional


def test_a_few_long_texts_do_not_decide_the_lengths() -> None:
    rows = unlabelled(["one two three"] * 1000 + ["word " * 90] * 2)
    assert sizes.most_words(rows) == 4
    assert sizes.most_words(unlabelled(["word " * 300])) == sizes.MOST_WORDS
    with pytest.raises(InputError, match="every row is blank"):
        sizes.most_words(unlabelled(["", " "]))


def test_texts_without_spaces_that_are_too_long_are_refused() -> None:
    with pytest.raises(InputError, match="2% of the texts have more than 256 tokens: cut them into shorter ones"):
        sizes.choose_tokens([10] * 98 + [257] * 2)
    longest, vectors = sizes.choose_tokens([10] * 99 + [257])
    assert longest.value <= sizes.MOST_TOKENS
    assert vectors.value == 4


def test_words_that_came_once_tell_how_many_will_be_new() -> None:
    """With 2,000 entries every word of these texts would be known, and of the next texts a fifth would not."""
    texts = [f"{' '.join(FEW_WORDS[:4])} name{i}" for i in range(1000)]
    assert sizes.choose_vocabulary(texts, 1000)[0].value == "bpe"
    assert sizes.choose_vocabulary([text.rsplit(" ", 1)[0] for text in texts], 1000)[0].value == "word"
