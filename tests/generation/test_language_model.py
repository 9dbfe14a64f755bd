import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

from annealed_lm.autoencoder.tokenizer import train_tokenizer
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import file_sha256, read_json, write_json
from annealed_lm.common.padding import pad_ids
from annealed_lm.generation.language_model import LanguageModel, TextLikelihoods
from annealed_lm.trainers import language_model as language_model_training
from annealed_lm.trainers.language_model import LanguageModelTraining, small_gpt2, train_language_model
from annealed_lm.training.checkpoints import CheckpointStore

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


def perplexity(language_model: LanguageModel, texts: list[str]) -> float:
    value = language_model.likelihoods(texts, 32).perplexity
    assert value is not None
    return value


def test_training_lowers_the_perplexity_of_the_corpus_and_of_no_other_text(language_model: LanguageModel) -> None:
    before, after = (perplexity(model, TEXTS) for model in (untrained(), language_model))
    assert after < 3 < before  # two choices of two and one of four in about six tokens
    assert perplexity(language_model, ["old is cat a"]) > 20


def test_a_score_is_the_mean_over_texts_or_over_tokens() -> None:
    likelihoods = TextLikelihoods(nll=np.log([2.0, 8.0]), tokens=np.array([1, 3]))
    assert likelihoods.perplexity == pytest.approx((2 + 2) / 2)
    assert TextLikelihoods(np.log([2.0, 64.0]), np.array([1, 3])).perplexity == pytest.approx((2 + 4) / 2)
    assert TextLikelihoods(np.log([2.0, 64.0]), np.array([1, 3])).perplexity_corpus == pytest.approx(128 ** (1 / 4))


def test_texts_without_tokens_have_no_perplexity_and_are_left_out_of_the_means() -> None:
    likelihoods = TextLikelihoods(np.log([2.0, 1.0, 64.0]), np.array([1, 0, 3]))
    assert likelihoods.perplexity == pytest.approx((2 + 4) / 2)
    assert likelihoods.perplexity_corpus == pytest.approx(128 ** (1 / 4))
    for nothing in (TextLikelihoods(np.zeros(2), np.zeros(2, int)), TextLikelihoods(np.zeros(0), np.zeros(0, int))):
        assert nothing.perplexity is None
        assert nothing.perplexity_corpus is None


def test_a_score_sums_the_log_probabilities_of_each_token_and_not_of_the_end(language_model: LanguageModel) -> None:
    tokenizer = language_model.tokenizer
    ids = [tokenizer.bos_token_id, *tokenizer("the cat", add_special_tokens=False)["input_ids"]]
    with torch.inference_mode():
        log_probabilities = language_model.model(torch.tensor([ids])).logits[0].log_softmax(-1)
    expected = -sum(log_probabilities[position, token].item() for position, token in enumerate(ids[1:]))
    likelihoods = language_model.likelihoods(["the cat"], 1)
    assert likelihoods.nll[0] == pytest.approx(expected, abs=1e-4)
    assert likelihoods.tokens.tolist() == [2]


@pytest.mark.parametrize("batch_size", [1, 2, 5])
def test_the_batch_size_changes_no_score(language_model: LanguageModel, batch_size: int) -> None:
    expected = [language_model.likelihoods([text], 1).nll[0] for text in SCORED]
    np.testing.assert_allclose(language_model.likelihoods(SCORED, batch_size).nll, expected, atol=1e-4)


def test_padding_changes_no_loss_whatever_token_it_is(language_model: LanguageModel) -> None:
    rows = language_model.token_ids(SCORED[:1])
    with torch.inference_mode():
        alone = language_model.token_losses(*pad_ids(rows, 0))[0]
        for pad_id in (0, 5):
            ids, mask = pad_ids([*rows, [1] * MAX_TOKENS], pad_id)
            padded = language_model.token_losses(ids, mask)[0]
            torch.testing.assert_close(padded[: len(alone)], alone, atol=1e-5, rtol=0)
            assert not padded[len(alone) :].any()
            assert len(padded) > len(alone)


def test_the_empty_text_has_no_score(language_model: LanguageModel) -> None:
    likelihoods = language_model.likelihoods(["", "the cat", ""], 2)
    assert likelihoods.tokens.tolist() == [0, 2, 0]
    assert likelihoods.nll[[0, 2]].tolist() == [0, 0]
    assert likelihoods.perplexity == pytest.approx(perplexity(language_model, ["the cat"]), rel=1e-5)
    assert language_model.likelihoods(["", ""], 2).perplexity is None


