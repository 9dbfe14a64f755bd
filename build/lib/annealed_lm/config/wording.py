"""How a value stands in a sentence: in one line, and never longer than the sentence."""

from collections.abc import Callable

SHOWN_CHARACTERS = 80


def shown(value: object, write: Callable[[object], str] = repr, characters: int = SHOWN_CHARACTERS) -> str:
    """Write a value in one line, the middle of a long one left out."""
    try:
        text = " ".join(write(value).split())
    except ValueError:  # Python writes no integer of more than 4,300 digits
        return "a number of thousands of digits"
    kept = characters // 2
    return text if len(text) <= characters else f"{text[:kept]} ... {text[-kept:]}"
