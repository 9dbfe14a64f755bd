"""The training of the denoiser that params.yaml describes, put together out of its parts."""

from dataclasses import asdict, dataclass

import torch
from accelerate import Accelerator

from annealed_lm.annealing.drawing import Timesteps
from annealed_lm.annealing.settings import ScheduleSettings
from annealed_lm.annealing.weights import WeightSettings
from annealed_lm.autoencoder.latents import LatentSource
from annealed_lm.common.seeds import derive_seed
from annealed_lm.config.config import schedule_settings, settings_from
from annealed_lm.config.sections import TrainDiffusion
from annealed_lm.diffusion.denoiser import DenoiserSettings, DenoisingTransformer
from annealed_lm.diffusion.model import ProcessSettings
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.trainers.denoiser import DiffusionTrainer
from annealed_lm.trainers.updates import DiffusionTraining


@dataclass(frozen=True)
class Varied:
    """What experiments vary: the parameters at the top level of params.yaml that the training reads."""

    T_schedule: str
    power: float
    optimizer: str
    random_seed: int


@dataclass(frozen=True)
class LatentShape:
    """What the denoiser must know of the latents.

    Attributes:
        latent_dim: width of a vector.
        max_length: the most vectors that a text has.
        num_classes: how many labels the denoiser knows; 0: unconditional.
    """

    latent_dim: int
    max_length: int
    num_classes: int


def make_denoiser(section: TrainDiffusion, shape: LatentShape, seed: int) -> DenoisingTransformer:
    """Return an untrained denoiser, its weights drawn by `seed`."""
    torch.manual_seed(derive_seed(seed, "weights"))
    return DenoisingTransformer(
        settings_from(section, DenoiserSettings, self_condition=section.self_condition > 0, **asdict(shape))
    )


def process_settings(section: TrainDiffusion, schedule: ScheduleSettings) -> ProcessSettings:
    """Return the settings of the diffusion that is trained with this schedule."""
    return settings_from(section, ProcessSettings, first_timestep=schedule.first_timestep)


def make_trainer(
    section: TrainDiffusion,
    varied: Varied,
    shape: LatentShape,
    latents: LatentSource,
    statistics: LatentStatistics,
    accelerator: Accelerator,
) -> DiffusionTrainer:
    """Return the training of params.yaml, before its first step.

    Args:
        latents: of the training texts.
        statistics: that normalise them.
    """
    schedule = schedule_settings(section, varied.T_schedule, varied.power)
    return DiffusionTrainer(
        make_denoiser(section, shape, varied.random_seed),
        process_settings(section, schedule).diffusion(accelerator.device, statistics.rms),
        Timesteps(schedule, settings_from(section, WeightSettings)),
        latents,
        statistics,
        settings_from(section, DiffusionTraining, optimizer=varied.optimizer, random_seed=varied.random_seed),
        accelerator,
    )