def test_no_texts_have_no_scores_and_no_features(language_model: LanguageModel) -> None:
    likelihoods = language_model.likelihoods([], 2)
    assert (likelihoods.nll.shape, likelihoods.tokens.shape) == ((0,), (0,))
    assert likelihoods.perplexity is likelihoods.perplexity_corpus is None
    assert language_model.features([], 2).shape == (0, language_model.dimension)


@pytest.mark.parametrize("kind", ["word", "bpe"])
def test_a_special_token_that_a_text_spells_out_is_scored_as_what_is_written(kind: str) -> None:
    texts = ["a <unk> cat", "</s>", "<s> dog"]
    language_model = small_gpt2(train_tokenizer([*TEXTS, *texts], kind, 300, MAX_TOKENS), 16, 2, 2, MAX_TOKENS, 0)
    tokenizer = language_model.tokenizer
    rows = language_model.text_ids(texts)
    assert not set(tokenizer.all_special_ids) & {token for row in rows for token in row}
    assert tokenizer.batch_decode(rows, skip_special_tokens=True) == texts


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
    steps_run: list[int] = []

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


def test_a_tokenizer_without_a_start_token_starts_with_its_end_token(tmp_path: Path) -> None:
    """Nor has it a padding token, and it adds nothing to a text."""
    language_model = LanguageModel.load(save_word_level(tmp_path / "model", eos_token="<end>"), CPU)
    assert language_model.token_ids(["cat dog", ""]) == [[0, 1, 2], [0]]
    assert language_model.likelihoods(["cat dog", "", "cat"], 3).tokens.tolist() == [2, 0, 1]
    assert np.isfinite(language_model.features(["cat dog", ""], 2)).all()


def test_a_tokenizer_without_any_special_token_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="has neither a start nor an end token"):
        LanguageModel.load(save_word_level(tmp_path / "model"), CPU)


