import numpy as np
import pytest
import torch
from scipy import stats

from annealed_lm.generation.nucleus import NucleusChoice, text_uniforms


@pytest.mark.parametrize("top_p", [0.3, 0.7, 0.81, 1.0])
def test_draws_follow_the_probabilities_within_the_nucleus(top_p: float) -> None:
    probabilities = np.array([0.05, 0.5, 0.15, 0.3])
    nucleus = {0.3: [1], 0.7: [1, 3], 0.81: [1, 3, 2], 1.0: [1, 3, 2, 0]}[top_p]  # the smallest set that reaches top_p
    count = 20_000
    uniforms = torch.rand(count, 1, generator=torch.Generator().manual_seed(0))
    scores = torch.from_numpy(np.log(probabilities)).float().expand(count, 4)
    chosen = NucleusChoice(top_p, uniforms)(torch.zeros(count, 1, dtype=torch.long), scores)
    assert ((chosen == 0).sum(-1) == 1).all()
    assert (chosen.isneginf().sum(-1) == 3).all()
    counts = np.bincount(chosen.argmax(-1).numpy(), minlength=4)
    assert counts.sum() == counts[nucleus].sum()
    expected = count * probabilities[nucleus] / probabilities[nucleus].sum()
    assert len(nucleus) == 1 or stats.chisquare(counts[nucleus], expected).pvalue > 0.001


def test_each_token_is_drawn_with_a_uniform_of_its_own() -> None:
    scores = torch.log(torch.tensor([[0.5, 0.5]]))
    choice = NucleusChoice(1.0, torch.tensor([[0.1, 0.9, 0.2, 0.8]]))
    drawn = [int(choice(torch.zeros(1, 1, dtype=torch.long), scores).argmax()) for _ in range(4)]
    assert drawn == [0, 1, 0, 1]


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-24])
@pytest.mark.parametrize("top_p", [5e-324, 1e-320, 1e-8, 0.01, 0.5, 0.9, 1.0])
def test_the_ends_of_the_uniforms_are_drawn_too(uniform: float, top_p: float) -> None:
    scores = torch.randn(50, 30, generator=torch.Generator().manual_seed(0))
    chosen = NucleusChoice(top_p, torch.full((50, 1), uniform))(torch.zeros(50, 1, dtype=torch.long), scores)
    assert ((chosen == 0).sum(-1) == 1).all()
    if uniform == 0:
        assert torch.equal(chosen.argmax(-1), scores.argmax(-1))


@pytest.mark.parametrize("top_p", [5e-324, 0.3, 1.0])
@pytest.mark.parametrize("scores", [[0.0, 0.0], [float("-inf"), 3.0], [-1e4, 1e4]])
def test_a_threshold_that_rounds_to_the_whole_mass_draws_a_token_of_the_nucleus(top_p: float, scores: list[float]) -> None:
    chosen = NucleusChoice(top_p, torch.ones(1, 1))(torch.zeros(1, 1, dtype=torch.long), torch.tensor([scores]))
    assert (chosen == 0).sum() == 1
    assert scores[int(chosen.argmax())] == max(scores)


def test_uniforms_belong_to_the_text() -> None:
    many = text_uniforms([0, 1, 2, 3], 50, seed=0)
    assert torch.equal(text_uniforms([2, 0], 50, seed=0), many[[2, 0]])
    assert len({tuple(row.tolist()) for row in many}) == 4
    assert not torch.equal(text_uniforms([0], 50, seed=1)[0], many[0])
    assert many.min() >= 0
    assert many.max() < 1
