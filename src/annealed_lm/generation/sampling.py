"""Sampling latents from the trained diffusion, moved away from what a worse model says where it is guided."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from tqdm import tqdm

from annealed_lm.common.devices import autocast
from annealed_lm.common.errors import InputError
from annealed_lm.common.seeds import generator
from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.diffusion.noise_schedules import below_every_timestep, lowest_level, noise_levels, rounded_up, timesteps_above
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.diffusion.process import Denoiser, GaussianDiffusion
from annealed_lm.generation.solvers import SolverStep, solver_steps

CALLS_AT_ONCE = {"cpu": 1, "cuda": 16}
"""By kind of device: for how many calls `per_text_noise` draws a text's noise at once. A GPU is as fast with many numbers."""


def autoguided(denoiser: Denoiser, guide: Denoiser | None, autoguidance_weight: float) -> Denoiser:
    """Return the denoiser moved away from what a worse one of its kind says: guide + autoguidance_weight * (denoiser - guide);
    with weight 1 it is the denoiser itself.

    Autoguidance (Karras et al. 2024, arXiv 2406.02507, section 4). Both evaluations read the same self_cond.

    Args:
        guide: trained as the denoiser was, but less.

    Raises:
        InputError: guidance, and nothing to move away from.
    """
    if autoguidance_weight == 1:
        return denoiser
    if guide is None:
        raise InputError(
            f"sample_texts.autoguidance_weight = {autoguidance_weight:g} moves away from an earlier model of the training, and "
            "this diffusion model was saved without one: train it again, or set 1"
        )

    def evaluate(x_t: Tensor, noise_level: Tensor, mask: Tensor, self_cond: Tensor | None, class_id: Tensor | None) -> Tensor:
        strong, weak = (each(x_t, noise_level, mask, self_cond, class_id).float() for each in (denoiser, guide))
        return weak + autoguidance_weight * (strong - weak)

    return evaluate


