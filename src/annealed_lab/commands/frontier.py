"""Score the trained model at other sampling steps, solvers, eta, noise levels of decoding and decoding strategies.

All of --sampling-timesteps, --solvers and --eta are tried with one another at the decode_at of params.yaml, and all of
--decode-at with the other settings of params.yaml; everything is decoded by all of --strategies. Beside each stand the
control and the ceiling of its noise level. Each setting is scored once and kept in --cache, so a sweep goes on after an
interruption and grows by the new settings only.

Reads: the model and the references of the workspace. Writes: outputs/frontier/frontier.json, .tsv, .md and .png.
Example: python src/lab.py frontier --sampling-timesteps 10 50 --eta 1 --strategies greedy
"""

import annealed_lm.common.offline  # noqa: F401  (first: the model libraries read it when they are imported)

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

from annealed_lab.comparison.frontiers import SETS, decode_at_figure, steps_figure
from annealed_lab.experiments.places import add_places, require_places
from annealed_lm.autoencoder.latents import Floats
from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.common.devices import default_device
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, read_texts, write_json, write_text, write_tsv
from annealed_lm.common.model_description import weights_sha256
from annealed_lm.config.config import Config, load_config, settings_from
from annealed_lm.diffusion.model import DiffusionModel
from annealed_lm.diffusion.noise_schedules import below_every_timestep, lowest_level
from annealed_lm.evaluation.judges import load_same_judges
from annealed_lm.evaluation.references import REFERENCE_ROWS, References, choose_references
from annealed_lm.evaluation.scores import score_alone, summarise, values_of
from annealed_lm.generation.bounds import Bounds
from annealed_lm.generation.decoding import STRATEGIES, DecodingSettings
from annealed_lm.generation.sampling import SamplingSettings
from annealed_lm.generation.solvers import SOLVERS
from annealed_lm.generation.texts import TextSampler, require_known_level
from annealed_lm.reporting.plots import save_figure
from annealed_lm.reporting.tables import aligned_rows, markdown_table
from annealed_lm.training.descriptions import Ingredients

SHOWN = (
    "grammatical",
    "perplexity",
    "doubled_word",
    "mauve_train",
    "mauve_lm_train",
    "diversity",
    "token_entropy",
    "memorization",
    "latent_agreement",
)
INPUTS = ("diffusion", "autoencoder", "latents", "texts", "references", "language-model", "judges")
SWEPT = {"sampling_timesteps", "solver", "ddim_sampling_eta", "decode_at", "strategies"}
LEVELS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.85, 0.9, 0.95)
"""At which decoding may take over, as far as denoiser and decoder have learned them."""


class Sweep:
    """Hold the model that is swept, and what scores it."""

    def __init__(self, config: Config, args: argparse.Namespace, sampler: TextSampler) -> None:
        self.section, self.held_out, self.sampler = config.sample_texts, args.texts, sampler
        self.references = References.load(args.references)
        self.real = read_json(args.references / REFERENCE_ROWS)["train_train"]
        self.judges = load_same_judges(self.references.settings, args.language_model, args.judges, sampler.device)
        self.outlines = {seed: self.sampler.outline(self.section.num_samples, seed) for seed in self.section.eval_seeds}
        self.decoding = settings_from(self.section, DecodingSettings)

    def latents(self, settings: SamplingSettings) -> dict[int, list[Floats]]:
        """Sample latents, by sampling seed."""
        return {seed: self.sampler.latents(outline, seed, settings) for seed, outline in self.outlines.items()}

    def score(self, latents: dict[int, list[Floats]], strategy: str, level: float) -> dict[str, Any]:
        """Return the scores of the texts that a strategy decodes from the latents, whose noise level is `level`."""
        sets, batch_size = [], self.section.batch_size
        for number, (seed, given) in enumerate(latents.items()):
            texts = self.sampler.texts(given, strategy, self.decoding, seed, batch_size, level)
            labels, agreement = self.outlines[seed].labels, self.sampler.agreement(given, texts, batch_size)
            sets.append(score_alone(texts, self.references, self.judges, labels=labels, agreement=agreement, seed=number))
        return summarise(sets, self.real)

    @cached_property
    def bounds(self) -> Bounds:
        """What the scores lie between, of the held-out texts that the references were made with."""
        settings, sampler = self.references.settings, self.sampler
        held_out = read_texts(self.held_out / f"{settings.held_out}.jsonl")
        count, seed = settings.num_samples, settings.reference_seed
        chosen = choose_references(len(sampler.train), len(held_out), settings.held_out, count, seed).held_out
        texts = [held_out[row] for row in chosen]
        return Bounds(sampler.autoencoder, sampler.latent_statistics, sampler.train, texts, seed, self.section.batch_size)

    def score_bounds(self, strategy: str, level: float) -> dict[str, Any]:
        """Return the scores of control and ceiling at a noise level."""
        return {
            bound: summarise([score_alone(each.texts, self.references, self.judges, agreement=each.agreement)], self.real)
            for bound, each in self.bounds.decoded(level, strategy, self.decoding).items()
        }


