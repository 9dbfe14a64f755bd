import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, DPMSolverMultistepScheduler
from torch import Tensor, nn

from annealed_lm.config.sections import SampleTexts
from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES, noise_levels
from annealed_lm.diffusion.process import GaussianDiffusion
from annealed_lm.generation.sampling import per_text_noise, take_steps
from annealed_lm.generation.solvers import SOLVERS, SPACINGS, solver_steps
from support.tiny import CPU, LATENT_DIM, denoiser_settings

TIMESTEPS = 100
PREDICTION_TYPES = {"pred_x0": "sample", "pred_noise": "epsilon", "pred_v": "v_prediction"}


def make_diffusion(objective: str = "pred_x0", timesteps: int = TIMESTEPS, noise_schedule: str = "cosine") -> GaussianDiffusion:
    return GaussianDiffusion(noise_schedule, timesteps, 9, objective, "l2")


class Oracle:
    """A denoiser that knows x_start of what it sees and answers with the exact target; it counts how often it is asked."""

    def __init__(self, diffusion: GaussianDiffusion, x_start: Callable[[Tensor, float, float], Tensor]) -> None:
        self.diffusion = diffusion
        self.x_start = x_start
        self.timesteps: list[int] = []
        self.conditions: list[Tensor | None] = []

    def __call__(
        self, x_t: Tensor, noise_level: Tensor, mask: Tensor, self_cond: Tensor | None, class_id: Tensor | None
    ) -> Tensor:
        t = (noise_level * self.diffusion.timesteps - 1).round().long()
        self.timesteps.append(int(t[0]))
        self.conditions.append(self_cond)
        signal, noise_scale = self.diffusion.signal_and_noise(t)
        x_start = self.x_start(x_t, float(signal[0]), float(noise_scale[0]))
        return self.diffusion.target(x_start, t, (x_t - signal * x_start) / noise_scale)


