"""Texts as numbers, by any tokenizer, so that what a text spells out is never taken for a sign of the model's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def token_ids(tokenizer: "PreTrainedTokenizerBase", texts: Sequence[str], **options: Any) -> list[list[int]]:
    """Return the token ids of every text; of no texts, none.

    A special token that a text spells out, such as the <unk> of WikiText, is encoded as the characters that it is written with:
    as the special token, decoding would drop it from the text.

    Args:
        options: of the tokenizer's call.
    """
    if not texts:
        return []  # the library would fail
    encoded: list[list[int]] = tokenizer(list(texts), split_special_tokens=True, **options)["input_ids"]
    return encoded