def swept_settings(config: Config, args: argparse.Namespace, levels: Sequence[float]) -> list[SamplingSettings]:
    """Return what latents are sampled with, each once."""
    chosen = settings_of_run(config)
    settings = []
    for steps, solver, eta in product(args.sampling_timesteps, args.solvers or [chosen.solver], args.eta):
        settings.append(with_eta(replace(chosen, sampling_timesteps=steps, solver=solver), eta))
    settings += [replace(chosen, decode_at=level) for level in levels]
    return list(dict.fromkeys(settings))


def settings_of_run(config: Config) -> SamplingSettings:
    """Return what the run sampled its latents with."""
    settings = settings_from(config.sample_texts, SamplingSettings)
    return with_eta(settings, settings.ddim_sampling_eta)


def with_eta(settings: SamplingSettings, eta: float) -> SamplingSettings:
    """Return the settings with this eta; with 0 for a solver that reads none, so that one way of sampling has one name."""
    return replace(settings, ddim_sampling_eta=eta if settings.solver == "ddim" else 0.0)


def run_sweep(
    config: Config, args: argparse.Namespace, sampler: TextSampler, settings: Sequence[SamplingSettings]
) -> list[dict[str, Any]]:
    """Score every setting that the cache does not hold; return one row a setting and decoding strategy."""
    inputs = {name: getattr(args, name.replace("-", "_")) for name in INPUTS}
    scored = args.cache / Ingredients.of(Path(__file__), config.sample_texts.model_dump(exclude=SWEPT), inputs).key
    sweep = cache(lambda: Sweep(config, args, sampler))  # its judges are loaded where something is to be scored
    rows = []
    for each in settings:
        steps, eta, level = each.sampling_timesteps, each.ddim_sampling_eta, each.decode_at
        name = f"{each.solver}-{steps}-{eta:g}-{level:g}"
        files = {strategy: scored / f"{name}-{strategy}.json" for strategy in args.strategies}
        missing = [strategy for strategy, file in files.items() if not file.exists()]
        if missing:
            latents = sweep().latents(each)
            for strategy in missing:
                write_json(files[strategy], sweep().score(latents, strategy, level))
        for strategy, file in files.items():
            bounds = scored / f"bounds-{level:g}-{strategy}.json"
            if not bounds.exists():
                write_json(bounds, sweep().score_bounds(strategy, level))
            setting = {"strategy": strategy, "solver": each.solver, "eta": eta, "decode_at": level, "sampling_timesteps": steps}
            counted = setting | {"network_evaluations": each.evaluations}
            rows.append({"setting": counted, "scores": read_json(file), **read_json(bounds)})
    return rows