def test_params_yaml_allows_the_solvers_and_spacings_there_are() -> None:
    fields = SampleTexts.model_fields
    assert set(SOLVERS) == set(fields["solver"].annotation.__args__)  # type: ignore[union-attr]
    assert set(SPACINGS) == set(fields["spacing"].annotation.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize("objective", PREDICTION_TYPES)
@pytest.mark.parametrize("steps", [1, 7, TIMESTEPS])
@pytest.mark.parametrize(("solver", "eta"), [("ddim", 0), ("ddim", 1), ("dpm_solver", 0), ("sde_dpm_solver", 0)])
def test_with_a_perfect_denoiser_the_sample_is_x_start(objective: str, steps: int, solver: str, eta: float) -> None:
    diffusion = make_diffusion(objective, noise_schedule="linear")
    x_start = torch.randn(3, 5, LATENT_DIM, generator=torch.Generator().manual_seed(0))
    oracle = Oracle(diffusion, lambda *arguments: x_start)
    noise = per_text_noise(range(3), [5] * 3, LATENT_DIM, 0, CPU)
    taken = solver_steps(diffusion.alphas_cumprod.numpy(), solver, "trailing", steps, eta, 0)
    found = take_steps(diffusion, oracle, torch.ones(3, 5, dtype=torch.bool), noise, taken, None)
    torch.testing.assert_close(found, x_start, atol=1e-3, rtol=1e-3)
    assert oracle.timesteps == [step.t for step in taken]
    assert oracle.conditions[0] is None
    for condition in oracle.conditions[1:]:  # each step is conditioned on the x_start of the step before
        assert condition is not None
        torch.testing.assert_close(condition, x_start, atol=0.2, rtol=0.1)


MEAN, STD = 0.7, 0.4


def of_gaussian_data(x_t: Tensor, signal: float, noise: float) -> Tensor:
    """The mean of x_start given x_t, for data ~ N(MEAN, STD^2)."""
    return MEAN + STD**2 * signal / (signal**2 * STD**2 + noise**2) * (x_t - signal * MEAN)


def error_on_gaussian_data(solver: str, steps: int, decode_at: float) -> float:
    """Of the end of the probability-flow ODE, which for Gaussian data is known: x_t keeps its place in its distribution."""
    diffusion = make_diffusion(timesteps=10_000)
    alphas_cumprod = diffusion.alphas_cumprod.numpy()
    taken = solver_steps(alphas_cumprod, solver, "log_snr", steps, 0, decode_at)
    start = torch.linspace(-2, 2, 8 * LATENT_DIM).reshape(1, 8, LATENT_DIM)
    found = take_steps(
        diffusion, Oracle(diffusion, of_gaussian_data), torch.ones(1, 8, dtype=torch.bool), lambda: start, taken, None
    )
    ends = []
    for alpha in (alphas_cumprod[-1], alphas_cumprod[noise_levels(alphas_cumprod) <= decode_at][-1]):
        ends.append((math.sqrt(alpha) * MEAN, math.sqrt(alpha * STD**2 + 1 - alpha)))
    (mean, std), (end_mean, end_std) = ends
    return float((found - (end_mean + (start - mean) / std * end_std)).abs().max())


def test_the_error_falls_with_the_order_of_the_solver() -> None:
    orders = {}
    for solver in ("ddim", "dpm_solver"):
        errors = [error_on_gaussian_data(solver, steps, 0.3) for steps in (20, 40, 80)]
        orders[solver] = [math.log2(coarse / fine) for coarse, fine in itertools.pairwise(errors)]
    assert orders["ddim"] == pytest.approx([1, 1], abs=0.25)
    assert orders["dpm_solver"] == pytest.approx([2, 2], abs=0.35)


def test_the_sde_ends_with_the_distribution_that_the_data_have_there() -> None:
    diffusion = make_diffusion(timesteps=1000)
    alphas_cumprod = diffusion.alphas_cumprod.numpy()
    noise = torch.Generator().manual_seed(0)
    taken = solver_steps(alphas_cumprod, "sde_dpm_solver", "log_snr", 60, 0, 0.5)
    mask = torch.ones(2000, 5, dtype=torch.bool)
    found = take_steps(
        diffusion,
        Oracle(diffusion, of_gaussian_data),
        mask,
        lambda: torch.randn(2000, 5, LATENT_DIM, generator=noise),
        taken,
        None,
    )
    alpha = alphas_cumprod[noise_levels(alphas_cumprod) <= 0.5][-1]
    assert float(found.mean()) == pytest.approx(math.sqrt(alpha) * MEAN, abs=0.02)
    assert float(found.std()) == pytest.approx(math.sqrt(alpha * STD**2 + 1 - alpha), abs=0.02)


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("noise_schedule", NOISE_SCHEDULES)
@pytest.mark.parametrize("decode_at", [0.0, 0.3, 0.85])
@pytest.mark.parametrize("steps", [1, 2, 7, 50])
def test_steps_fall_from_the_last_timestep_to_where_decoding_takes_over(
    spacing: str, noise_schedule: str, decode_at: float, steps: int
) -> None:
    alphas_cumprod = NOISE_SCHEDULES[noise_schedule](1000, 9)
    levels = noise_levels(alphas_cumprod)
    stop = max((t for t in range(1000) if levels[t] <= decode_at), default=-1)
    timesteps = SPACINGS[spacing](alphas_cumprod, steps, stop)
    assert len(timesteps) == steps + 1
    assert timesteps[0] == 999
    assert timesteps[-1] == stop
    assert all(one > other for one, other in itertools.pairwise(timesteps))
    taken = solver_steps(alphas_cumprod, "ddim", spacing, steps, 0, decode_at)
    assert [step.t for step in taken] == timesteps[:-1]


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("decode_at", [0.0, 0.5])
def test_as_many_steps_as_timesteps_take_every_one(spacing: str, decode_at: float) -> None:
    alphas_cumprod = NOISE_SCHEDULES["tan"](TIMESTEPS, 9)
    stop = int((noise_levels(alphas_cumprod) <= decode_at).sum()) - 1
    assert SPACINGS[spacing](alphas_cumprod, TIMESTEPS - 1 - stop, stop) == list(range(TIMESTEPS - 1, stop - 1, -1))


def test_trailing_steps_are_even_in_t_and_those_of_log_snr_in_log_snr() -> None:
    alphas_cumprod = NOISE_SCHEDULES["cosine"](1000, 9)
    strides = -np.diff(SPACINGS["trailing"](alphas_cumprod, 67, -1))
    assert set(strides) <= {1000 // 67, 1000 // 67 + 1}
    values = np.log(alphas_cumprod / (1 - alphas_cumprod))[SPACINGS["log_snr"](alphas_cumprod, 10, 200)]
    assert np.diff(values)[5:] == pytest.approx(np.diff(values)[5:].mean(), rel=0.05)  # the highest timesteps lie far apart
    assert SPACINGS["uniform"](alphas_cumprod, 10, 499)[-2:] == [500, 499]


def make_denoiser() -> DenoisingTransformer:
    torch.manual_seed(0)
    denoiser = DenoisingTransformer(denoiser_settings(max_length=8, self_condition=False))
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.3)
    return denoiser.eval()


@pytest.mark.parametrize("objective", PREDICTION_TYPES)
@pytest.mark.parametrize(
    ("solver", "eta"), [("ddim", 0.0), ("ddim", 0.5), ("ddim", 1.0), ("dpm_solver", 0), ("sde_dpm_solver", 0)]
)
@pytest.mark.parametrize("steps", [10, TIMESTEPS])
def test_samples_equal_those_of_diffusers(objective: str, solver: str, eta: float, steps: int) -> None:
    diffusion = make_diffusion(objective)
    diffusion.largest_rms = 1e12  # theirs bind x_start to another shape, or not at all
    denoiser = make_denoiser()
    mask = torch.ones(2, 5, dtype=torch.bool)
    noises = torch.randn(steps, 2, 5, LATENT_DIM, generator=torch.Generator().manual_seed(0))
    left = list(noises)
    taken = solver_steps(diffusion.alphas_cumprod.numpy(), solver, "trailing", steps, eta, 0)
    found = take_steps(diffusion, denoiser, mask, lambda: left.pop(0), taken, None)
    random = eta > 0 or solver == "sde_dpm_solver"
    assert len(left) == (0 if random else steps - 1)  # none is drawn that is of no effect

    alphas = diffusion.alphas_cumprod
    betas = (1 - alphas / torch.cat([alphas.new_ones(1), alphas[:-1]])).numpy()
    shared = {"trained_betas": betas, "prediction_type": PREDICTION_TYPES[objective], "timestep_spacing": "trailing"}
    if solver == "ddim":
        scheduler = DDIMScheduler(TIMESTEPS, clip_sample=False, set_alpha_to_one=True, **shared)
        scheduler.alphas_cumprod = alphas  # theirs are in single precision
        options = {"eta": eta}
    else:
        kind = "sde-dpmsolver++" if solver == "sde_dpm_solver" else "dpmsolver++"
        scheduler = DPMSolverMultistepScheduler(
            TIMESTEPS, algorithm_type=kind, solver_order=2, final_sigmas_type="zero", **shared
        )
        scheduler.alphas_cumprod = alphas
        options = {}
    scheduler.set_timesteps(steps)
    sample = noises[0].double()
    for i, step in enumerate(taken):
        with torch.inference_mode():
            output = denoiser(sample.float(), diffusion.noise_level(torch.full((2,), step.t)), mask).double()
        fresh = noises[min(i + 1, steps - 1)].double()
        sample = scheduler.step(output, step.t, sample, variance_noise=fresh, **options).prev_sample
    torch.testing.assert_close(found.double(), sample, atol=2e-4, rtol=2e-3)
