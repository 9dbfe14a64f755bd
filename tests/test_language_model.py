import random
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from annealed_lm import language_model_training
from annealed_lm.checkpoints import CheckpointStore
from annealed_lm.errors import InputError
from annealed_lm.files import read_json
from annealed_lm.language_model import LanguageModel, TextLikelihoods
from annealed_lm.language_model_training import LanguageModelTraining, small_gpt2, train_language_model
from annealed_lm.padding import pad_ids
from annealed_lm.tokenizer import train_tokenizer

CPU = torch.device("cpu")
MAX_TOKENS = 10
TEXTS = [
    " ".join([*source.choices(["the", "a"]), *source.choices(["cat", "dog"]), "is", *["very"] * source.randrange(4), "old"])
    for source in map(random.Random, range(200))
]
SCORED = ["the cat is old", "", "old", "a dog is very very very old", "the the the"]
TRAINING = LanguageModelTraining(seed=0, num_train_steps=60, batch_size=16, learning_rate=0.01)


def untrained(seed: int = 0) -> LanguageModel:
    return small_gpt2(train_tokenizer(TEXTS, "word", 32, MAX_TOKENS), 16, 2, 2, MAX_TOKENS, seed)


def trained(folder: Path, seed: int = 0) -> LanguageModel:
    language_model = untrained(seed)
    training = LanguageModelTraining(seed, TRAINING.num_train_steps, TRAINING.batch_size, TRAINING.learning_rate)
    train_language_model(language_model, TEXTS, training, CheckpointStore(folder / "resume"), CPU)
    return language_model


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    return trained(tmp_path_factory.mktemp("training"))


def test_training_lowers_the_perplexity_of_the_corpus_and_of_no_other_text(language_model: LanguageModel) -> None:
    before, after = (model.likelihoods(TEXTS, 32).perplexity for model in (untrained(), language_model))
    assert after < 3 < before  # two choices of two and one of four in about six tokens
    assert language_model.likelihoods(["old is cat a"], 1).perplexity > 20


def test_a_score_is_the_mean_over_texts_or_over_tokens() -> None:
    likelihoods = TextLikelihoods(nll=np.log([2.0, 8.0]), tokens=np.array([1, 3]))
    assert likelihoods.perplexity == pytest.approx((2 + 2) / 2)
    assert TextLikelihoods(np.log([2.0, 64.0]), np.array([1, 3])).perplexity == pytest.approx((2 + 4) / 2)
    assert TextLikelihoods(np.log([2.0, 64.0]), np.array([1, 3])).perplexity_corpus == pytest.approx(128 ** (1 / 4))


