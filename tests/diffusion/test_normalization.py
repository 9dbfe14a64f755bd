import pytest
import torch

from annealed_lm.diffusion.normalization import LatentStatistics


@pytest.mark.parametrize("per_position", [False, True])
def test_root_mean_squares_are_those_of_what_the_process_works_on(per_position: bool) -> None:
    latents = torch.randn(500, 3, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([0.1, 1, 5, 20]) + 2
    statistics = LatentStatistics.of((row.numpy() for row in latents), per_position)
    assert statistics.normalise(latents).square().mean().sqrt().item() == pytest.approx(statistics.rms, rel=1e-3)
    unchanged = statistics.changing_nothing()
    assert torch.equal(unchanged.normalise(latents), latents)
    assert torch.equal(unchanged.unnormalise(latents), latents)
    assert unchanged.rms == pytest.approx(latents.square().mean().sqrt().item(), rel=1e-3)
    assert unchanged.to(torch.device("cpu")).rms == unchanged.rms
