"""Score the trained model at other sampling steps, eta and decoding strategies: its quality-diversity frontier.

Each setting is scored once and kept in --cache, so a sweep goes on after an interruption and grows by the new settings only.
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from collections.abc import Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from annealed_lab.experiments.places import add_places, require_places
from annealed_lm.autoencoder.latents import Floats
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, write_json, write_text, write_tsv
from annealed_lm.common.model_description import weights_sha256
from annealed_lm.config.config import Config, load_config, settings_from
from annealed_lm.diffusion.model import DiffusionModel
from annealed_lm.evaluation.judges import load_same_judges
from annealed_lm.evaluation.references import REFERENCE_ROWS, References
from annealed_lm.evaluation.scores import score_alone, summarise, values_of
from annealed_lm.generation.decoding import STRATEGIES, DecodingSettings
from annealed_lm.generation.solvers import SamplingSettings
from annealed_lm.generation.texts import TextSampler
from annealed_lm.reporting.plots import frontier_figure, save_png
from annealed_lm.reporting.tables import aligned_rows, markdown_table
from annealed_lm.training.descriptions import Ingredients

SHOWN = ("grammatical", "perplexity", "mauve_train", "mauve_valid", "mauve_lm_train", "diversity", "memorization")
INPUTS = ("diffusion", "autoencoder", "latents", "references", "language-model", "judges")
SWEPT = {"sampling_timesteps", "ddim_sampling_eta", "strategies"}


class Sweep:
    """Hold the model that is swept, and what scores it."""

    def __init__(self, config: Config, args: argparse.Namespace) -> None:
        device = default_device()
        self.section = config.sample_texts
        self.references = References.load(args.references)
        self.real = read_json(args.references / REFERENCE_ROWS)["train_train"]
        self.judges = load_same_judges(self.references.settings, args.language_model, args.judges, device)
        self.sampler = TextSampler(DiffusionModel.load(args.diffusion), args.latents, Autoencoder.load(args.autoencoder), device)
        self.outlines = {seed: self.sampler.outline(self.section.num_samples, seed) for seed in self.section.eval_seeds}

    def latents(self, sampling_timesteps: int, eta: float) -> dict[int, list[Floats]]:
        """Sample latents, by sampling seed."""
        chosen = settings_from(self.section, SamplingSettings)
        settings = replace(chosen, sampling_timesteps=sampling_timesteps, ddim_sampling_eta=eta)
        return {seed: self.sampler.latents(outline, seed, settings) for seed, outline in self.outlines.items()}

    def score(self, latents: dict[int, list[Floats]], strategy: str) -> dict[str, Any]:
        """Return the scores of the texts that a strategy decodes from the latents."""
        decoding = settings_from(self.section, DecodingSettings)
        sets = []
        for number, (seed, given) in enumerate(latents.items()):
            texts = self.sampler.texts(given, strategy, decoding, seed, self.section.batch_size)
            labels = self.outlines[seed].labels
            sets.append(score_alone(texts, self.references, self.judges, labels=labels, seed=number))
        return summarise(sets, self.real)


def run_sweep(config: Config, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Score every setting that the cache does not hold; return one row a setting."""
    inputs = {name: getattr(args, name.replace("-", "_")) for name in INPUTS}
    cache = args.cache / Ingredients.of(Path(__file__), config.sample_texts.model_dump(exclude=SWEPT), inputs).key
    sweep: Sweep | None = None
    passes = 1 if config.sample_texts.guidance_weight == 1 else 2
    rows = []
    for steps, eta in product(args.sampling_timesteps, args.eta):
        files = {strategy: cache / f"{steps}-{eta:g}-{strategy}.json" for strategy in args.strategies}
        missing = [strategy for strategy, file in files.items() if not file.exists()]
        if missing:
            sweep = sweep or Sweep(config, args)
            latents = sweep.latents(steps, eta)
            for strategy in missing:
                write_json(files[strategy], sweep.score(latents, strategy))
        for strategy, file in files.items():
            setting = {"sampling_timesteps": steps, "eta": eta, "strategy": strategy, "network_evaluations": steps * passes}
            rows.append({"setting": setting, "scores": read_json(file)})
    return rows


def parse_arguments(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_places(parser, "params", "diffusion", "latents", "autoencoder", "references", "language-model", "judges")
    for name, default in {"cache": ".frontier", "metrics": "metrics", "plots": "plots"}.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(default), help="folder (%(default)s)")
    parser.add_argument("--sampling-timesteps", type=int, nargs="+", default=[5, 10, 25, 50, 100], help="(5 10 25 50 100)")
    parser.add_argument("--eta", type=float, nargs="+", default=[0.0, 1.0], help="(0 1)")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=["greedy", "nucleus"], help="(greedy nucleus)")
    return parser.parse_args(arguments)


def main(program: str, arguments: Sequence[str]) -> None:
    args = parse_arguments(program, arguments)
    require_places(args, *INPUTS)
    config = load_config(args.params)
    require_allowed(args, DiffusionModel.load(args.diffusion).process.timesteps)

    rows = run_sweep(config, args)
    model = {"sha256": weights_sha256(args.diffusion)}
    settings, sampling = read_json(args.references / "settings.json"), config.sample_texts.model_dump(exclude=SWEPT)
    write_json(args.metrics / "frontier.json", {"model": model, "settings": settings, "sampling": sampling, "rows": rows})
    table = aligned_rows([row["setting"] | values_of(row["scores"]) for row in rows])
    write_tsv(args.plots / "frontier.tsv", table)
    save_png(frontier_figure(table, SHOWN), args.plots / "frontier.png")
    columns = ("strategy", "eta", "network_evaluations", *(metric for metric in SHOWN if metric in table[0]))
    text = markdown_table([{name: row[name] for name in columns} for row in table])
    write_text(args.plots / "frontier.md", text)
    print(text)


def require_allowed(args: argparse.Namespace, timesteps: int) -> None:
    """Refuse settings that the sampler does not have.

    Raises:
        InputError: which option, and what is allowed.
    """
    for steps in args.sampling_timesteps:
        if not 1 <= steps <= timesteps:
            raise InputError(f"--sampling-timesteps {steps}: it should be from 1 to the model's {timesteps} timesteps")
    for eta in args.eta:
        if not 0 <= eta <= 1:
            raise InputError(f"--eta {eta:g}: it should be from 0 to 1")