def test_a_score_sums_the_log_probabilities_of_each_token_and_the_end(language_model: LanguageModel) -> None:
    tokenizer = language_model.tokenizer
    ids = [tokenizer.bos_token_id, *tokenizer("the cat", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    with torch.inference_mode():
        log_probabilities = language_model.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = -sum(log_probabilities[position, token].item() for position, token in enumerate(ids[1:]))
    likelihoods = language_model.likelihoods(["the cat"], 1)
    assert likelihoods.nll[0] == pytest.approx(expected, abs=1e-4)
    assert likelihoods.tokens.tolist() == [3]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_batch_size_changes_no_score(language_model: LanguageModel, batch_size: int) -> None:
    expected = [language_model.likelihoods([text], 1).nll[0] for text in SCORED]
    np.testing.assert_allclose(language_model.likelihoods(SCORED, batch_size).nll, expected, atol=1e-4)


def test_padding_changes_no_loss_whatever_token_it_is(language_model: LanguageModel) -> None:
    rows = language_model.token_ids(SCORED[:1])
    with torch.inference_mode():
        alone = language_model.token_losses(*pad_ids(rows, 0))[0]
        for pad_id in (0, 5):
            ids, mask = pad_ids([*rows, [0] * MAX_TOKENS], pad_id)
            padded = language_model.token_losses(ids, mask)[0]
            torch.testing.assert_close(padded[: len(alone)], alone, atol=1e-5, rtol=0)
            assert not padded[len(alone) :].any()
            assert len(padded) > len(alone)


def test_the_empty_text_has_the_score_of_its_end(language_model: LanguageModel) -> None:
    likelihoods = language_model.likelihoods([""], 1)
    assert likelihoods.tokens.tolist() == [1]
    assert np.isfinite(likelihoods.perplexity)
    assert likelihoods.perplexity > 20  # no text of the corpus is empty


def test_beyond_the_models_positions_nothing_is_scored(language_model: LanguageModel) -> None:
    shared = "the cat is very very very very very very"  # fills the positions after the start
    likelihoods = language_model.likelihoods([shared, f"{shared} old", f"{shared} dog dog dog"], 3)
    assert likelihoods.tokens.tolist() == [MAX_TOKENS - 1] * 3
    np.testing.assert_allclose(likelihoods.nll, likelihoods.nll[0], atol=1e-4)


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(language_model: LanguageModel, tmp_path: Path) -> None:
    language_model.save(tmp_path / "first", {})
    trained(tmp_path / "again").save(tmp_path / "second", {})
    trained(tmp_path / "other", seed=1).save(tmp_path / "third", {})
    first, second, third = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("first", "second", "third"))
    assert first == second
    assert first != third


def test_an_interrupted_training_goes_on_where_it_was(
    language_model: LanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(language_model_training, "CHECKPOINT_EVERY", 20)
    steps_run = []

    def interrupt(*_: object) -> None:
        steps_run.append(len(steps_run))
        if len(steps_run) == 45:
            raise KeyboardInterrupt

    interrupted, resumed = untrained(), untrained()
    interrupted.model.register_forward_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_language_model(interrupted, TEXTS, TRAINING, CheckpointStore(tmp_path), CPU)
    resumed.model.register_forward_hook(lambda *_: steps_run.append(-1))
    train_language_model(resumed, TEXTS, TRAINING, CheckpointStore(tmp_path), CPU)
    assert steps_run.count(-1) == TRAINING.num_train_steps - 40
    for parameter, expected in zip(resumed.model.parameters(), language_model.model.parameters(), strict=True):
        torch.testing.assert_close(parameter, expected, atol=0, rtol=0)


def test_a_saved_model_scores_alike(language_model: LanguageModel, tmp_path: Path) -> None:
    language_model.save(tmp_path / "model", {"valid_perplexity": 3.5})
    loaded = LanguageModel.load(tmp_path / "model", CPU)
    np.testing.assert_array_equal(loaded.likelihoods(SCORED, 2).nll, language_model.likelihoods(SCORED, 2).nll)
    assert read_json(tmp_path / "model" / "language_model.json") == {"valid_perplexity": 3.5}


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no language model"):
        LanguageModel.load(tmp_path, CPU)


def test_a_tokenizer_with_one_special_token_serves_too(tmp_path: Path) -> None:
    """As GPT-2's: <|endoftext|> is start and end, there is no padding token, and nothing is added to a text."""
    word_level = Tokenizer(models.WordLevel({"<|endoftext|>": 0, "cat": 1, "dog": 2}, "<|endoftext|>"))
    word_level.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=word_level, eos_token="<|endoftext|>")
    model = GPT2LMHeadModel(GPT2Config(vocab_size=3, n_positions=8, n_embd=8, n_layer=1, n_head=1))
    LanguageModel(model.eval(), tokenizer).save(tmp_path / "gpt2", {})
    language_model = LanguageModel.load(tmp_path / "gpt2", CPU)
    assert language_model.token_ids(["cat dog", ""]) == [[0, 1, 2, 0], [0, 0]]
    likelihoods = language_model.likelihoods(["cat dog", "", "cat"], 3)
    assert likelihoods.tokens.tolist() == [3, 1, 2]
    assert np.isfinite(likelihoods.nll).all()
