"""Latents -> models/diffusion, models/snapshots and data/curves: the denoiser trained on t from the annealed diffusion range."""

import annealed_lm.common.offline  # noqa: F401, I001  (first: the model libraries read it when they are imported)

import argparse
import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path

import torch
from accelerate import Accelerator

from annealed_lm.training.processes import make_accelerator, require_compiler, start_processes
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.training.checkpoints import CheckpointStore, resume_folder
from annealed_lm.training.descriptions import Ingredients, TrainingDescription
from annealed_lm.config.config import Config, load_config, settings_from
from annealed_lm.diffusion.denoiser import DenoiserSettings, DenoisingTransformer
from annealed_lm.diffusion.model import DiffusionModel, ProcessSettings
from annealed_lm.autoencoder.encoding import EncodedTexts
from annealed_lm.common.errors import InputError, one_sentence_errors
from annealed_lm.common.files import atomic_path, read_json, read_texts, write_json, write_tsv
from annealed_lm.diffusion.denoiser import training_flops
from annealed_lm.autoencoder.latents import LatentIndex, LatentSet, LatentSource, nearest_source
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.annealing.weights import TimestepWeights, WeightSettings
from annealed_lm.annealing.settings import ScheduleSettings
from annealed_lm.common.seeds import derive_seed
from annealed_lm.annealing.timesteps import make_timestep_sampler
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.training.trackers import tracking
from annealed_lm.trainers.denoiser import DiffusionTrainer, DiffusionTraining, Rows
from annealed_lm.trainers.validation import FixedValidation


def class_labels(config: Config, latents: Path) -> tuple[str, ...]:
    """Names of the classes that the model is to know; none for an unconditional one.

    Raises:
        InputError: a conditional model, and texts without labels.
    """
    if not config.train_diffusion.class_conditional:
        return ()
    labels = read_json(latents / "latents.json")["labels"]
    if not labels:
        raise InputError(
            f"train_diffusion.class_conditional = true needs labels, which the texts of {latents} do not have: "
            "those of dataset_name restaurants, sst2 and ag_news have"
        )
    return tuple(labels)


def training_latents(config: Config, folder: Path, texts: Path, autoencoder: Path, accelerator: Accelerator) -> LatentSource:
    """The latents of the training texts: those of a folder, or encoded when they are asked for."""
    if config.encode_latents.train_latents == "on_the_fly":
        encoder = Autoencoder.load(autoencoder).requires_grad_(False).to(accelerator.device)
        ids = tokenize(encoder.tokenizer, read_texts(texts / "train.jsonl"), encoder.settings.max_tokens)
        padded = config.train_diffusion.batching == "padded"
        return EncodedTexts(encoder, ids, LatentIndex.load(folder, "train"), padded, accelerator.autocast)
    return nearest_source(LatentSet.load(folder, "train"), accelerator.device)


def make_trainer(
    config: Config, num_classes: int, train: LatentSource, latents: Path, accelerator: Accelerator
) -> tuple[DiffusionTrainer, FixedValidation, ProcessSettings]:
    """The training of params.yaml on latents, its validation on those of a folder, and the process that it trains for."""
    section = config.train_diffusion
    self_condition = section.self_condition > 0
    shape = read_json(latents / "latents.json")
    statistics = LatentStatistics.load(latents) if section.normalize_latent else LatentStatistics.identity(shape["latent_dim"])
    process = settings_from(section, ProcessSettings)
    diffusion = process.process(accelerator.device)
    varied = {"T_schedule": config.T_schedule, "power": config.power, "total_steps": section.num_train_steps}
    schedule = settings_from(section, ScheduleSettings, **varied)
    sampler = make_timestep_sampler(schedule)
    weights = TimestepWeights(settings_from(section, WeightSettings), schedule.alphas_cumprod())
    sizes = {"latent_dim": shape["latent_dim"], "max_length": shape["max_length"], "num_classes": num_classes}
    torch.manual_seed(derive_seed(config.random_seed, "weights"))
    denoiser = DenoisingTransformer(settings_from(section, DenoiserSettings, self_condition=self_condition, **sizes))
    training = settings_from(section, DiffusionTraining, optimizer=config.optimizer, random_seed=config.random_seed)
    valid = LatentSet.load(latents, "valid")
    trainer = DiffusionTrainer(denoiser, diffusion, sampler, weights, train, statistics, training, accelerator)
    return trainer, FixedValidation(diffusion, valid, statistics, self_condition, num_classes > 0, accelerator.device), process


