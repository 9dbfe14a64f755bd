"""Features of texts, whatever model makes them: equal texts have exactly equal features, in whichever sets they stand."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
Encode = Callable[[list[str]], Features]
"""n texts -> features [n, d]."""


def features_of_texts(texts: Sequence[str], encode: Encode) -> Features:
    """Return the features [n, d] of `texts`.

    A text that comes again is encoded once: rounding may differ from batch to batch.
    """
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return encode(list(numbers))[[numbers[text] for text in texts]]


def features_of_sets(sets: Mapping[str, Sequence[str]], encode: Encode) -> dict[str, Features]:
    """Return `features_of_texts` of several sets, by name; a text that several of them share is encoded once."""
    features = features_of_texts([text for texts in sets.values() for text in texts], encode)
    ends = np.cumsum([len(texts) for texts in sets.values()])[:-1]
    return dict(zip(sets, np.split(features, ends), strict=True))
