"""A trained diffusion on disk: the averaged weights and all that is needed to sample from them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from annealed_lm.common.errors import InputError
from annealed_lm.common.files import atomic_path, read_json, write_json
from annealed_lm.diffusion.denoiser import DenoiserSettings, DenoisingTransformer
from annealed_lm.diffusion.process import GaussianDiffusion

DESCRIPTION = "diffusion.json"
WEIGHTS = "denoiser.safetensors"
GUIDE = "guide.safetensors"


@dataclass(frozen=True)
class ProcessSettings:
    """The arguments of `GaussianDiffusion`, and whether it works on normalised latents.

    Attributes:
        first_timestep: the lowest that the network was trained on.
    """

    noise_schedule: str
    timesteps: int
    tan_d: float
    objective: str
    loss_type: str
    normalize_latent: bool
    first_timestep: int

    def diffusion(self, device: torch.device | str, latent_rms: float = 1.0) -> GaussianDiffusion:
        """Return the process, with its tables on `device`, for latents of this root mean square."""
        schedule = (self.noise_schedule, self.timesteps, self.tan_d)
        return GaussianDiffusion(*schedule, self.objective, self.loss_type, device, latent_rms, self.first_timestep)


@dataclass(frozen=True)
class DiffusionModel:
    """A network and its process.

    Attributes:
        labels: the names of the network's classes, none if it is unconditional.
        guide: the network after less of the same training, which `autoguided` moves away from; None: none was kept.
    """

    denoiser: DenoisingTransformer
    process: ProcessSettings
    labels: tuple[str, ...]
    guide: DenoisingTransformer | None = None

    def save(self, folder: Path) -> None:
        """Write the weights and all settings to `folder`."""
        with atomic_path(folder) as partial:
            partial.mkdir()
            for name, network in {WEIGHTS: self.denoiser, GUIDE: self.guide}.items():
                if network is not None:
                    weights = {key: weight.contiguous() for key, weight in network.state_dict().items()}
                    save_file(weights, partial / name)
            settings = {"denoiser": asdict(self.denoiser.settings), "process": asdict(self.process)}
            write_json(partial / DESCRIPTION, settings | {"labels": list(self.labels)})

    @classmethod
    def load(cls, folder: Path) -> "DiffusionModel":
        """Read what `save` wrote, in evaluation mode.

        Raises:
            InputError: `folder` holds no diffusion model.
        """
        if not (folder / DESCRIPTION).exists():
            raise InputError(f"{folder} holds no diffusion model ({DESCRIPTION} is missing); the stage train_diffusion writes it")
        description = read_json(folder / DESCRIPTION)
        settings = {"tx_position": "bias"} | description["denoiser"]  # which models do not say that know nothing else
        guide = load_network(settings, folder / GUIDE) if (folder / GUIDE).exists() else None
        denoiser, process = load_network(settings, folder / WEIGHTS), ProcessSettings(**description["process"])
        return cls(denoiser, process, tuple(description["labels"]), guide)


def kept_models(snapshots: Path) -> list[Path]:
    """Return the folders of the models that were kept along a training, each named by its step, from the first on."""
    return sorted(snapshots.iterdir(), key=lambda model: int(model.name))


def load_network(settings: Mapping[str, Any], weights: Path) -> DenoisingTransformer:
    """Return the network of these settings and weights, in evaluation mode."""
    network = DenoisingTransformer(DenoiserSettings(**settings))
    network.load_state_dict(load_file(weights))
    return network.eval()