def save_curves(folder: Path, curves: Mapping[str, Rows], trainer: DiffusionTrainer) -> dict[str, float]:
    """Write each curve as a table, and where they ended and what a step takes, which are returned."""
    network, training, lengths = trainer.denoiser, trainer.training, trainer.latents.index.lengths.tolist()
    flops_of_text = training_flops(network, lengths, training.self_condition) / len(lengths)
    final = {
        "train_loss": curves["training"][-1]["loss"],
        "validation_loss": curves["validation"][-1]["loss"],
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "flops_per_step": flops_of_text * training.train_batch_size,
    }
    with atomic_path(folder) as partial:
        partial.mkdir()
        for name, rows in curves.items():
            write_tsv(partial / f"{name}.tsv", rows)
        write_json(partial / "training.json", final)
    return final


def train(
    trainer: DiffusionTrainer,
    validation: FixedValidation,
    model: DiffusionModel,
    store: CheckpointStore,
    args: argparse.Namespace,
) -> dict[str, float]:
    """Train to the end and write the outputs, in one process or, of several, in the first; where the curves ended."""
    snapshots = store.folder / "snapshots"
    curves = trainer.run(store, validation, lambda step: model.save(snapshots / f"{step:06d}"))
    if not trainer.processes.is_main:
        return {}
    model.save(args.out)
    with atomic_path(args.snapshots) as partial:
        shutil.copytree(snapshots, partial, ignore=shutil.ignore_patterns(".*"))  # what a killed run was writing
    final = save_curves(args.curves, curves, trainer)
    store.remove()
    return final


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "texts", "autoencoder", "latents", "resume", "trackers", "out", "snapshots", "curves"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    start_processes(config.train_diffusion.num_processes)
    parameters = {
        "T_schedule": config.T_schedule,
        "power": config.power,
        "optimizer": config.optimizer,
        "random_seed": config.random_seed,
        "train_latents": config.encode_latents.train_latents,
        **config.train_diffusion.model_dump(),
    }
    inputs = {"latents": args.latents}
    if config.encode_latents.train_latents == "on_the_fly":
        inputs |= {"texts": args.texts, "autoencoder": args.autoencoder}
    ingredients = Ingredients.of(Path(__file__), parameters, inputs)
    run = os.environ.get("DVC_EXP_NAME", ingredients.key)
    if config.train_diffusion.compile:
        require_compiler()
    accelerator = make_accelerator(config.train_diffusion.mixed_precision, config.trackers, resume_folder(args.trackers) / run)
    labels = class_labels(config, args.latents)
    latents = training_latents(config, args.latents, args.texts, args.autoencoder, accelerator)
    trainer, validation, process = make_trainer(config, len(labels), latents, args.latents, accelerator)
    model = DiffusionModel(trainer.averaged_denoiser(), process, labels)
    trains = f"denoiser: {config.T_schedule}, {config.optimizer}, seed {config.random_seed}"
    described = TrainingDescription(Path(__file__).stem, trains, config.train_diffusion.num_train_steps, ingredients)
    store = CheckpointStore(resume_folder(args.resume) / ingredients.key, described)
    with store.held() if trainer.processes.is_main else nullcontext(), tracking(accelerator, run, parameters):
        final = train(trainer, validation, model, store, args)
    print(", ".join(f"{name} {value:.6g}" for name, value in final.items()), end="\n" if final else "")


if __name__ == "__main__":
    with one_sentence_errors():
        main()
