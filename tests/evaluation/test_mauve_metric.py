import os

import numpy as np
import pytest

from annealed_lm.evaluation.mauve_metric import MauveScore, mauve_buckets, mauve_score, silenced_stderr

TEXTS = 100


def draw(seed: int, shift: float = 0.0) -> np.ndarray:
    features = np.random.default_rng(seed).normal(size=(TEXTS, 16)) + 3 * np.eye(16)[0]  # a direction, as sentence features have
    features[:, 1] += shift
    return features.astype(np.float32)


def test_like_sets_score_high_and_unlike_sets_low() -> None:
    scores = [mauve_score(draw(1, shift), draw(2), 8, 2).mean for shift in (0, 1, 20)]
    assert scores[0] > 0.8
    assert scores[0] > scores[1] > scores[2]
    assert scores[2] < 0.1


def test_a_larger_scaling_factor_lowers_the_score() -> None:
    assert mauve_score(draw(1, 1), draw(2), 8, 1).mean < mauve_score(draw(1, 1), draw(2), 2, 1).mean


def test_the_score_averages_clusterings_and_repeats_exactly() -> None:
    score = mauve_score(draw(1, 1), draw(2), 8, 3)
    assert score.std > 0
    assert score == mauve_score(draw(1, 1), draw(2), 8, 3)
    assert mauve_score(draw(1, 1), draw(2), 8, 1).std == 0
    assert mauve_score(draw(1, 1), draw(2), 8, 1).mean != score.mean


def test_p_is_the_tested_set() -> None:
    from mauve import compute_mauve

    tested, reference = draw(1, 1), draw(2)
    expected = compute_mauve(p_features=tested, q_features=reference, num_buckets=10, mauve_scaling_factor=8, seed=0).mauve
    swapped = compute_mauve(p_features=reference, q_features=tested, num_buckets=10, mauve_scaling_factor=8, seed=0).mauve
    assert mauve_score(tested, reference, 8, 1) == MauveScore(expected, 0.0)
    assert expected != swapped


def test_there_are_ten_texts_a_cluster_and_a_side() -> None:
    assert [mauve_buckets(texts) for texts in (20, 500, 1000)] == [2, 50, 100]


def test_texts_that_are_all_one_text_have_a_score() -> None:
    alike = np.repeat(draw(1)[:1], TEXTS, axis=0)
    assert 0 <= mauve_score(alike, draw(2), 8, 1).mean < 0.1


@pytest.mark.parametrize(("tested", "reference"), [(100, 90), (10, 10)])
def test_unequal_and_tiny_sets_are_refused(tested: int, reference: int) -> None:
    with pytest.raises(ValueError, match=f"not {tested} and {reference}"):
        mauve_score(draw(1)[:tested], draw(2)[:reference], 8, 1)


def test_compiled_code_is_silenced_and_only_meanwhile(capfd: pytest.CaptureFixture[str]) -> None:
    os.write(2, b"before")
    with silenced_stderr():
        os.write(2, b"meanwhile")
    os.write(2, b"after")
    assert capfd.readouterr().err == "beforeafter"


def test_clustering_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    mauve_score(draw(1), draw(2), 8, 1)
    assert capfd.readouterr() == ("", "")
