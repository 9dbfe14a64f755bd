"""Variations of a latent: noised to a level, and denoised again (SDEdit, Meng et al. 2022, arXiv 2108.01073)."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from annealed_lm.autoencoder.latents import Floats
from annealed_lm.common.devices import autocast
from annealed_lm.common.errors import InputError
from annealed_lm.diffusion.process import GaussianDiffusion
from annealed_lm.generation.sampling import SamplingSettings, autoguided, per_text_noise, take_steps
from annealed_lm.generation.solvers import SolverStep
from annealed_lm.generation.texts import TextSampler


def steps_below(diffusion: GaussianDiffusion, noise_level: float, settings: SamplingSettings) -> list[SolverStep]:
    """Return the sampler's steps from the last timestep on whose noise is at most `noise_level`.

    Raises:
        InputError: there is none.
    """
    if steps := settings.steps(diffusion, from_level=noise_level):
        return steps
    last = settings.steps(diffusion)[-1]
    raise InputError(
        f"noise_level = {noise_level:g} is below the noise of all {settings.sampling_timesteps} sampling steps, at least "
        f"{float((1 - diffusion.alphas_cumprod[last.t]).sqrt()):.2g}: raise it, or take more steps"
    )


def starting_with(first: Tensor, later: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """Return a source that gives `first` at the first call, and what `later` gives at all others."""

    def values() -> Iterator[Tensor]:
        yield first
        while True:
            yield later()

    return values().__next__


@torch.inference_mode()
def vary_latents(
    sampler: TextSampler, latents: Floats, count: int, noise_level: float, seed: int, settings: SamplingSettings
) -> list[Floats]:
    """Return `count` variations [length, latent_dim] of latents of that shape, at the noise level where the decoder takes over.

    Neither is normalised. Variation i depends on (seed, i). A model that knows classes is told none.

    Args:
        noise_level: standard deviation of the noise at the start, where signal and noise have a sum of squares of 1.

    Raises:
        InputError: the level is below the noise of all steps.
    """
    model, device = sampler.model, sampler.device
    diffusion = model.process.diffusion(device, sampler.statistics.rms)
    steps = steps_below(diffusion, noise_level, settings)
    denoiser = autoguided(model.denoiser, model.guide, settings.autoguidance_weight)
    x_start = sampler.statistics.normalise(torch.from_numpy(latents).to(device))
    varied: list[Floats] = []
    for begin in range(0, count, settings.batch_size):
        indices = range(begin, min(begin + settings.batch_size, count))
        rows = x_start.expand(len(indices), -1, -1)
        noise = per_text_noise(indices, [len(latents)] * len(indices), latents.shape[1], seed, device)
        start = diffusion.q_sample(rows, torch.full((len(indices),), steps[0].t, device=device), noise())
        mask = torch.ones(rows.shape[:2], dtype=torch.bool, device=device)
        with autocast(device, settings.mixed_precision):
            sampled = take_steps(diffusion, denoiser, mask, starting_with(start, noise), steps, None)
        varied += list(sampler.statistics.unnormalise(sampled).cpu().numpy())
    return varied