def parse_arguments(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    places = ("params", "diffusion", "latents", "autoencoder", "texts", "references", "language-model", "judges")
    add_places(parser, *places)
    for name, default in {"cache": ".frontier", "metrics": "outputs/frontier", "plots": "outputs/frontier"}.items():
        parser.add_argument(f"--{name}", type=Path, default=Path(default), help="folder (%(default)s)")
    parser.add_argument("--sampling-timesteps", type=int, nargs="+", default=[5, 10, 25, 50, 100], help="(5 10 25 50 100)")
    parser.add_argument("--eta", type=float, nargs="+", default=[0.0, 1.0], help="(0 1)")
    parser.add_argument("--solvers", nargs="+", choices=SOLVERS, help="(that of params.yaml)")
    levels = ", ".join(f"{level:g}" for level in LEVELS)
    parser.add_argument("--decode-at", type=float, nargs="+", help=f"({levels}, as far as the model knows them)")
    parser.add_argument("--strategies", nargs="+", choices=STRATEGIES, default=["greedy", "nucleus"], help="(greedy nucleus)")
    return parser.parse_args(arguments)


def main(program: str, arguments: Sequence[str]) -> None:
    args = parse_arguments(program, arguments)
    require_places(args, *INPUTS)
    config = load_config(args.params)
    sampler = TextSampler(DiffusionModel.load(args.diffusion), args.latents, Autoencoder.load(args.autoencoder), default_device())
    settings = swept_settings(config, args, allowed_levels(args.decode_at, sampler))
    require_allowed(settings, sampler.model)

    rows = run_sweep(config, args, sampler, settings)
    model = {"sha256": weights_sha256(args.diffusion)}
    described, sampling = read_json(args.references / "settings.json"), config.sample_texts.model_dump(exclude=SWEPT)
    write_json(args.metrics / "frontier.json", {"model": model, "settings": described, "sampling": sampling, "rows": rows})
    table = aligned_rows([row["setting"] | {"latents": name} | values_of(row[key]) for row in rows for name, key in SETS.items()])
    write_tsv(args.plots / "frontier.tsv", table)
    shown = [metric for metric in SHOWN if metric in table[0]]
    write_figures(rows, settings_of_run(config), args.plots)
    columns = ("strategy", "solver", "eta", "decode_at", "network_evaluations", "latents", *shown)
    text = markdown_table([{name: row[name] for name in columns} for row in table])
    write_text(args.plots / "frontier.md", text)
    print(text)


def write_figures(rows: Sequence[dict[str, Any]], chosen: SamplingSettings, folder: Path) -> None:
    """Draw what was tried at the decode_at of params.yaml, and the noise levels tried with its other settings."""
    steps = [row for row in rows if row["setting"]["decode_at"] == chosen.decode_at]
    save_figure(steps_figure(steps), folder / "frontier")
    others = (chosen.sampling_timesteps, chosen.solver, chosen.ddim_sampling_eta)
    levels = [row for row in rows if tuple(row["setting"][name] for name in ("sampling_timesteps", "solver", "eta")) == others]
    save_figure(decode_at_figure(levels), folder / "frontier_decode_at")


def allowed_levels(asked: list[float] | None, sampler: TextSampler) -> list[float]:
    """Return the noise levels to decode at: those asked for, or what denoiser and decoder know of `LEVELS`.

    Raises:
        InputError: one asked for is not known to the decoder.
    """
    if asked is not None:
        for level in asked:
            require_known_level(sampler.autoencoder, level)
        return asked
    diffusion = sampler.model.process.diffusion("cpu")
    alphas_cumprod = diffusion.alphas_cumprod.numpy()
    lowest, highest = lowest_level(alphas_cumprod, diffusion.first_timestep), sampler.autoencoder.highest_level
    return [level for level in LEVELS if lowest <= level <= highest and not below_every_timestep(alphas_cumprod, level)]


def require_allowed(settings: Sequence[SamplingSettings], model: DiffusionModel) -> None:
    """Refuse settings that the sampler does not have, before any is tried.

    Raises:
        InputError: which setting, and what is allowed.
    """
    diffusion = model.process.diffusion("cpu")
    for each in settings:
        if each.sampling_timesteps < 1:
            raise InputError(f"--sampling-timesteps {each.sampling_timesteps}: it should be at least 1")
        if not 0 <= each.ddim_sampling_eta <= 1:
            raise InputError(f"--eta {each.ddim_sampling_eta:g}: it should be from 0 to 1")
        if not 0 <= each.decode_at < 1:
            raise InputError(f"--decode-at {each.decode_at:g}: it should be from 0 to less than 1")
        each.steps(diffusion)
