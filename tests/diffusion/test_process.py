import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES
from annealed_lm.diffusion.process import LARGEST_LATENT, LOSSES, GaussianDiffusion

OBJECTIVES = ("pred_x0", "pred_noise", "pred_v")
TIMESTEPS = 100
BATCH, LENGTH, WIDTH = 6, 5, 3
NO_ROWS = torch.arange(0)


def make(objective: str = "pred_x0", loss_type: str = "l2", noise_schedule: str = "cosine") -> GaussianDiffusion:
    return GaussianDiffusion(noise_schedule, TIMESTEPS, 9, objective, loss_type)


def example(seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_start, t, noise, mask with texts of 1 to LENGTH vectors."""
    random = torch.Generator().manual_seed(seed)
    x_start, noise = torch.randn(2, BATCH, LENGTH, WIDTH, generator=random)
    t = torch.tensor([0, 1, 20, 50, 80, 98])
    mask = torch.arange(LENGTH) < torch.tensor([5, 1, 3, 2, 4, 5])[:, None]
    return x_start, t, noise, mask


class Recorder:
    """A denoiser that keeps what it is asked and answers with a fixed linear map of it."""

    def __init__(self) -> None:
        self.calls: list[tuple[Tensor, Tensor, Tensor, Tensor | None]] = []
        self.classes: list[Tensor | None] = []
        self.weight = torch.tensor(0.5, requires_grad=True)

    def __call__(
        self, x_t: Tensor, noise_level: Tensor, mask: Tensor, self_cond: Tensor | None, class_id: Tensor | None
    ) -> Tensor:
        self.calls.append((x_t, noise_level, mask, self_cond))
        self.classes.append(class_id)
        condition = torch.zeros_like(x_t) if self_cond is None else self_cond
        return self.weight * x_t + 0.25 * condition + noise_level[:, None, None]


def test_noising_keeps_the_variance_and_mixes_as_equation_4_says() -> None:
    x_start, t, noise, _ = example()
    diffusion = make()
    for row in range(BATCH):
        alpha = float(diffusion.alphas_cumprod[t[row]])
        torch.testing.assert_close(
            diffusion.q_sample(x_start, t, noise)[row], math.sqrt(alpha) * x_start[row] + math.sqrt(1 - alpha) * noise[row]
        )


@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
def test_later_timesteps_are_noisier(noise_schedule: str) -> None:
    diffusion = make(noise_schedule=noise_schedule)
    t = torch.arange(TIMESTEPS)
    signal, noise_scale = diffusion.signal_and_noise(t)
    assert (signal.diff(dim=0) < 0).all()
    assert (noise_scale.diff(dim=0) >= 0).all()
    torch.testing.assert_close(signal**2 + noise_scale**2, torch.ones(TIMESTEPS, 1, 1))
    levels = diffusion.noise_level(t)
    assert levels[0] == 1 / TIMESTEPS
    assert levels[-1] == 1


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("noise_schedule", ["cosine", "linear"])
def test_the_exact_target_means_the_true_x_start_and_noise(objective: str, noise_schedule: str) -> None:
    x_start, t, noise, _ = example()
    diffusion = make(objective, noise_schedule=noise_schedule)
    x_t = diffusion.q_sample(x_start, t, noise)
    prediction = diffusion.interpret(diffusion.target(x_start, t, noise), x_t, t)
    torch.testing.assert_close(prediction.x_start, x_start, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(prediction.noise, noise, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_whatever_the_output_its_x_start_and_noise_make_up_x_t(objective: str) -> None:
    x_t, t, output, _ = example()
    diffusion = make(objective)
    prediction = diffusion.interpret(output, x_t, t)
    torch.testing.assert_close(diffusion.q_sample(prediction.x_start, t, prediction.noise), x_t, atol=1e-4, rtol=1e-4)


def test_the_three_targets_are_what_their_names_say() -> None:
    x_start, t, noise, _ = example()
    assert torch.equal(make("pred_x0").target(x_start, t, noise), x_start)
    assert torch.equal(make("pred_noise").target(x_start, t, noise), noise)
    diffusion = make("pred_v")
    alpha = diffusion.alphas_cumprod[t].float()[:, None, None]
    torch.testing.assert_close(diffusion.target(x_start, t, noise), alpha.sqrt() * noise - (1 - alpha).sqrt() * x_start)


@pytest.mark.parametrize(
    ("loss_type", "by_hand"),
    [
        ("l1", lambda difference: abs(difference)),
        ("l2", lambda difference: difference**2),
        ("smooth_l1", lambda difference: difference**2 / 2 if abs(difference) < 1 else abs(difference) - 0.5),
    ],
)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_the_loss_is_the_mean_over_real_positions_and_channels(
    objective: str, loss_type: str, by_hand: Callable[[float], float]
) -> None:
    x_start, t, noise, mask = example()
    diffusion = make(objective, loss_type)
    found = diffusion.losses(Recorder(), x_start, t, noise, mask, NO_ROWS, None)
    x_t, target = diffusion.q_sample(x_start, t, noise), diffusion.target(x_start, t, noise)
    for row in range(BATCH):
        output = 0.5 * x_t[row] + (t[row] + 1) / TIMESTEPS
        differences = (output - target[row])[mask[row]].flatten().tolist()
        assert found[row].item() == pytest.approx(sum(map(by_hand, differences)) / len(differences), rel=1e-4)


def test_loss_types_differ() -> None:
    x_start, t, noise, mask = example()
    losses = [make("pred_x0", name).losses(Recorder(), 3 * x_start, t, noise, mask, NO_ROWS, None) for name in LOSSES]
    assert len(losses) == 3
    assert not torch.isclose(losses[0], losses[1]).any()
    assert not torch.isclose(losses[1], losses[2]).any()
    assert not torch.isclose(losses[0], losses[2]).any()


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("conditioned", [False, True])
def test_padding_never_changes_the_loss(objective: str, conditioned: bool) -> None:
    x_start, t, noise, mask = example()
    diffusion = make(objective)
    rows = torch.arange(BATCH if conditioned else 0)
    expected = diffusion.losses(Recorder(), x_start, t, noise, mask, rows, None)
    x_start, noise = x_start.where(mask[..., None], 1e3), noise.where(mask[..., None], -7)
    changed = diffusion.losses(Recorder(), x_start, t, noise, mask, rows, None)
    torch.testing.assert_close(changed, expected)

    def pad(values: Tensor) -> Tensor:
        return torch.cat([values, values.new_ones(BATCH, 4, *values.shape[2:])], dim=1)

    wider = torch.cat([mask, mask.new_zeros(BATCH, 4)], dim=1)
    torch.testing.assert_close(diffusion.losses(Recorder(), pad(x_start), t, pad(noise), wider, rows, None), expected)


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_only_the_chosen_texts_are_conditioned_on_a_first_prediction(objective: str) -> None:
    x_start, t, noise, mask = example()
    diffusion = make(objective)
    rows, others = torch.tensor([4, 0, 3]), torch.tensor([1, 2, 5])
    denoiser = Recorder()
    diffusion.losses(denoiser, x_start, t, noise, mask, rows, None)
    (first_x_t, first_level, first_mask, nothing), (x_t, level, _, self_cond) = denoiser.calls
    assert nothing is None
    assert torch.equal(first_x_t, x_t[rows])
    assert torch.equal(first_level, level[rows])
    assert torch.equal(first_mask, mask[rows])
    assert self_cond is not None
    expected = diffusion.predict(Recorder(), x_t[rows], t[rows], mask[rows], None, None).x_start
    torch.testing.assert_close(self_cond[rows], expected)
    assert self_cond[rows].abs().sum() > 0
    assert not self_cond[others].any()


def test_both_evaluations_are_told_the_class_of_each_text() -> None:
    x_start, t, noise, mask = example()
    rows, class_id = torch.tensor([0, 3, 4]), torch.tensor([5, 4, 3, 2, 1, 0])
    denoiser = Recorder()
    make().losses(denoiser, x_start, t, noise, mask, rows, class_id)
    first, second = denoiser.classes
    assert first is not None
    assert first.tolist() == [5, 2, 1]
    assert second is class_id
    unconditional = Recorder()
    make().losses(unconditional, x_start, t, noise, mask, rows, None)
    assert unconditional.classes == [None, None]


def test_a_prediction_is_made_by_class() -> None:
    x_t, t, _, mask = example()
    for class_id in (None, torch.arange(BATCH)):
        denoiser = Recorder()
        make().predict(denoiser, x_t, t, mask, None, class_id)
        assert denoiser.classes[0] is class_id


def test_without_conditioned_texts_the_network_is_evaluated_once() -> None:
    x_start, t, noise, mask = example()
    denoiser = Recorder()
    make().losses(denoiser, x_start, t, noise, mask, NO_ROWS, None)
    assert len(denoiser.calls) == 1


def test_no_gradient_flows_through_the_first_prediction() -> None:
    x_start, t, noise, mask = example()
    diffusion = make()
    denoiser = Recorder()
    diffusion.losses(denoiser, x_start, t, noise, mask, torch.arange(BATCH), None).sum().backward()
    x_t, level, _, self_cond = denoiser.calls[1]
    assert self_cond is not None
    assert not self_cond.requires_grad
    output = denoiser.weight.detach() * x_t + 0.25 * self_cond + level[:, None, None]
    by_hand = ((2 * (output - x_start) * x_t).mean(-1) * mask).sum(1) / mask.sum(1)  # d loss / d weight, self_cond fixed
    assert denoiser.weight.grad is not None
    torch.testing.assert_close(denoiser.weight.grad, by_hand.sum())


def test_tan_d_has_an_effect_on_tan_only() -> None:
    def signal(noise_schedule: str, tan_d: float) -> Tensor:
        return GaussianDiffusion(noise_schedule, TIMESTEPS, tan_d, "pred_x0", "l2").alphas_cumprod

    for name in NOISE_SCHEDULES:
        assert torch.equal(signal(name, 3), signal(name, 9)) == (name != "tan")


# What a prediction may say of x_start


def rms(latents: Tensor) -> Tensor:
    """Root mean square of every vector."""
    return latents.square().mean(-1).sqrt()


def noisy_prediction(diffusion: GaussianDiffusion, t: int, scale: float = 1.0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_start [8, 8, 32] of this root mean square, x_t, all t, and the noise predicted with a mean squared error of .01."""
    random = torch.Generator().manual_seed(0)
    x_start, noise, error = torch.randn(3, 8, 8, 32, generator=random)
    x_start, all_t = scale * x_start, torch.full((8,), t)
    return x_start, diffusion.q_sample(x_start, all_t, noise), all_t, noise + 0.1 * error


@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
@pytest.mark.parametrize("timesteps", [10, 1000, 4000])
@pytest.mark.parametrize("scale", [0.2, 1.0, 7.0])
def test_x_start_keeps_the_scale_of_latents_where_no_signal_is_left(noise_schedule: str, timesteps: int, scale: float) -> None:
    diffusion = GaussianDiffusion(noise_schedule, timesteps, 9, "pred_noise", "l2", latent_rms=scale)
    for t in (timesteps - 1, timesteps - 2, timesteps * 9 // 10):
        _, x_t, all_t, output = noisy_prediction(diffusion, t, scale)
        prediction = diffusion.interpret(output, x_t, all_t)
        assert (rms(prediction.x_start) <= LARGEST_LATENT * scale * 1.0001).all()
        assert 0.3 * scale < prediction.x_start.std() < 3.1 * scale  # 2,135 unbound, of 1,000 timesteps of cosine at 999
        made_up = diffusion.q_sample(prediction.x_start, all_t, prediction.noise)
        torch.testing.assert_close(made_up, x_t, atol=1e-4 * max(scale, 1), rtol=1e-4)


def test_what_is_too_long_keeps_its_direction_and_what_is_not_stays_as_it_is() -> None:
    diffusion = make("pred_noise")
    x_start = torch.tensor([[[0.5, -2.0, 1.0], [30.0, -40.0, 0.0], [0.0, 0.0, 0.0]]])
    shortened = diffusion.shortened(x_start)
    assert torch.equal(shortened[0, [0, 2]], x_start[0, [0, 2]])
    assert rms(shortened)[0, 1].item() == pytest.approx(LARGEST_LATENT)
    torch.testing.assert_close(shortened[0, 1] / shortened[0, 1, 0], x_start[0, 1] / 30)


def test_where_signal_outweighs_noise_nothing_is_bound() -> None:
    diffusion = make("pred_noise")
    t = int((diffusion.alphas_cumprod > 0.5).sum()) - 1
    x_start, x_t, all_t, _ = noisy_prediction(diffusion, t, scale=50)  # rare, but a latent of the corpus
    exact = (x_t - diffusion.signal_and_noise(all_t)[0] * x_start) / diffusion.signal_and_noise(all_t)[1]
    torch.testing.assert_close(diffusion.interpret(exact, x_t, all_t).x_start, x_start, rtol=1e-3, atol=1e-3)
    later = diffusion.interpret(exact, x_t, all_t + 1)
    assert (rms(later.x_start) <= LARGEST_LATENT * 1.0001).all()


@pytest.mark.parametrize("objective", ["pred_x0", "pred_v"])
def test_objectives_that_divide_by_no_signal_are_taken_at_their_word(objective: str) -> None:
    diffusion = make(objective)
    _, x_t, all_t, output = noisy_prediction(diffusion, TIMESTEPS - 1)
    assert (rms(diffusion.interpret(1000 * output, x_t, all_t).x_start) > 500).all()
    if objective == "pred_x0":
        assert diffusion.interpret(output, x_t, all_t).x_start is output


def test_self_conditioning_is_on_the_bounded_prediction() -> None:
    x_start, _, noise, mask = example()
    t, denoiser = torch.full((BATCH,), TIMESTEPS - 1), Recorder()
    make("pred_noise").losses(denoiser, x_start, t, noise, mask, torch.arange(BATCH), None)
    self_cond = denoiser.calls[1][3]
    assert self_cond is not None
    assert (rms(self_cond) <= LARGEST_LATENT * 1.0001).all()
    assert self_cond.std() > 0.3
