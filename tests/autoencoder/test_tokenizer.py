from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from annealed_lm.autoencoder.tokenizer import tokenization_counts, tokenize, train_tokenizer
from support.tiny import save_bart

TEXTS = [
    "the rusty crown is a korean brasserie with lovely desserts .",
    "Cotto, near Café Sicilia: high-rated (5/5), over £30!",
    "it's  two spaces,\tone tab",
    "日本 and 🍣",
    "the crown",
]
BYTES = 260
KINDS = {"word": 64, "bpe": 300}
MAX_TOKENS = 40


def make(kind: str, vocab_size: int | None = None) -> PreTrainedTokenizerFast:
    return train_tokenizer(TEXTS, kind, vocab_size or KINDS[kind], MAX_TOKENS)


def decode(tokenizer: PreTrainedTokenizerFast, ids: list[int]) -> str:
    text = tokenizer.decode(ids, skip_special_tokens=True)
    assert isinstance(text, str)
    return text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_a_text_comes_back_to_the_letter(kind: str, text: str) -> None:
    tokenizer = make(kind)
    ids = tokenize(tokenizer, [text], 200)[0]
    assert ids[0] == tokenizer.bos_token_id
    assert ids[-1] == tokenizer.eos_token_id
    assert not {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id} & set(ids[1:-1])
    assert decode(tokenizer, ids) == text


SPELT_OUT = [
    "the <unk> sat on the mat",
    "</s> <s>a<pad> <mask></s>",
    "N <unk>'s <unk> @-@ <unk>",
    "<unk>",
    "[UNK] [CLS] [SEP] [PAD] [MASK] <|endoftext|> <eos>",
]
"""Texts that spell out special tokens, as those of PTB and WikiText do."""


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("saved", [False, True])
@pytest.mark.parametrize("text", SPELT_OUT)
def test_a_special_token_that_a_text_spells_out_is_the_characters_that_it_is(
    kind: str, saved: bool, text: str, tmp_path: Path
) -> None:
    tokenizer = train_tokenizer([*TEXTS, *SPELT_OUT], kind, KINDS[kind] + 40, MAX_TOKENS)
    if saved:
        tokenizer.save_pretrained(tmp_path)
        tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenize(tokenizer, [text], 200)[0]
    assert not set(tokenizer.all_special_ids) & set(ids[1:-1])
    assert decode(tokenizer, ids) == text
    assert tokenization_counts(tokenizer, [text], [ids]) == {"truncated_texts": 0, "unknown_tokens": 0}


def test_a_pretrained_tokenizer_gives_them_back_too(tmp_path: Path) -> None:
    save_bart(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    assert "<mask>" in tokenizer.all_special_tokens
    for text in SPELT_OUT:
        assert decode(tokenizer, tokenize(tokenizer, [text], 200)[0]) == text


def test_special_tokens_that_a_tokenizer_takes_for_words_are_counted() -> None:
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "the": 2, "cat": 3}, "<unk>"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")
    texts = ["the </s> cat </s>", "the <unk> cat", "the cat"]
    assert tokenization_counts(tokenizer, texts, tokenize(tokenizer, texts, MAX_TOKENS)) == {
        "truncated_texts": 0,
        "unknown_tokens": 1,
        "special_tokens_lost": 2,
    }


@pytest.mark.parametrize("kind", KINDS)
def test_no_texts_are_no_tokens(kind: str) -> None:
    assert tokenize(make(kind), [], MAX_TOKENS) == []
    assert tokenization_counts(make(kind), [], []) == {"truncated_texts": 0, "unknown_tokens": 0}


def test_bpe_gives_back_texts_that_it_never_saw() -> None:
    tokenizer = make("bpe")
    for text in ("Żółć {\\n} ☃", "crowns of 9"):
        assert decode(tokenizer, tokenize(tokenizer, [text], 200)[0]) == text


