import numpy as np

from annealed_lm.common.feature_sets import Features, features_of_sets, features_of_texts


class Encoder:
    """Gives a text its length, and a different error in the last digits each time that it is asked."""

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def __call__(self, texts: list[str]) -> Features:
        self.encoded += texts
        rows = [[len(text), 1e-6 * len(self.encoded) + 1e-6 * row] for row, text in enumerate(texts)]
        return np.array(rows, dtype=np.float32).reshape(len(texts), 2)


def test_a_text_that_comes_again_is_encoded_once_and_has_exactly_the_same_features() -> None:
    encoder = Encoder()
    features = features_of_texts(["one", "three", "one", "", "three"], encoder)
    assert encoder.encoded == ["one", "three", ""]
    assert features[:, 0].tolist() == [3, 5, 3, 0, 5]
    np.testing.assert_array_equal(features[0], features[2])
    np.testing.assert_array_equal(features[1], features[4])


def test_sets_are_kept_apart_and_share_the_features_of_equal_texts() -> None:
    encoder = Encoder()
    features = features_of_sets({"first": ["one", "three"], "none": [], "second": ["three", "seventh"]}, encoder)
    assert encoder.encoded == ["one", "three", "seventh"]
    assert {name: rows.shape for name, rows in features.items()} == {"first": (2, 2), "none": (0, 2), "second": (2, 2)}
    assert features["second"][:, 0].tolist() == [5, 7]
    np.testing.assert_array_equal(features["first"][1], features["second"][0])