def guided(denoiser: Denoiser, num_classes: int, guidance_weight: float) -> Denoiser:
    """Return the denoiser moved away from what it says without a class: uncond + guidance_weight * (cond - uncond); with
    weight 1 it is the denoiser itself.

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
        cond, uncond = output.float().chunk(2)  # their difference is small beside them
        return uncond + guidance_weight * (cond - uncond)

    return evaluate


@torch.inference_mode()
def take_steps(
    diffusion: GaussianDiffusion,
    denoiser: Denoiser,
    mask: Tensor,
    noise: Callable[[], Tensor],
    steps: Sequence[SolverStep],
    class_id: Tensor | None,
) -> Tensor:
    """Return the latents where the steps end, [batch, length, width]: x_start, or x_t where decoding takes over.

    Every evaluation of the network is conditioned on the x_start of the one before.

    Args:
        mask: [batch, length], True: real.
        noise: standard normal noise [batch, length, width], fresh at each call: to start from, then to be added in each step.
        steps: of `solver_steps`; the first begins at noise.
        class_id: int64 [batch]; None: no text has a class.
    """
    x_t = noise()
    previous: Tensor | None = None
    for step in steps:
        t = torch.full((len(mask),), step.t, device=mask.device)
        x_start = diffusion.predict(denoiser, x_t, t, mask, previous, class_id).x_start
        x_t = step.x_t * x_t + step.x_start * x_start
        if step.previous and previous is not None:
            x_t += step.previous * previous
        if step.noise:
            x_t += step.noise * noise()
        previous = x_start
    return x_t


def per_text_noise(
    indices: Sequence[int], lengths: Sequence[int], width: int, seed: int, device: torch.device
) -> Callable[[], Tensor]:
    """Return a source of standard normal noise [batch, longest, width], padded with zeros, other noise at each call; what text i
    gets at the k-th call depends on (seed, i), its length and k, not on the batch.

    One generator a text, as in edm2 (Karras et al. 2024, arXiv 2312.02696, its StackedRandomGenerator). On a CPU torch reads 32
    bits of a seed, so that of n texts about n^2 / 2^33 pairs share their noise: not one among thousands.
    """
    generators = [generator(device, seed, "sample", index) for index in indices]
    calls = CALLS_AT_ONCE[device.type]

    def noise() -> Iterator[Tensor]:
        while True:
            rows = torch.zeros(calls, len(generators), max(lengths), width, device=device)
            for row, length, own in zip(rows.unbind(1), lengths, generators, strict=True):
                fill(row[:, :length], own)
            yield from rows

    return partial(next, noise())


def fill(rows: Tensor, own: torch.Generator) -> None:
    """Fill `rows` with normal noise, the same whether they lie in one piece or in several within a larger tensor."""
    if rows.is_contiguous():
        rows.normal_(generator=own)
    else:  # whose order of filling a device is free to choose
        rows.copy_(torch.randn(rows.shape, generator=own, device=rows.device))


@dataclass(frozen=True)
class SamplingSettings:
    """The parameters of the stage sample_texts that decide how latents are sampled, under their names in params.yaml.

    Attributes:
        batch_size: texts at once; it changes nothing beyond rounding.
        mixed_precision: of the denoiser, a name in `PRECISIONS`; all else is in single precision.
        solver, spacing: names in `SOLVERS` and `SPACINGS`.
        sampling_timesteps: evaluations of the network, from noise to `decode_at`.
        ddim_sampling_eta: of the solver ddim.
        decode_at: the noise level at which sampling ends and the decoder takes over; 0: at x_start.
        guidance_weight: of `guided`; anything but 1 needs classes.
        autoguidance_weight: of `autoguided`; anything but 1 needs a guide.
    """

    batch_size: int
    mixed_precision: str
    solver: str
    spacing: str
    sampling_timesteps: int
    ddim_sampling_eta: float
    decode_at: float
    guidance_weight: float
    autoguidance_weight: float

    @property
    def evaluations(self) -> int:
        """How often the network is evaluated for one text."""
        doublings = sum(weight != 1 for weight in (self.guidance_weight, self.autoguidance_weight))
        return self.sampling_timesteps << doublings

    def steps(self, diffusion: GaussianDiffusion, from_level: float = 1.0) -> list[SolverStep]:
        """Return the steps that a diffusion is sampled in; those that begin at more noise than `from_level` are left out.

        Raises:
            InputError: they would go through timesteps that the network does not know, or are more than there are.
        """
        alphas_cumprod = diffusion.alphas_cumprod.cpu().numpy()
        lowest = lowest_level(alphas_cumprod, diffusion.first_timestep)
        if self.decode_at < lowest:
            raise InputError(
                f"decode_at = {self.decode_at:g} is less noise than the denoiser was trained down to: it should be at least "
                f"{rounded_up(lowest):g}"
            )
        if below_every_timestep(alphas_cumprod, self.decode_at):
            raise InputError(
                f"decode_at = {self.decode_at:g} is less noise than x_t has at t = 0: it should be 0 or at least "
                f"{rounded_up(noise_levels(alphas_cumprod)[0]):g}"
            )
        most = timesteps_above(alphas_cumprod, self.decode_at)
        if self.sampling_timesteps > most:
            raise InputError(
                f"sampling_timesteps = {self.sampling_timesteps} is more than the {most} timesteps above decode_at = "
                f"{self.decode_at:g}"
            )
        grid = (self.solver, self.spacing, self.sampling_timesteps, self.ddim_sampling_eta, self.decode_at)
        return solver_steps(alphas_cumprod, *grid, from_level)


def sample_latents(
    diffusion: GaussianDiffusion,
    denoiser: DenoisingTransformer,
    statistics: LatentStatistics,
    lengths: Sequence[int],
    class_ids: Sequence[int] | None,
    settings: SamplingSettings,
    seed: int,
    guide: DenoisingTransformer | None = None,
) -> list[npt.NDArray[np.float32]]:
    """Sample latents [length, latent_dim] of one text for every length, not normalised, on the device of `diffusion`.

    They are x_start, or x_t at the noise level `settings.decode_at`. Those of text i depend on (seed, i) only, and on its class.

    Args:
        class_ids: of the texts, for a model that knows classes; None: no text has a class.
        guide: of `autoguided`.

    Raises:
        InputError: guidance of a model without classes, autoguidance without a guide, or the device cannot compute in
            this precision.
    """
    device, batch_size = diffusion.alphas_cumprod.device, settings.batch_size
    evaluated = autoguided(denoiser, guide, settings.autoguidance_weight)
    evaluated = guided(evaluated, denoiser.settings.num_classes, settings.guidance_weight)
    steps, width = settings.steps(diffusion), statistics.mean.shape[1]
    order = sorted(range(len(lengths)), key=lambda i: lengths[i])
    latents: dict[int, npt.NDArray[np.float32]] = {}
    for start in tqdm(range(0, len(order), batch_size), desc="sampling", disable=None):
        indices = order[start : start + batch_size]
        batch_lengths = [lengths[i] for i in indices]
        mask = torch.arange(max(batch_lengths), device=device) < torch.tensor(batch_lengths, device=device)[:, None]
        noise = per_text_noise(indices, batch_lengths, width, seed, device)
        class_id = None if class_ids is None else torch.tensor([class_ids[i] for i in indices], device=device)
        with autocast(device, settings.mixed_precision):  # of the network: sums and products of tensors stay float32
            x_t = take_steps(diffusion, evaluated, mask, noise, steps, class_id)
        for i, row in zip(indices, statistics.unnormalise(x_t).cpu(), strict=True):
            latents[i] = row[: lengths[i]].numpy()
    return [latents[i] for i in range(len(lengths))]