def save_word_level(folder: Path, **special_tokens: str) -> Path:
    tokenizer = Tokenizer(models.WordLevel({"<end>": 0, "cat": 1, "dog": 2}, "<end>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    model = GPT2LMHeadModel(GPT2Config(vocab_size=3, n_positions=8, n_embd=8, n_layer=1, n_head=1))
    LanguageModel(model.eval(), PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special_tokens)).save(folder, {})
    return folder


# Features


def hidden_state(language_model: LanguageModel, ids: list[int]) -> np.ndarray:
    """What transformers itself calls the last hidden state of the last token."""
    with torch.inference_mode():
        states = language_model.model(torch.tensor([ids]), output_hidden_states=True).hidden_states
    return np.asarray(states[-1][0, -1])


def test_features_are_the_last_hidden_state_at_the_last_token(language_model: LanguageModel) -> None:
    features = language_model.features(SCORED, 2)
    assert features.dtype == np.float32
    for text, row in zip(SCORED, features, strict=True):
        ids = language_model.tokenizer(text)["input_ids"][:-1]  # as the tokenizer begins a text, without the end
        np.testing.assert_allclose(row, hidden_state(language_model, ids), atol=1e-5)


def test_the_empty_text_has_the_features_of_the_start_token(language_model: LanguageModel) -> None:
    expected = hidden_state(language_model, [language_model.tokenizer.bos_token_id])
    np.testing.assert_allclose(language_model.features([""], 1)[0], expected, atol=1e-5)


def test_equal_texts_have_exactly_equal_features_and_neither_order_nor_batch_changes_them(language_model: LanguageModel) -> None:
    texts = [*SCORED, *SCORED[::-1]]
    features = language_model.features(texts, 2)
    np.testing.assert_array_equal(features[: len(SCORED)], features[len(SCORED) :][::-1])
    for batch_size in (1, 3, 10):
        np.testing.assert_allclose(language_model.features(texts, batch_size), features, atol=1e-5)
    assert len(np.unique(features.round(4), axis=0)) == len(SCORED)


def test_features_see_no_more_than_max_tokens_nor_than_the_models_positions(language_model: LanguageModel) -> None:
    shared = "the cat is"
    short = language_model.features([shared, f"{shared} old", f"{shared} very very old"], 3, max_tokens=4)  # with the start
    np.testing.assert_allclose(short, short[[0, 0, 0]], atol=1e-5)
    whole = language_model.features([shared, f"{shared} old"], 3)
    assert not np.allclose(whole[0], whole[1], atol=1e-3)
    full = "the cat is very very very very very very"  # with the start, all positions
    long = language_model.features([full, f"{full} old", f"{full} dog dog dog"], 3)
    np.testing.assert_allclose(long, long[[0, 0, 0]], atol=1e-5)


def test_features_of_sets_are_kept_apart(language_model: LanguageModel) -> None:
    sets = language_model.features_of_sets({"all": SCORED, "none": [], "last": SCORED[3:]})
    assert {name: rows.shape for name, rows in sets.items()} == {"all": (5, 16), "none": (0, 16), "last": (2, 16)}
    np.testing.assert_array_equal(sets["last"], sets["all"][3:])


# Description


def test_a_description_states_name_weights_and_dimension(language_model: LanguageModel, tmp_path: Path) -> None:
    language_model.save(tmp_path / "language_model", {})
    digest = file_sha256(tmp_path / "language_model" / "model.safetensors")
    assert LanguageModel.load(tmp_path / "language_model", CPU).description == ("language_model", digest, 16)
    write_json(tmp_path / "source.json", {"autoencoder": None, "language_model": {"name": "org/judge", "revision": "a" * 40}})
    assert LanguageModel.load(tmp_path / "language_model", CPU).description == ("org/judge", digest, 16)


def test_a_model_that_lies_in_no_folder_has_no_description() -> None:
    with pytest.raises(ValueError, match="loaded from a folder"):
        untrained().description  # noqa: B018


# Samples


def test_samples_are_texts_of_the_corpus_and_end_where_it_says(language_model: LanguageModel) -> None:
    texts = language_model.sample(60, 0.95, MAX_TOKENS, seed=0, batch_size=20)
    assert len(texts) == 60
    assert sum(text in TEXTS for text in texts) > 35
    assert sum(text in TEXTS for text in untrained().sample(60, 0.95, MAX_TOKENS, seed=0, batch_size=20)) == 0
    assert len(set(texts)) > 8


def test_a_sample_depends_on_the_seed_and_its_number_only(language_model: LanguageModel) -> None:
    texts = language_model.sample(12, 1.0, MAX_TOKENS, seed=3, batch_size=12)
    assert language_model.sample(12, 1.0, MAX_TOKENS, seed=3, batch_size=5) == texts
    assert language_model.sample(7, 1.0, MAX_TOKENS, seed=3, batch_size=2) == texts[:7]
    assert language_model.sample(12, 1.0, MAX_TOKENS, seed=4, batch_size=12) != texts


def test_samples_are_drawn_from_the_models_distribution(language_model: LanguageModel) -> None:
    """Of the first words, within four standard deviations."""
    with torch.inference_mode():
        logits = language_model.model(torch.tensor([[language_model.start_id]])).logits[0, -1]
    expected = logits.double().softmax(-1)
    count = 600
    texts = language_model.sample(count, 1.0, 2, seed=1, batch_size=200)
    found = Counter(texts)
    for word in ("the", "a"):
        share = expected[language_model.tokenizer(word, add_special_tokens=False)["input_ids"][0]].item()
        assert 0.3 < share < 0.7
        assert abs(found[word] / count - share) < 4 * (share * (1 - share) / count) ** 0.5


def test_a_small_nucleus_leaves_the_likeliest_text(language_model: LanguageModel) -> None:
    (text,) = set(language_model.sample(5, 1e-6, MAX_TOKENS, seed=0, batch_size=5))
    row = [language_model.start_id]
    with torch.inference_mode():
        while row[-1] != language_model.tokenizer.eos_token_id and len(row) < MAX_TOKENS:
            row.append(int(language_model.model(torch.tensor([row])).logits[0, -1].argmax()))
    assert text == language_model.tokenizer.decode(row, skip_special_tokens=True)
    assert text


def test_samples_are_no_longer_than_asked_for_and_hold_no_special_tokens(language_model: LanguageModel) -> None:
    whole = language_model.sample(20, 0.9, MAX_TOKENS, seed=0, batch_size=20)
    cut = language_model.sample(20, 0.9, 4, seed=0, batch_size=20)
    assert [len(row) for row in language_model.text_ids(cut)] == [3] * 20
    assert cut == [" ".join(text.split()[:3]) for text in whole]
    assert not any("<" in text for text in whole)
