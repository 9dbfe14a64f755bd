"""What the values of params.yaml must be to each other: every pair, or more, of which one must fit into another, and why.

A rule says what is wrong in one sentence, or nothing. All of them are read once every value by itself is what it may be.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from annealed_lm.annealing.settings import ScheduleSettings
from annealed_lm.annealing.timesteps import DISTRIBUTIONS, make_distribution
from annealed_lm.annealing.weights import TimestepWeights, WeightSettings
from annealed_lm.config.sections import Parameters
from annealed_lm.diffusion.noise_schedules import below_every_timestep, lowest_level, noise_levels, rounded_up, timesteps_above

LABELLED = ("restaurants", "sst2", "ag_news", "text")
"""Corpora with labels; text has those of its file, and prepare_data looks whether it has any."""
SMALLEST_BPE = 256 + 4
"""Every byte and the special tokens."""
MOST_RESTAURANTS = 1_000_000
"""Texts that the grammar makes in about a minute, and that fit into memory."""


class AtMost(NamedTuple):
    """The value at `key`, `times` so much, is at most the one at `limit`; `reason` ends the sentence that says it is not."""

    key: str
    limit: str
    times: int = 1
    reason: str = ""


PAIRS = (
    AtMost("train_diffusion.lr_warmup_steps", "train_diffusion.num_train_steps"),
    AtMost("train_autoencoder.lr_warmup_steps", "train_autoencoder.num_train_steps"),
    AtMost("train_diffusion.num_processes", "train_diffusion.train_batch_size", 1, "a process has at least one text of a batch"),
    AtMost("sample_texts.num_samples", "prepare_data.valid_texts", 1, "samples are compared with as many validation texts"),
    AtMost(
        "sample_texts.num_samples",
        "prepare_data.train_texts",
        2,
        "samples are compared with as many training texts, and these with as many others",
    ),
    AtMost("sample_texts.min_length", "train_autoencoder.max_tokens", 1, "no text has so many tokens"),
    AtMost("sample_texts.no_repeat_ngram_size", "train_autoencoder.max_tokens", 1, "no text has so many tokens"),
)
"""An interval (log_every, validate_every, evaluate_every, checkpoint_every) may be longer than the training: its end is recorded
in any case. And train_texts, valid_texts, test_texts, max_words, vocab_size and max_tokens are upper bounds: what a corpus really
has is told by the stages that read it."""

MULTIPLES = (
    ("train_diffusion", "tx_dim", "tx_heads"),
    ("train_autoencoder", "d_model", "heads"),
    ("train_language_model", "d_model", "heads"),
)
"""Section, width, and the number of heads that divides it."""

Rule = Callable[[Parameters, ScheduleSettings, WeightSettings], str | None]


def value_of(parameters: Parameters, key: str) -> int:
    """Return the whole number at a dotted key."""
    section, name = key.split(".")
    number: int = getattr(getattr(parameters, section), name)
    return number


def pair_that_does_not_fit(parameters: Parameters, pair: AtMost) -> str | None:
    """Return the sentence that one value does not fit into the other, if it does not."""
    value, limit = value_of(parameters, pair.key), value_of(parameters, pair.limit)
    if pair.times * value <= limit:
        return None
    (section, key), (other_section, limit_key) = pair.key.split("."), pair.limit.split(".")
    before = f"{section}: " if section == other_section else ""
    key, limit_key = (key, limit_key) if before else (pair.key, pair.limit)
    times = "" if pair.times == 1 else f"{pair.times} times "
    return f"{before}{times}{key} = {value} is more than {limit_key} = {limit}{pair.reason and f': {pair.reason}'}"


def width_that_heads_do_not_divide(parameters: Parameters, section: str, width: str, heads: str) -> str | None:
    """Return the sentence that the heads do not divide the width, if they do not."""
    size, count = (value_of(parameters, f"{section}.{name}") for name in (width, heads))
    return f"{section}: {width} = {size} is not a multiple of {heads} = {count}" if size % count else None


def parts_of_a_batch(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that every part of a batch has a text."""
    section = parameters.train_diffusion
    parts = section.gradient_accumulation_steps * section.num_processes
    if section.gradient_accumulation_steps == 1 or parts <= section.train_batch_size:
        return None
    return (
        f"train_diffusion: gradient_accumulation_steps = {section.gradient_accumulation_steps} of num_processes = "
        f"{section.num_processes} cut a batch into more parts than train_batch_size = {section.train_batch_size} texts"
    )


