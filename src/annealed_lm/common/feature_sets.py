"""Features of texts, whatever model makes them: equal texts have exactly equal features, in whichever sets they stand."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

Features = npt.NDArray[np.float32]
Encode = Callable[[list[str]], Features]
"""n texts -> features [n, d]."""


def features_of_texts(texts: Sequence[str], encode: Encode) -> Features:
    """Features [n, d]. A text that comes again is encoded once: rounding may differ from batch to batch."""
    numbers = {text: number for number, text in enumerate(dict.fromkeys(texts))}
    return encode(list(numbers))[[numbers[text] for text in texts]]


def features_of_sets(sets: Mapping[str, Sequence[str]], encode: Encode) -> dict[str, Features]:
    """`features_of_texts` of several sets by name, those that share texts together."""
    features = features_of_texts([text for texts in sets.values() for text in texts], encode)
    ends = np.cumsum([len(texts) for texts in sets.values()])[:-1]
    return dict(zip(sets, np.split(features, ends), strict=True))
