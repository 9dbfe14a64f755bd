"""Latents -> models/diffusion, models/snapshots and data/curves: the denoiser trained on t from the annealed diffusion range."""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
import os
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from annealed_lm.autoencoder.encoding import EncodedTexts
from annealed_lm.autoencoder.latents import LatentIndex, LatentSet, LatentSource, nearest_source
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.common.errors import InputError, one_sentence_errors, tell
from annealed_lm.common.files import atomic_path, is_whole, read_json, read_texts, seal, write_json, write_tsv
from annealed_lm.common.machine import describe_machine
from annealed_lm.config.config import Config, load_config, require_unchanged, schedule_settings
from annealed_lm.config.effects import decisive
from annealed_lm.diffusion.denoiser import training_flops
from annealed_lm.diffusion.model import DiffusionModel, kept_models
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.trainers.assembly import LatentShape, Varied, make_trainer, process_settings
from annealed_lm.trainers.denoiser import DiffusionTrainer, train_denoiser
from annealed_lm.trainers.records import Rows, TrainingRecords
from annealed_lm.trainers.validation import FixedValidation
from annealed_lm.training.checkpoints import CheckpointStore, damage, resume_folder
from annealed_lm.training.descriptions import Ingredients, TrainingDescription
from annealed_lm.training.live_curves import LiveCurves
from annealed_lm.training.processes import make_accelerator, require_compiler, start_processes
from annealed_lm.training.trackers import tracking


def class_labels(config: Config, latents: Path) -> tuple[str, ...]:
    """Return the names of the classes that the model is to know; none for an unconditional one.

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
    """Return the latents of the training texts: those of a folder, or encoded when a batch needs them."""
    if config.encode_latents.train_latents == "on_the_fly":
        encoder = Autoencoder.load(autoencoder).requires_grad_(False).to(accelerator.device)
        ids = tokenize(encoder.tokenizer, read_texts(texts / "train.jsonl"), encoder.settings.max_tokens)
        return EncodedTexts(encoder, ids, LatentIndex.load(folder, "train"), accelerator.autocast)
    return nearest_source(LatentSet.load(folder, "train"), accelerator.device)


def assemble(
    config: Config, args: argparse.Namespace, accelerator: Accelerator
) -> tuple[DiffusionTrainer, FixedValidation, DiffusionModel]:
    """Return the training of params.yaml, its validation, and the model that it leaves."""
    section, described = config.train_diffusion, read_json(args.latents / "latents.json")
    labels = class_labels(config, args.latents)
    latents = training_latents(config, args.latents, args.texts, args.autoencoder, accelerator)
    shape = LatentShape(described["latent_dim"], described["max_length"], len(labels))
    statistics = LatentStatistics.load(args.latents)
    if not section.normalize_latent:
        statistics = statistics.changing_nothing()
    varied = Varied(config.T_schedule, config.power, config.optimizer, config.random_seed)
    trainer = make_trainer(section, varied, shape, latents, statistics, accelerator)
    process = process_settings(section, schedule_settings(section, config.T_schedule, config.power))
    valid, self_condition = LatentSet.load(args.latents, "valid"), section.self_condition > 0
    validation = FixedValidation(trainer.diffusion, valid, statistics, self_condition, bool(labels), accelerator.device)
    return trainer, validation, DiffusionModel(trainer.averaged_denoiser(), process, labels)


def training_parameters(config: Config) -> dict[str, Any]:
    """Return the parameters of the training, by name."""
    return {
        "T_schedule": config.T_schedule,
        "power": config.power,
        "optimizer": config.optimizer,
        "random_seed": config.random_seed,
        "train_latents": config.encode_latents.train_latents,
        **config.train_diffusion.model_dump(),
    }


def training_inputs(config: Config, args: argparse.Namespace) -> dict[str, Path]:
    """Return the folders that decide the result of the training, by name."""
    if config.encode_latents.train_latents == "on_the_fly":
        return {"latents": args.latents, "texts": args.texts, "autoencoder": args.autoencoder}
    return {"latents": args.latents}


def save_curves(folder: Path, curves: Mapping[str, Rows], trainer: DiffusionTrainer) -> dict[str, float]:
    """Write every curve as a table, and the machine; write and return where the curves ended and what a step takes."""
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
        write_json(partial / "machine.json", describe_machine(trainer.accelerator.device))
    return final


def copy_snapshots(folder: Path, target: Path) -> None:
    """Copy the models that were kept along the training, perhaps by runs before this one.

    Raises:
        InputError: one is no longer what was kept.
    """
    for snapshot in sorted(folder.glob("[!.]*")):
        if not is_whole(snapshot):
            raise InputError(f"{snapshot} {damage(folder.parent)}")
    with atomic_path(target) as partial:
        shutil.copytree(folder, partial, ignore=shutil.ignore_patterns(".*"))  # seals, and what a killed run was writing


def train(
    trainer: DiffusionTrainer,
    validation: FixedValidation,
    model: DiffusionModel,
    store: CheckpointStore,
    args: argparse.Namespace,
    watched: Path,
) -> dict[str, float]:
    """Train to the end, write the outputs and return where the curves ended.

    Of several processes only the first writes and returns anything.

    Args:
        watched: folder for curves that grow while it trains.
    """
    snapshots = store.folder / "snapshots"

    def save_snapshot(step: int) -> None:
        model.save(snapshots / f"{step:06d}")
        seal(snapshots / f"{step:06d}")

    records = TrainingRecords(trainer.accelerator, validation, save_snapshot, LiveCurves(watched))
    curves = train_denoiser(trainer, records, store)
    if not trainer.processes.is_main:
        return {}
    copy_snapshots(snapshots, args.snapshots)
    replace(model, guide=DiffusionModel.load(kept_models(args.snapshots)[0]).denoiser).save(args.out)
    final = save_curves(args.curves, curves, trainer)
    require_unchanged(args.params)
    store.remove()
    return final


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("params", "texts", "autoencoder", "latents", "resume", "trackers", "out", "snapshots", "curves"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    args = parser.parse_args()
    config = load_config(args.params)
    start_processes(config.train_diffusion.num_processes)
    parameters = training_parameters(config)
    ingredients = Ingredients.of(Path(__file__), decisive("train_diffusion", parameters), training_inputs(config, args))
    run = os.environ.get("DVC_EXP_NAME", ingredients.key)
    if config.train_diffusion.compile:
        require_compiler()
    watched = resume_folder(args.trackers) / run
    accelerator = make_accelerator(config.train_diffusion.mixed_precision, config.trackers, watched)
    trainer, validation, model = assemble(config, args, accelerator)
    trains = f"denoiser: {config.T_schedule}, {config.optimizer}, seed {config.random_seed}"
    description = TrainingDescription(Path(__file__).stem, trains, config.train_diffusion.num_train_steps, ingredients)
    store = CheckpointStore(resume_folder(args.resume) / ingredients.key, description)
    with store.held() if trainer.processes.is_main else nullcontext(), tracking(accelerator, run, parameters):
        if trainer.processes.is_main:
            tell(f"curves as they grow: {args.trackers / run}/*.tsv")
        final = train(trainer, validation, model, store, args, watched)
    if final:
        tell(f"validation loss {final['validation_loss']:.4g}, {final['parameters']:,} parameters")


if __name__ == "__main__":
    with one_sentence_errors():
        main()