def test_an_unknown_word_is_unk_in_its_place() -> None:
    tokenizer = make("word")
    known, unknown = tokenize(tokenizer, ["the rusty crown", "the green crown"], MAX_TOKENS)
    assert unknown == [known[0], known[1], tokenizer.unk_token_id, *known[3:]]
    assert decode(tokenizer, unknown) == "the crown"


def test_special_tokens_are_where_bart_has_them() -> None:
    for kind in KINDS:
        tokenizer = make(kind)
        assert tokenizer.convert_tokens_to_ids(["<s>", "<pad>", "</s>", "<unk>"]) == [0, 1, 2, 3]
        assert (tokenizer.bos_token, tokenizer.pad_token, tokenizer.eos_token, tokenizer.unk_token) == (
            "<s>",
            "<pad>",
            "</s>",
            "<unk>",
        )


def test_word_keeps_the_most_frequent_words_within_its_limit() -> None:
    texts = ["a a a a b b c", "a b d"]
    vocabularies = [set(train_tokenizer(texts, "word", size, MAX_TOKENS).get_vocab()) for size in (4, 6, 7, 1000)]
    assert vocabularies[0] == {"<s>", "<pad>", "</s>", "<unk>"}
    assert vocabularies[1] - vocabularies[0] == {"Ġb", "Ġa"}  # three times; a word has the space before it
    assert vocabularies[2] - vocabularies[1] == {"a"}  # two times, at the start
    assert vocabularies[3] - vocabularies[2] == {"Ġc", "Ġd"}


@pytest.mark.parametrize("vocab_size", [BYTES, 270, 290])
def test_bpe_keeps_to_its_limit(vocab_size: int) -> None:
    assert len(make("bpe", vocab_size)) == vocab_size


def test_more_merges_make_shorter_codes() -> None:
    lengths = [sum(map(len, tokenize(make("bpe", size), TEXTS, 200))) for size in (BYTES, 280, 310)]
    assert lengths[0] > lengths[1] > lengths[2]


@pytest.mark.parametrize("kind", KINDS)
def test_truncation_keeps_the_beginning_and_the_end_of_text(kind: str) -> None:
    tokenizer = make(kind)
    whole = tokenize(tokenizer, TEXTS, 200)
    short = tokenize(tokenizer, TEXTS, 4)
    assert [len(ids) for ids in whole] != [len(ids) for ids in short]
    for full, cut in zip(whole, short, strict=True):
        assert cut == (full if len(full) <= 4 else [*full[:3], tokenizer.eos_token_id])


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_the_same_each_time_and_after_saving(kind: str, tmp_path: Path) -> None:
    tokenizer = make(kind)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    ids = tokenize(tokenizer, TEXTS, MAX_TOKENS)
    assert tokenize(make(kind), TEXTS, MAX_TOKENS) == ids
    assert tokenize(loaded, TEXTS, MAX_TOKENS) == ids
    assert loaded.get_vocab() == tokenizer.get_vocab() == make(kind).get_vocab()
    assert loaded.batch_decode(ids, skip_special_tokens=True) == tokenizer.batch_decode(ids, skip_special_tokens=True)
    assert (loaded.bos_token_id, loaded.pad_token_id, loaded.eos_token_id, loaded.unk_token_id) == (0, 1, 2, 3)


def test_the_order_of_the_texts_does_not_matter_for_words() -> None:
    assert train_tokenizer(TEXTS[::-1], "word", 20, MAX_TOKENS).get_vocab() == make("word", 20).get_vocab()


def test_truncated_texts_and_unknown_words_are_counted() -> None:
    tokenizer = make("word")
    texts = ["the green crown", "the green blue crown", "the crown"]
    assert tokenization_counts(tokenizer, texts, tokenize(tokenizer, texts, MAX_TOKENS)) == {
        "truncated_texts": 0,
        "unknown_tokens": 3,
    }
    assert tokenization_counts(tokenizer, texts, tokenize(tokenizer, texts, 5)) == {"truncated_texts": 1, "unknown_tokens": 3}
    assert tokenization_counts(tokenizer, texts, tokenize(tokenizer, texts, 4)) == {"truncated_texts": 2, "unknown_tokens": 2}
