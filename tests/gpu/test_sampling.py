"""Sampling on a GPU: a text depends on its seed and not on the batch, in half precision nearly as in full."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from annealed_lm.common.devices import default_device
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.generation import sampling
from annealed_lm.generation.sampling import per_text_noise, sample_latents
from support.tiny import LATENT_DIM, SAMPLING, make_diffusion_model

pytestmark = pytest.mark.gpu
DEVICE = default_device()
STATISTICS = LatentStatistics(torch.zeros(1, LATENT_DIM), torch.ones(1, LATENT_DIM))
LENGTHS = [3, 6, 2, 6, 4, 5, 1, 6]


def sampled(**changes: object) -> list[np.ndarray]:
    model = make_diffusion_model()
    diffusion, denoiser = model.process.diffusion(DEVICE), model.denoiser.to(DEVICE)
    return sample_latents(diffusion, denoiser, STATISTICS, LENGTHS, None, replace(SAMPLING, **changes), seed=0)


def test_a_text_does_not_depend_on_its_batch() -> None:
    for one, other in zip(sampled(batch_size=8), sampled(batch_size=3), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("mixed_precision", ["bf16", "fp16"])
def test_half_precision_is_near_full(mixed_precision: str) -> None:
    if mixed_precision == "fp16" and DEVICE.type == "cpu":
        pytest.skip("this machine has no GPU")
    full, half = (np.concatenate(sampled(mixed_precision=each)) for each in ("no", mixed_precision))
    assert np.abs(full - half).mean() < 0.1 * np.abs(full).mean()
    assert not np.array_equal(full, half)


@pytest.mark.parametrize("calls", [1, 4])
def test_noise_for_many_calls_is_of_the_text_and_of_the_call(calls: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However many calls a draw is for: what a text gets does not depend on its batch, and no two calls get the same."""
    monkeypatch.setitem(sampling.CALLS_AT_ONCE, DEVICE.type, calls)
    together, alone = (per_text_noise(texts, [LENGTHS[i] for i in texts], LATENT_DIM, 0, DEVICE) for texts in ([4, 1, 3], [1]))
    drawn = [(together(), alone()) for _ in range(6)]
    for rows, own in drawn:
        torch.testing.assert_close(rows[1:2, : own.shape[1]], own)
        assert not rows[0, LENGTHS[4] :].any()
    assert len({float(own.sum()) for _, own in drawn}) == 6
    every = torch.cat([own.flatten() for _, own in drawn])
    assert float(every.std()) == pytest.approx(1, abs=0.3)
