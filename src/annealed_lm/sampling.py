"""Drawing latents from the trained diffusion (DDIM, Song et al. 2021, arXiv 2010.02502), with classifier-free guidance where it
is conditioned on classes."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from annealed_lm.denoiser import DenoisingTransformer
from annealed_lm.diffusion import Denoiser, GaussianDiffusion
from annealed_lm.errors import InputError
from annealed_lm.latents import LatentStatistics
from annealed_lm.seeds import generator


def ddim_timesteps(timesteps: int, sampling_timesteps: int) -> list[tuple[int, int]]:
    """(t, next t) from T - 1 down to -1, which stands for x_start, in `sampling_timesteps` even strides."""
    grid = torch.linspace(-1, timesteps - 1, sampling_timesteps + 1, dtype=torch.float64).round().long().flip(0).tolist()
    return list(pairwise(grid))


def ddim_step(
    diffusion: GaussianDiffusion, x_start: Tensor, noise: Tensor, next_t: int, t: int, eta: float, fresh: Tensor
) -> Tensor:
    """x at `next_t` from what the network says at `t` (equations 12 and 16); eta 1 is ancestral sampling, eta 0 adds no noise."""
    alpha, next_alpha = diffusion.alphas_cumprod[t], diffusion.alphas_cumprod[next_t]
    sigma = eta * ((1 - alpha / next_alpha) * (1 - next_alpha) / (1 - alpha)).sqrt()
    direction = (1 - next_alpha - sigma**2).clamp(min=0).sqrt()
    return next_alpha.sqrt().float() * x_start + direction.float() * noise + sigma.float() * fresh


def guided(denoiser: Denoiser, num_classes: int, guidance_weight: float) -> Denoiser:
    """The denoiser moved away from what it says without a class: uncond + guidance_weight * (cond - uncond); with weight 1 it is
    the denoiser itself.

    Classifier-free guidance (Ho & Salimans 2022, arXiv 2207.12598, equation 6, whose w is guidance_weight - 1). What a network's
    output says of x_start and of the noise is affine in it, so mixing outputs mixes both. The two evaluations run as one batch
    and read the same self_cond.

    Args:
        denoiser: trained on classes, some of them withheld; `num_classes` as class_id tells it of none.

    Raises:
        InputError: guidance, and no classes to guide towards.
    """
    if guidance_weight == 1:
        return denoiser
    if not num_classes:
        raise InputError(
            f"sample_texts.guidance_weight = {guidance_weight:g} guides towards a class, and the model knows none: "
            "it must be 1, or the model trained with train_diffusion.class_conditional: true"
        )

    def evaluate(x_t: Tensor, noise_level: Tensor, mask: Tensor, self_cond: Tensor | None, class_id: Tensor | None) -> Tensor:
        assert class_id is not None  # there is nothing to guide towards without
        classes = torch.cat([class_id, torch.full_like(class_id, num_classes)])
        twice = None if self_cond is None else torch.cat([self_cond, self_cond])
        output = denoiser(torch.cat([x_t, x_t]), torch.cat([noise_level, noise_level]), torch.cat([mask, mask]), twice, classes)
        cond, uncond = output.chunk(2)
        return uncond + guidance_weight * (cond - uncond)

    return evaluate


@torch.inference_mode()
def ddim_sample(
    diffusion: GaussianDiffusion,
    denoiser: Denoiser,
    mask: Tensor,
    draw_noise: Callable[[], Tensor],
    sampling_timesteps: int,
    eta: float,
    class_id: Tensor | None,
) -> Tensor:
    """x_start [batch, length, width] from noise; each step is conditioned on the x_start of the step before.

    Args:
        mask: [batch, length], True: real.
        draw_noise: fresh standard normal noise [batch, length, width], called once a step.
        class_id: int64 [batch]; None: no text has a class.
    """
    x_t = draw_noise()
    x_start: Tensor | None = None
    for t, next_t in ddim_timesteps(diffusion.timesteps, sampling_timesteps):
        batch_t = torch.full((len(mask),), t, device=mask.device)
        prediction = diffusion.predict(denoiser, x_t, batch_t, mask, x_start, class_id)
        x_start = prediction.x_start
        if next_t >= 0:
            x_t = ddim_step(diffusion, x_start, prediction.noise, next_t, t, eta, draw_noise())
    assert x_start is not None  # there is at least one step
    return x_start


def per_text_noise(
    indices: Sequence[int], lengths: Sequence[int], width: int, seed: int, device: torch.device
) -> Callable[[], Tensor]:
    """A source of noise [batch, longest, width] in which that of text i depends on (seed, i) and its length only."""
    sources = [generator("cpu", seed, "sample", index) for index in indices]

    def draw() -> Tensor:
        noise = torch.zeros(len(sources), max(lengths), width)
        for row, (source, length) in enumerate(zip(sources, lengths, strict=True)):
            noise[row, :length] = torch.randn(length, width, generator=source)
        return noise.to(device)

    return draw


def sample_latents(
    diffusion: GaussianDiffusion,
    denoiser: DenoisingTransformer,
    statistics: LatentStatistics,
    lengths: Sequence[int],
    *,
    seed: int,
    batch_size: int,
    sampling_timesteps: int,
    eta: float,
    device: torch.device,
    class_ids: Sequence[int] | None,
    guidance_weight: float,
) -> list[npt.NDArray[np.float32]]:
    """Latents [length, latent_dim] of one text for each length, not normalised; that of text i depends on (seed, i) only, and on
    its class.

    Args:
        class_ids: of each text, for a model that knows classes; None: no text has a class.
        guidance_weight: of `guided`; anything but 1 needs `class_ids`.

    Raises:
        InputError: guidance of a model without classes.
    """
    evaluated = guided(denoiser, denoiser.settings.num_classes, guidance_weight)
    width = statistics.mean.shape[1]
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    latents: dict[int, npt.NDArray[np.float32]] = {}
    for start in tqdm(range(0, len(order), batch_size), desc="sampling", disable=None):
        indices = order[start : start + batch_size]
        batch_lengths = [lengths[i] for i in indices]
        mask = torch.arange(max(batch_lengths), device=device) < torch.tensor(batch_lengths, device=device)[:, None]
        draw = per_text_noise(indices, batch_lengths, width, seed, device)
        class_id = None if class_ids is None else torch.tensor([class_ids[i] for i in indices], device=device)
        x_start = ddim_sample(diffusion, evaluated, mask, draw, sampling_timesteps, eta, class_id)
        for i, row in zip(indices, statistics.unnormalise(x_start).cpu(), strict=True):
            latents[i] = row[: lengths[i]].numpy()
    return [latents[i] for i in range(len(lengths))]
