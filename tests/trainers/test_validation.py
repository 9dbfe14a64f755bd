from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import Tensor

from annealed_lm.autoencoder.latents import LatentSet
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.diffusion.process import GaussianDiffusion
from annealed_lm.trainers.validation import LOG_SNR_BINS, VALIDATION_BATCH, VALIDATION_TEXTS, FixedValidation

WIDTH = 3
RANDOM = np.random.default_rng(0)
ROWS = [RANDOM.standard_normal((length, WIDTH)).astype(np.float32) for length in RANDOM.integers(1, 5, 600)]
STATISTICS = LatentStatistics.of(ROWS, per_position=False)


def make(
    rows: list[np.ndarray] = ROWS,
    timesteps: int = 100,
    self_condition: bool = False,
    labels: list[int] | None = None,
    noise_schedule: str = "cosine",
) -> FixedValidation:
    diffusion = GaussianDiffusion(noise_schedule, timesteps, 9, "pred_x0", "l2")
    latents = LatentSet.from_rows(rows, labels)
    return FixedValidation(diffusion, latents, STATISTICS, self_condition, labels is not None, torch.device("cpu"))


def zeros(x_t: Tensor, noise_level: Tensor, mask: Tensor, self_cond: Tensor | None, class_id: Tensor | None) -> Tensor:
    return torch.zeros_like(x_t)


def test_two_validations_are_the_same_whatever_was_drawn_before() -> None:
    one = make()
    torch.rand(5)
    other = make()
    assert torch.equal(one.t, other.t)
    for ours, theirs in zip(one.batches, other.batches, strict=True):
        assert torch.equal(ours.noise, theirs.noise)
        assert torch.equal(ours.rows, theirs.rows)
    assert torch.equal(one.losses(zeros), other.losses(zeros))
    assert torch.equal(one.losses(zeros), one.losses(zeros))


def test_validating_leaves_the_global_random_state_alone() -> None:
    validation = make()
    before = torch.get_rng_state()
    validation.losses(zeros)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("texts", [7, 100, 600])
@pytest.mark.parametrize("timesteps", [5, 100, 1000])
def test_t_stands_at_the_middle_of_equal_strata_of_the_whole_range(texts: int, timesteps: int) -> None:
    validation = make(ROWS[:texts], timesteps)
    count = min(texts, VALIDATION_TEXTS)
    assert sorted(validation.t.tolist()) == [int((2 * i + 1) * timesteps / (2 * count)) for i in range(count)]


def test_texts_and_timesteps_are_not_in_the_same_order() -> None:
    t = make().t.double()
    assert abs(float(torch.corrcoef(torch.stack([t, torch.arange(len(t))]))[0, 1])) < 0.2


def test_the_loss_is_that_of_normalised_latents_and_of_each_text() -> None:
    losses = make().losses(zeros)
    assert losses.shape == (VALIDATION_TEXTS,)
    normalised = [STATISTICS.normalise(torch.from_numpy(row.astype(np.float16).astype(np.float32))) for row in ROWS]
    torch.testing.assert_close(losses, torch.stack([row.square().mean() for row in normalised[:VALIDATION_TEXTS]]))


@pytest.mark.parametrize("self_condition", [False, True])
def test_the_network_is_conditioned_as_when_it_samples(self_condition: bool) -> None:
    conditions = []

    def denoiser(x_t: Tensor, noise_level: Tensor, mask: Tensor, self_cond: Tensor | None, class_id: Tensor | None) -> Tensor:
        conditions.append(self_cond)
        return torch.ones_like(x_t)

    make(self_condition=self_condition).losses(denoiser)
    batches = VALIDATION_TEXTS // VALIDATION_BATCH
    assert len(conditions) == batches * (1 + self_condition)
    assert all((condition == self_condition).all() for condition in conditions[self_condition :: 1 + self_condition])


@pytest.mark.parametrize("texts", [20, 600])
def test_the_network_is_told_every_label(texts: int) -> None:
    told = []

    def denoiser(x_t: Tensor, noise_level: Tensor, mask: Tensor, self_cond: Tensor | None, class_id: Tensor | None) -> Tensor:
        told.append(class_id)
        return torch.zeros_like(x_t)

    labels = RANDOM.integers(0, 4, texts).tolist()
    conditional = make(ROWS[:texts], labels=labels)
    conditional.losses(denoiser)
    assert [each.tolist() for each in told] == [[labels[row] for row in batch.rows] for batch in conditional.batches]
    told.clear()
    make(ROWS[:texts]).losses(denoiser)
    assert set(told) == {None}


def test_every_text_is_looked_at_once_among_texts_of_like_length() -> None:
    batches = make().batches
    assert sorted(torch.cat([batch.rows for batch in batches]).tolist()) == list(range(VALIDATION_TEXTS))
    lengths = [batch.mask.sum(1) for batch in batches]
    assert all(one.max() <= other.min() for one, other in pairwise(lengths))


@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
def test_each_bin_has_the_mean_of_its_own_log_snr(noise_schedule: str) -> None:
    validation = make(timesteps=1000, noise_schedule=noise_schedule)
    alphas_cumprod = validation.diffusion.alphas_cumprod[validation.t].numpy()
    log_snr = np.log(alphas_cumprod / (1 - alphas_cumprod))
    rows = validation.by_log_snr(torch.from_numpy(log_snr))  # as if each loss were its log-SNR
    expected = {"below -6": log_snr[log_snr < -6], "above 6": log_snr[log_snr >= 6]}
    expected |= {f"{low} to {low + 2}": log_snr[(log_snr >= low) & (log_snr < low + 2)] for low in range(-6, 6, 2)}
    assert [row["log_snr"] for row in rows] == [name for name in LOG_SNR_BINS if len(expected[name])]
    assert [row["loss"] for row in rows] == pytest.approx([expected[row["log_snr"]].mean() for row in rows])


@pytest.mark.parametrize(("texts", "timesteps"), [(3, 1000), (600, 4), (600, 1), (600, 15)])
def test_bins_without_a_text_are_left_out(texts: int, timesteps: int) -> None:
    validation = make(ROWS[:texts], timesteps)
    rows = validation.by_log_snr(validation.losses(zeros))
    assert 1 <= len(rows) <= min(texts, timesteps, len(LOG_SNR_BINS))
    assert all(np.isfinite(row["loss"]) for row in rows)
