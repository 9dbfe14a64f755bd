import os

import numpy as np
import pytest

from annealed_lm.evaluation.mauve_metric import curve_area, mauve_buckets, mauve_score, silenced_stderr

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
    assert mauve_score(tested, reference, 8, 1).mean == pytest.approx(expected)
    assert expected != pytest.approx(swapped)


def test_mauve_star_is_the_packages_too_where_no_points_tie() -> None:
    from mauve import compute_mauve

    tested, reference = draw(1, 1), draw(2)
    packages = [
        compute_mauve(p_features=tested, q_features=reference, num_buckets=10, mauve_scaling_factor=8, seed=seed).mauve_star
        for seed in range(2)
    ]
    assert mauve_score(tested, reference, 8, 2).star == pytest.approx(np.mean(packages))


@pytest.mark.parametrize("distinct", [1, 2, 7, 20, 40])
def test_a_set_against_itself_scores_one_in_every_clustering(distinct: int) -> None:
    features = np.tile(draw(1)[:distinct], (40 // distinct, 1))
    order = np.random.default_rng(0).permutation(len(features))
    score = mauve_score(features, features[order], 8, 20)
    assert score == pytest.approx((1, 0, 1), abs=1e-12)
    assert max(score.mean, score.star) <= 1


def test_of_few_texts_mauve_star_moves_less() -> None:
    few = [mauve_score(draw(seed)[:20], draw(100 + seed)[:20], 8, 1) for seed in range(20)]
    assert np.std([score.star for score in few]) < np.std([score.mean for score in few])


@pytest.mark.parametrize(
    ("inner", "area"),
    [
        ([], 0.5),
        ([(1, 1)], 1),
        ([(1, 1), (1, 1), (1 + 1e-16, 1)], 1),  # equal histograms
        ([(1, 0.5), (1, 1)], 1),
        ([(1, 0.5), (0.5, 0.5), (0.5, 1)], 0.75),
        ([(0.5, 0), (0, 0), (0, 0.5)], 0),
    ],
)
def test_the_area_under_a_curve_is_that_of_its_points_in_their_order(inner: list[tuple[float, float]], area: float) -> None:
    curve = np.array([(1, 0), *inner, (0, 1)])
    assert curve_area(curve) == pytest.approx(area)
    assert curve_area(curve[::-1, ::-1]) == pytest.approx(area)  # p and q in each other's place


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