def time_to_fall(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that warm-up and decay of the learning rate fit into the training together."""
    section = parameters.train_diffusion
    steps = section.lr_warmup_steps + section.lr_decay_fraction * section.num_train_steps
    if section.lr_schedule != "warmup_stable_decay" or steps <= section.num_train_steps:
        return None
    return (
        f"train_diffusion: lr_warmup_steps = {section.lr_warmup_steps} and lr_decay_fraction = {section.lr_decay_fraction:g} of "
        f"num_train_steps = {section.num_train_steps} are more steps than there are"
    )


def texts_of_the_grammar(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that the embedded corpus is of a size that can be made."""
    section = parameters.prepare_data
    texts = section.train_texts + section.valid_texts + section.test_texts
    if parameters.dataset_name != "restaurants" or texts <= MOST_RESTAURANTS:
        return None
    return (
        f"prepare_data: train_texts + valid_texts + test_texts = {texts} is more than the {MOST_RESTAURANTS} texts that "
        "dataset_name = restaurants makes at most"
    )


def room_for_bytes(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that a vocabulary of BPE has room for all bytes and the special tokens."""
    for name in ("train_autoencoder", "train_language_model"):
        section = getattr(parameters, name)
        if section.tokenizer == "bpe" and section.vocab_size < SMALLEST_BPE:
            return (
                f"{name}: vocab_size = {section.vocab_size} is too small for tokenizer = bpe, which starts from {SMALLEST_BPE} "
                "entries"
            )
    return None


def baseline_beside_the_judge(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that the baseline is another model than the judge."""
    section = parameters.train_language_model
    if section.baseline_seed != section.seed:
        return None
    return (
        f"train_language_model: baseline_seed = {section.baseline_seed} is the judge's own seed: the baseline would be the judge"
    )


def named_pretrained_model(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that a model is named where the autoencoder is to be a pretrained one."""
    if parameters.train_autoencoder.initialisation != "pretrained" or parameters.fetch_pretrained.autoencoder_name is not None:
        return None
    return "train_autoencoder.initialisation = pretrained needs fetch_pretrained.autoencoder_name, which is null"


def labels_of_the_corpus(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that a conditional model has labels."""
    if not parameters.train_diffusion.class_conditional or parameters.dataset_name in LABELLED:
        return None
    return (
        f"train_diffusion.class_conditional needs texts with labels: dataset_name = {parameters.dataset_name} has none, "
        f"{', '.join(LABELLED)} have"
    )


def takes_over(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that sampling ends at a noise level that the denoiser is trained down to and the decoder learns to read."""
    alphas_cumprod, section = schedule.alphas_cumprod(), parameters.sample_texts
    autoencoder, level = parameters.train_autoencoder, parameters.sample_texts.decode_at
    steps = timesteps_above(alphas_cumprod, level)
    if steps < section.sampling_timesteps:
        return (
            f"sample_texts: sampling_timesteps = {section.sampling_timesteps} is more than the {steps} of "
            f"train_diffusion.timesteps = {schedule.timesteps} that lie above decode_at = {level:g}"
        )
    lowest = lowest_level(alphas_cumprod, schedule.first_timestep)
    if level < lowest:
        return (
            f"sample_texts.decode_at = {level:g} is less noise than train_diffusion.range_start = {schedule.range_start:g} "
            f"trains down to: it should be at least {rounded_up(lowest):g}"
        )
    if below_every_timestep(alphas_cumprod, level):
        return (
            f"sample_texts.decode_at = {level:g} is less noise than train_diffusion.noise_schedule = "
            f"{parameters.train_diffusion.noise_schedule} has at t = 0: it should be 0 or at least "
            f"{rounded_up(noise_levels(alphas_cumprod)[0]):g}"
        )
    if level > autoencoder.latent_noise:
        return (
            f"sample_texts.decode_at = {level:g} is more noise than the decoder learns to read: it should be at most "
            f"train_autoencoder.latent_noise = {autoencoder.latent_noise:g}"
        )
    frozen = autoencoder.initialisation == "pretrained" and autoencoder.latent_layout == "per_token"
    if level and frozen and not autoencoder.adapter_layers:
        return (
            f"sample_texts.decode_at = {level:g} needs train_autoencoder.adapter_layers of at least 1: nothing else learns to "
            "read noisy states of a pretrained model"
        )
    if level and not parameters.train_diffusion.normalize_latent:
        return (
            f"sample_texts.decode_at = {level:g} needs train_diffusion.normalize_latent: true, the noise that the decoder "
            "learns to read"
        )
    return None


def guidance_of_a_model(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that guidance has a model trained with and without labels."""
    weight, withheld = parameters.sample_texts.guidance_weight, parameters.train_diffusion.class_unconditional_prob
    if weight != 1 and not parameters.train_diffusion.class_conditional:
        return f"sample_texts.guidance_weight = {weight:g} needs train_diffusion.class_conditional: true, else it should be 1"
    if weight != 1 and withheld == 0:
        return (
            f"sample_texts.guidance_weight = {weight:g} compares with the unconditional model, which "
            "train_diffusion.class_unconditional_prob = 0 never trains: it should be more than 0"
        )
    return None


def model_to_move_away_from(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that autoguidance has a model that is worse than the last: the first that evaluate_every keeps."""
    weight, section = parameters.sample_texts.autoguidance_weight, parameters.train_diffusion
    if weight == 1 or section.evaluate_every < section.num_train_steps:
        return None
    return (
        f"sample_texts.autoguidance_weight = {weight:g} moves away from the first model that train_diffusion.evaluate_every = "
        f"{section.evaluate_every} keeps, so it should be less than num_train_steps = {section.num_train_steps}"
    )


def signal_and_noise(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that every timestep has some signal and some noise, as far as double precision can tell."""
    alphas_cumprod = schedule.alphas_cumprod()
    if alphas_cumprod[-1] > 0 and alphas_cumprod[0] < 1:
        return None
    end = "last has no signal" if alphas_cumprod[0] < 1 else "first has no noise"
    tan_d = f" and tan_d = {schedule.tan_d:g}" if schedule.noise_schedule == "tan" else ""
    return (
        f"train_diffusion.noise_schedule = {schedule.noise_schedule} with timesteps = {schedule.timesteps}{tan_d}: "
        f"of the timesteps the {end}"
    )


def log_snrs_of_laplace(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that laplace leaves timesteps to draw, also where another T_schedule is chosen: the report draws all of them."""
    section = parameters.train_diffusion
    try:
        make_distribution(replace(schedule, T_schedule="laplace"))
    except ValueError:
        return (
            f"train_diffusion.laplace_mean = {section.laplace_mean:g} with laplace_scale = {section.laplace_scale:g} "
            f"leaves no timestep to draw: the log-SNRs of noise_schedule = {section.noise_schedule} are all far from it"
        )
    return None


def finite_densities(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that every distribution that is known before training, whichever is chosen, can be drawn from."""
    for name, kind in DISTRIBUTIONS.items():
        if kind.depends_on_losses or name == "laplace":
            continue
        distribution = make_distribution(replace(schedule, T_schedule=name))
        for step in (0, schedule.total_steps - 1):
            drawn_with = distribution.weights(step)
            if not np.isclose(distribution.density(step).sum(), 1) or not (drawn_with is None or np.isfinite(drawn_with).all()):
                return f"train_diffusion: {', '.join(kind.parameters)} leave T_schedule = {name} no density over t"
    return None


def weights_of_the_loss(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that the weights of the loss are numbers of single precision."""
    of_loss = TimestepWeights(weights, schedule.alphas_cumprod(), schedule.trained_timesteps).of_loss
    if of_loss is None or (of_loss < np.finfo(np.float32).max).all():
        return None
    return (
        f"train_diffusion.loss_weight = {weights.loss_weight} with p2_k = {weights.p2_k:g} and p2_gamma = {weights.p2_gamma:g} "
        f"weights the loss by up to {of_loss.max():.3g}, which single precision does not hold"
    )


def loss_of_every_timestep(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> str | None:
    """Check that a T schedule that follows the losses can tell them from what training reports."""
    section, T_schedule = parameters.train_diffusion, parameters.T_schedule
    if T_schedule == "loss_second_moment" and section.loss_weight != "none":
        return (
            f"T_schedule = loss_second_moment draws by the loss without weights, so train_diffusion.loss_weight = "
            f"{section.loss_weight} should be none"
        )
    if T_schedule == "loss_curve" and section.objective != "pred_x0" and section.loss_type != "l2":
        return (
            f"T_schedule = loss_curve follows the loss of x_start, which cannot be told from objective = {section.objective} "
            f"with loss_type = {section.loss_type}: it needs objective = pred_x0 or loss_type = l2"
        )
    if T_schedule == "loss_curve" and section.objective == "pred_noise" and not section.normalize_latent:
        return (
            "T_schedule = loss_curve with objective = pred_noise bounds the loss of x_start by the variance of normalised "
            "latents, so train_diffusion.normalize_latent should be true"
        )
    return None


RULES: tuple[Rule, ...] = (
    parts_of_a_batch,
    time_to_fall,
    texts_of_the_grammar,
    room_for_bytes,
    baseline_beside_the_judge,
    named_pretrained_model,
    labels_of_the_corpus,
    takes_over,
    guidance_of_a_model,
    model_to_move_away_from,
    signal_and_noise,
    weights_of_the_loss,
    loss_of_every_timestep,
    log_snrs_of_laplace,
    finite_densities,
)
"""What is more than a pair of whole numbers."""


def contradictions(parameters: Parameters, schedule: ScheduleSettings, weights: WeightSettings) -> Iterator[str]:
    """Yield what does not go together in `parameters`, a sentence each.

    Args:
        schedule, weights: what they say of the timesteps and of the loss at each.
    """
    found = [pair_that_does_not_fit(parameters, pair) for pair in PAIRS]
    found += [width_that_heads_do_not_divide(parameters, *names) for names in MULTIPLES]
    yield from filter(None, found)
    for rule in RULES:
        if (sentence := rule(parameters, schedule, weights)) is not None:
            yield sentence
