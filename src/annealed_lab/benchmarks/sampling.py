"""How fast latents are sampled from a diffusion and decoded to texts, each way adding to the one before or standing beside it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from transformers import GenerationConfig

from annealed_lab.benchmarks.machine import peak_memory, seconds_of
from annealed_lab.benchmarks.sizes import latent_lengths, latent_shape, make_autoencoder, text_lengths
from annealed_lm.autoencoder.latents import Floats, gaussian_latents
from annealed_lm.config.config import Config, settings_from
from annealed_lm.diffusion.model import ProcessSettings
from annealed_lm.diffusion.normalization import LatentStatistics
from annealed_lm.generation.decoding import DecodingSettings, decode_latents
from annealed_lm.generation.sampling import SamplingSettings, per_text_noise, sample_latents
from annealed_lm.trainers.assembly import make_denoiser

SMALL_BATCH = 64
LARGE_BATCH = {"cpu": 250, "cuda": 1000}
Measured = dict[str, Any]


@dataclass(frozen=True)
class SamplingWay:
    """Attributes: `padded`: every text is sampled as long as the longest there can be."""

    padded: bool
    batch_size: int
    mixed_precision: str


def ways_to_sample(device: torch.device, with_padding: bool) -> dict[str, SamplingWay]:
    """Return ways from plain on; texts whose latents are all of one length have no padding to save."""
    large = LARGE_BATCH[device.type]
    ways = {
        "plain": SamplingWay(True, SMALL_BATCH, "no"),
        "+ no padding": SamplingWay(False, SMALL_BATCH, "no"),
        "+ large batches": SamplingWay(not with_padding, large, "no"),
        "+ bf16": SamplingWay(not with_padding, large, "bf16"),
    }
    return {name: way for name, way in ways.items() if with_padding or name != "+ no padding"}


def measure_sampling(config: Config, way: SamplingWay, device: torch.device, texts: int, steps: int) -> Measured:
    """Time sampling the latents of so many texts in `steps` steps, after as many in two steps: a GPU chooses kernels by shape.

    Every step is the same work, so that texts a second are told for the sampling steps of `config`, whatever was measured.
    """
    tokens = text_lengths(texts, config.train_autoencoder.max_tokens)
    lengths = latent_lengths(config, [config.train_autoencoder.max_tokens] * texts if way.padded else tokens)
    denoiser = make_denoiser(config.train_diffusion, latent_shape(config), seed=0).eval().to(device)
    statistics = LatentStatistics.identity(config.train_autoencoder.latent_dim)

    diffusion = settings_from(config.train_diffusion, ProcessSettings, first_timestep=0).diffusion(device)
    chosen = settings_from(config.sample_texts, SamplingSettings)
    settings = replace(
        chosen,
        batch_size=way.batch_size,
        mixed_precision=way.mixed_precision,
        ddim_sampling_eta=1,
        decode_at=0,
        guidance_weight=1,
        autoguidance_weight=1,
    )

    def sample(steps: int) -> list[Floats]:
        taken = replace(settings, sampling_timesteps=steps)
        return sample_latents(diffusion, denoiser, statistics, lengths, None, taken, seed=0)

    sample(min(2, steps))
    whole = config.sample_texts.sampling_timesteps
    sampled = seconds_of(lambda: sample(steps), device)
    noise = seconds_of(lambda: draw_noise(lengths, statistics.mean.shape[1], steps, way.batch_size, device), device)
    seconds = sampled * whole / steps
    return {
        "texts": texts,
        "measured_steps": steps,
        "sampling_timesteps": whole,
        "texts_per_second": texts / seconds,
        "share_of_noise": noise / sampled,
        "peak_memory_gb": peak_memory(device),
    }


def draw_noise(lengths: Sequence[int], width: int, steps: int, batch_size: int, device: torch.device) -> None:
    """Draw the noise that sampling latents of these lengths in so many steps draws at eta 1."""
    order = sorted(lengths)
    for start in range(0, len(order), batch_size):
        batch = order[start : start + batch_size]
        noise = per_text_noise(range(start, start + len(batch)), batch, width, 0, device)
        for _ in range(steps):
            noise()


@dataclass(frozen=True)
class DecodingWay:
    """A decoding strategy; without the key-value cache, every token is computed from all tokens before it."""

    strategy: str
    cache: bool
    mixed_precision: str


WAYS_TO_DECODE = {
    "greedy, no cache": DecodingWay("greedy", False, "no"),
    "greedy": DecodingWay("greedy", True, "no"),
    "greedy, bf16": DecodingWay("greedy", True, "bf16"),
    "beam 4": DecodingWay("beam", True, "no"),
    "beam 4, bf16": DecodingWay("beam", True, "bf16"),
}


def generate_without_cache(generate: Callable[..., Any], *, generation_config: GenerationConfig, **arguments: Any) -> Any:
    generation_config.use_cache = False
    return generate(generation_config=generation_config, **arguments)


def measure_decoding(config: Config, way: DecodingWay, device: torch.device, texts: int) -> Measured:
    """Time decoding so many texts, each to the most tokens that it may have: random weights know no end."""
    autoencoder = make_autoencoder(config).to(device)
    tokens = config.train_autoencoder.max_tokens
    lengths = latent_lengths(config, text_lengths(texts, tokens))
    latents = gaussian_latents(LatentStatistics.identity(config.train_autoencoder.latent_dim), lengths, seed=0)
    settings = DecodingSettings(
        num_beams=4,
        top_p=1.0,
        min_length=tokens,
        no_repeat_ngram_size=0,
        repetition_penalty=1.0,
        mixed_precision=way.mixed_precision,
    )
    if not way.cache:
        bart: Any = autoencoder.bart  # whose method is replaced on the object
        bart.generate = partial(generate_without_cache, bart.generate)

    def decode(some: Sequence[Floats]) -> list[str]:
        return decode_latents(autoencoder, some, way.strategy, settings, seed=0, batch_size=LARGE_BATCH[device.type])

    decode(latents if device.type == "cuda" else latents[:1])  # a GPU chooses kernels by shape
    seconds = seconds_of(lambda: decode(latents), device)
    return {
        "texts": texts,
        "tokens_of_a_text": tokens,
        "texts_per_second": texts / seconds,
        "peak_memory_gb": peak_memory(device),
    }


def rows_of_ways(ways: Mapping[str, Any], measure: Callable[[Any], Measured]) -> list[Measured]:
    """Return a row for every way, as `measure` measures it, and how many times as fast as the first it is."""
    rows: list[Measured] = []
    for name, way in ways.items():
        measured = measure(way)
        speedup = measured["texts_per_second"] / (rows[0] if rows else measured)["texts_per_second"]
        rows.append({"way": name} | asdict(way) | measured | {"speedup": speedup})
    return rows
