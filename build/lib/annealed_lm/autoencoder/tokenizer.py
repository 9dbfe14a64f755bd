"""Tokenizers trained on the corpus: whole words, or byte-level BPE. Both give a text back exactly as it was."""

from collections.abc import Sequence

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from annealed_lm.common.token_ids import token_ids
from annealed_lm.common.words import SPECIAL_TOKENS, count_words, most_frequent, word_splitter


def train_tokenizer(texts: Sequence[str], kind: str, vocab_size: int, max_tokens: int) -> PreTrainedTokenizerFast:
    """Train a tokenizer on `texts`; it writes <s> ... </s> and truncates to `max_tokens`, both included.

    Args:
        kind: "word", the most frequent words, any other becomes <unk>; or "bpe" (Sennrich et al. 2016, arXiv 1508.07909) over
            bytes, which knows every string.
        vocab_size: at most so many entries, the special tokens included. BPE needs 260 for the bytes alone.
    """
    specials = list(SPECIAL_TOKENS.values())
    splitter = word_splitter()  # of both kinds
    if kind == "word":
        words = most_frequent(count_words(texts), vocab_size)
        tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(specials + words)}, SPECIAL_TOKENS["unk_token"]))
        tokenizer.add_special_tokens(specials)
    else:
        tokenizer = Tokenizer(models.BPE())
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(
            vocab_size=vocab_size, special_tokens=specials, initial_alphabet=alphabet, show_progress=False
        )
        tokenizer.pre_tokenizer = splitter
        tokenizer.train_from_iterator(texts, trainer)
    tokenizer.pre_tokenizer = splitter
    tokenizer.decoder = decoders.ByteLevel()
    ids = [(token, tokenizer.token_to_id(token)) for token in (SPECIAL_TOKENS["bos_token"], SPECIAL_TOKENS["eos_token"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A </s>", special_tokens=ids)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, model_max_length=max_tokens, truncation_side="right", **SPECIAL_TOKENS
    )


def tokenize(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], max_tokens: int) -> list[list[int]]:
    """Return the token ids of every text, <s> ... </s>, truncated to `max_tokens`."""
    return token_ids(tokenizer, texts, truncation=True, max_length=max_tokens, add_special_tokens=True)


def tokenization_counts(tokenizer: PreTrainedTokenizerBase, texts: Sequence[str], ids: Sequence[Sequence[int]]) -> dict[str, int]:
    """Count how many of `texts` were truncated on the way to `ids`, and how many tokens of `ids` are <unk>.

    A pretrained tokenizer may know a special token, such as </s>, as a word as well, and decoding drops it from a text that
    spells it out: how many are lost so is counted where any is.
    """
    # Not verbose: the library would warn of what is counted here.
    whole = token_ids(tokenizer, texts, truncation=False, add_special_tokens=False, verbose=False)
    added = tokenizer.num_special_tokens_to_add()
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    lost = sum(token in special for row in whole for token in row)
    return {
        "truncated_texts": sum(len(full) + added > len(kept) for full, kept in zip(whole, ids, strict=True)),
        "unknown_tokens": sum(row.count(tokenizer.unk_token_id) for row in map(list, ids)),
        **({"special_tokens_lost": lost} if lost else {}),
    }
