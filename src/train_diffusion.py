"""Latents -> models/diffusion and data/curves: the denoiser trained on timesteps from the annealed diffusion range."""

import annealed_lm.offline  # noqa: F401, I001  (first: the model libraries read it when they are imported)

import argparse
from pathlib import Path

import torch

from annealed_lm.annealing import DiffusionRange
from annealed_lm.checkpoints import CheckpointStore, resume_folder, training_key
from annealed_lm.config import load_config
from annealed_lm.denoiser import DenoiserSettings, DenoisingTransformer
from annealed_lm.diffusion_model import DiffusionModel, ProcessSettings
from annealed_lm.errors import one_sentence_errors
from annealed_lm.files import atomic_path, read_json, write_json, write_tsv
from annealed_lm.latents import LatentSet, LatentStatistics
from annealed_lm.seeds import derive_seed
from annealed_lm.timestep_sampling import RangeSampler
from annealed_lm.training import DiffusionTrainer, DiffusionTraining, make_accelerator
from annealed_lm.validation import FixedValidation


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "latents", "resume", "out", "curves"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    section = config.train_diffusion
    accelerator = make_accelerator(section.mixed_precision)
    device = accelerator.device

    shape = read_json(args.latents / "latents.json")
    train, valid = (LatentSet.load(args.latents, split) for split in ("train", "valid"))
    statistics = (
        LatentStatistics.load(args.latents) if section.normalize_latent else LatentStatistics.identity(shape["latent_dim"])
    )
    process_settings = ProcessSettings(
        noise_schedule=section.noise_schedule,
        timesteps=section.timesteps,
        tan_d=section.tan_d,
        objective=section.objective,
        loss_type=section.loss_type,
        normalize_latent=section.normalize_latent,
    )
    diffusion = process_settings.process(device)
    diffusion_range = DiffusionRange(
        T_schedule=config.T_schedule,
        total_steps=section.num_train_steps,
        timesteps=section.timesteps,
        power=config.power,
        start_fraction=section.start_fraction,
        anneal_fraction=section.anneal_fraction,
    )
    torch.manual_seed(derive_seed(config.random_seed, "weights"))
    denoiser = DenoisingTransformer(
        DenoiserSettings(
            latent_dim=shape["latent_dim"],
            max_length=shape["max_length"],
            tx_dim=section.tx_dim,
            tx_depth=section.tx_depth,
            tx_heads=section.tx_heads,
            dropout=section.dropout,
            scale_shift=section.scale_shift,
            self_condition=section.self_condition > 0,
        )
    )
    parameters = {name: value for name, value in section.model_dump().items() if name in DiffusionTraining.__dataclass_fields__}
    training = DiffusionTraining(optimizer=config.optimizer, random_seed=config.random_seed, **parameters)
    trainer = DiffusionTrainer(denoiser, diffusion, RangeSampler(diffusion_range), train, statistics, training, accelerator)
    validation = FixedValidation(diffusion, valid, statistics, section.self_condition > 0, device)
    varied = {
        "T_schedule": config.T_schedule,
        "power": config.power,
        "optimizer": config.optimizer,
        "random_seed": config.random_seed,
    }
    key = training_key(varied | section.model_dump(), inputs=[args.latents], code=[Path(__file__).parent])
    store = CheckpointStore(resume_folder(args.resume) / key)
    with store.held():
        curves = trainer.run(store, validation)
    denoiser.load_state_dict(trainer.ema.module.state_dict())
    DiffusionModel(denoiser.cpu(), process_settings).save(args.out)
    with atomic_path(args.curves) as partial:
        partial.mkdir()
        for name, rows in curves.items():
            write_tsv(partial / f"{name}.tsv", rows)
        final = {
            "train_loss": curves["training"][-1]["loss"],
            "validation_loss": curves["validation"][-1]["loss"],
            "parameters": sum(parameter.numel() for parameter in denoiser.parameters()),
        }
        write_json(partial / "training.json", final)
    store.remove()
    print(", ".join(f"{name} {value:.6g}" for name, value in final.items()))


if __name__ == "__main__":
    with one_sentence_errors():
        main()
