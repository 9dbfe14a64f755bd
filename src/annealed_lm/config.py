"""params.yaml as typed, frozen values. There are no defaults here: params.yaml states the whole run."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from annealed_lm.annealing import T_SCHEDULES
from annealed_lm.config_errors import contradiction, sentence
from annealed_lm.config_types import (
    DatasetName,
    DecodingStrategy,
    LearningRateSchedule,
    MauveFeatures,
    NonNegativeFloat,
    NonNegativeInt,
    OpenShare,
    Optimizer,
    PositiveFloat,
    PositiveInt,
    Revision,
    Seed,
    Share,
    StepsOrTime,
    Tokenizer,
    Tracker,
    one_of,
    without_repeats,
)
from annealed_lm.errors import InputError
from annealed_lm.loss_weights import LOSS_WEIGHTS
from annealed_lm.noise_schedules import NOISE_SCHEDULES
from annealed_lm.schedule_settings import ScheduleSettings
from annealed_lm.timestep_sampling import SAMPLERS, make_timestep_sampler

LABELLED = ("restaurants", "sst2", "ag_news")
SMALLEST_BPE = 256 + 4
"""Every byte and the special tokens."""


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Section)
Settings = TypeVar("Settings")


def settings_from(section: Section, settings: type[Settings], **others: Any) -> Settings:
    """The dataclass `settings` with its fields taken from the parameters of the same names, and from `others`."""
    names = {field.name for field in fields(cast(Any, settings))} - others.keys()
    return settings(**{name: getattr(section, name) for name in names}, **others)


class FetchPretrained(Section):
    autoencoder_name: str | None
    autoencoder_revision: Revision | None


class FetchJudges(Section):
    language_model_name: str | None
    language_model_revision: Revision | None
    feature_model_name: str | None
    feature_model_revision: Revision | None


class PrepareData(Section):
    seed: Seed
    split: Literal["official", "random"]
    train_texts: PositiveInt
    valid_texts: PositiveInt
    test_texts: PositiveInt
    max_words: PositiveInt
    duplicates: Literal["drop", "keep"]
    other_scripts: Literal["drop", "keep"]


class TrainAutoencoder(Section):
    seed: Seed
    initialisation: Literal["scratch", "pretrained"]
    latent_layout: Literal["compressed", "per_token"]
    num_latents: PositiveInt
    latent_dim: PositiveInt
    tokenizer: Tokenizer
    vocab_size: Annotated[int, Field(ge=16)]
    max_tokens: Annotated[int, Field(ge=4)]
    d_model: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    resampler_layers: PositiveInt
    reconstruction_layers: NonNegativeInt
    token_dropout: OpenShare
    latent_noise: OpenShare
    num_train_steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat
    lr_warmup_steps: NonNegativeInt
    weight_decay: NonNegativeFloat

    @model_validator(mode="after")
    def sizes_fit(self) -> "TrainAutoencoder":
        require_room_for_bytes(self.tokenizer, self.vocab_size)
        return require_divisible(self, "d_model", "heads")


class EncodeLatents(Section):
    batch_size: PositiveInt
    train_latents: Literal["cached", "on_the_fly"]


class TrainLanguageModel(Section):
    seed: Seed
    baseline_seed: Seed
    tokenizer: Tokenizer
    vocab_size: Annotated[int, Field(ge=16)]
    max_tokens: Annotated[int, Field(ge=4)]
    d_model: PositiveInt
    layers: PositiveInt
    heads: PositiveInt
    num_train_steps: PositiveInt
    batch_size: PositiveInt
    learning_rate: PositiveFloat

    @model_validator(mode="after")
    def sizes_fit(self) -> "TrainLanguageModel":
        require_room_for_bytes(self.tokenizer, self.vocab_size)
        if self.baseline_seed == self.seed:
            raise contradiction(f"baseline_seed = {self.baseline_seed} is the judge's own seed: the baseline would be the judge")
        return require_divisible(self, "d_model", "heads")


class PrepareReferences(Section):
    seed: Seed
    mauve_features: Annotated[list[MauveFeatures], Field(min_length=1), AfterValidator(without_repeats)]
    sentence_scaling: PositiveFloat
    language_model_scaling: PositiveFloat
    mauve_seeds: PositiveInt
    bootstrap_samples: Annotated[int, Field(ge=100)]
    baseline_top_p: Annotated[float, Field(gt=0, le=1)]


class TrainDiffusion(Section):
    start_fraction: Annotated[float, Field(gt=0, le=1)]
    anneal_fraction: Share
    range_in: Literal["t", "log_snr"]
    base_schedule: Annotated[str, one_of(T_SCHEDULES)]
    logit_normal_mean: Annotated[float, Field(allow_inf_nan=False)]
    logit_normal_std: PositiveFloat
    laplace_mean: Annotated[float, Field(allow_inf_nan=False)]
    laplace_scale: PositiveFloat
    speed_tau: Share
    speed_k: PositiveFloat
    speed_lambda: Annotated[float, Field(ge=0.5, le=1)]
    loss_weight: Annotated[str, one_of({"none": None, **LOSS_WEIGHTS})]
    min_snr_gamma: PositiveFloat
    p2_k: NonNegativeFloat
    p2_gamma: NonNegativeFloat
    sampling_weights: Literal["published", "none", "inverse_density"]
    timesteps: PositiveInt
    noise_schedule: Annotated[str, one_of(NOISE_SCHEDULES)]
    tan_d: PositiveFloat
    objective: Literal["pred_x0", "pred_noise", "pred_v"]
    loss_type: Literal["l1", "l2", "smooth_l1"]
    self_condition: Share
    normalize_latent: bool
    scale_shift: bool
    class_conditional: bool
    class_unconditional_prob: OpenShare
    tx_dim: Annotated[int, Field(gt=0, multiple_of=2)]  # the embedding of t is half sines, half cosines
    tx_depth: PositiveInt
    tx_heads: PositiveInt
    dropout: OpenShare
    num_train_steps: PositiveInt
    train_batch_size: PositiveInt
    gradient_accumulation_steps: PositiveInt
    learning_rate: PositiveFloat
    lr_schedule: LearningRateSchedule
    lr_warmup_steps: NonNegativeInt
    lr_decay_fraction: Share
    adam_beta1: OpenShare
    adam_beta2: OpenShare
    adam_weight_decay: NonNegativeFloat
    max_grad_norm: PositiveFloat
    ema_decay: OpenShare
    ema_power: PositiveFloat
    batching: Literal["bucketed", "shuffled", "padded"]
    mixed_precision: Literal["no", "bf16", "fp16"]
    fused: bool
    compile: bool
    num_processes: PositiveInt
    log_every: PositiveInt
    validate_every: PositiveInt
    evaluate_every: PositiveInt
    checkpoint_every: StepsOrTime

    @model_validator(mode="after")
    def heads_divide_width(self) -> "TrainDiffusion":
        return require_divisible(self, "tx_dim", "tx_heads")

    @model_validator(mode="after")
    def learning_rate_has_time_to_fall(self) -> "TrainDiffusion":
        steps = self.lr_warmup_steps + self.lr_decay_fraction * self.num_train_steps
        if self.lr_schedule == "warmup_stable_decay" and steps > self.num_train_steps:
            raise contradiction(
                f"lr_warmup_steps = {self.lr_warmup_steps} and lr_decay_fraction = {self.lr_decay_fraction:g} of "
                f"num_train_steps = {self.num_train_steps} are more steps than there are"
            )
        return self

    @model_validator(mode="after")
    def every_process_has_texts(self) -> "TrainDiffusion":
        if self.num_processes > self.train_batch_size:
            raise contradiction(f"num_processes = {self.num_processes} is more than train_batch_size = {self.train_batch_size}")
        return self


class SampleTexts(Section):
    eval_seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(without_repeats)]
    num_samples: Annotated[int, Field(ge=20)]  # MAUVE clusters num_samples / 10 buckets
    batch_size: PositiveInt
    mixed_precision: Literal["no", "bf16", "fp16"]
    sampling_timesteps: PositiveInt
    ddim_sampling_eta: Share
    guidance_weight: NonNegativeFloat
    strategies: Annotated[list[DecodingStrategy], Field(min_length=1), AfterValidator(without_repeats)]
    num_beams: PositiveInt
    top_p: Annotated[float, Field(gt=0, le=1)]
    min_length: NonNegativeInt
    no_repeat_ngram_size: NonNegativeInt
    repetition_penalty: PositiveFloat


class Config(Section):
    """The whole of params.yaml; each section belongs to the stage of its name."""

    T_schedule: Annotated[str, one_of(SAMPLERS)]
    power: PositiveFloat
    optimizer: Optimizer
    random_seed: Seed
    dataset_name: DatasetName
    trackers: Annotated[list[Tracker], AfterValidator(without_repeats)]
    fetch_pretrained: FetchPretrained
    fetch_judges: FetchJudges
    prepare_data: PrepareData
    train_autoencoder: TrainAutoencoder
    encode_latents: EncodeLatents
    train_language_model: TrainLanguageModel
    prepare_references: PrepareReferences
    train_diffusion: TrainDiffusion
    sample_texts: SampleTexts

    @model_validator(mode="after")
    def sampling_fits_training(self) -> "Config":
        steps, timesteps = self.sample_texts.sampling_timesteps, self.train_diffusion.timesteps
        if steps > timesteps:
            raise contradiction(f"sample_texts.sampling_timesteps = {steps} is more than train_diffusion.timesteps = {timesteps}")
        return self

    @model_validator(mode="after")
    def timesteps_can_be_drawn(self) -> "Config":
        section = self.train_diffusion
        if self.T_schedule == "laplace":
            varied = {"T_schedule": "laplace", "power": self.power, "total_steps": section.num_train_steps}
            try:
                make_timestep_sampler(settings_from(section, ScheduleSettings, **varied))
            except ValueError as error:
                raise contradiction(
                    f"train_diffusion.laplace_mean = {section.laplace_mean:g} with laplace_scale = {section.laplace_scale:g} "
                    f"leaves no timestep to draw: the log-SNRs of noise_schedule = {section.noise_schedule} are all far from it"
                ) from error
        if self.T_schedule == "loss_second_moment" and section.loss_weight != "none":
            raise contradiction(
                f"T_schedule = loss_second_moment draws by the loss without weights, so train_diffusion.loss_weight = "
                f"{section.loss_weight} should be none"
            )
        return self

    @model_validator(mode="after")
    def loss_of_x_start_is_known(self) -> "Config":
        section = self.train_diffusion
        if self.T_schedule == "loss_curve" and section.objective != "pred_x0" and section.loss_type != "l2":
            raise contradiction(
                f"T_schedule = loss_curve follows the loss of x_start, which cannot be told from objective = {section.objective} "
                f"with loss_type = {section.loss_type}: it needs objective = pred_x0 or loss_type = l2"
            )
        return self

    @model_validator(mode="after")
    def labels_are_there(self) -> "Config":
        conditional, weight = self.train_diffusion.class_conditional, self.sample_texts.guidance_weight
        if conditional and self.dataset_name not in LABELLED:
            raise contradiction(
                f"train_diffusion.class_conditional needs texts with labels: dataset_name = {self.dataset_name} has none, "
                f"{', '.join(LABELLED)} have"
            )
        if not conditional and weight != 1:
            raise contradiction(
                f"sample_texts.guidance_weight = {weight:g} needs train_diffusion.class_conditional: true, else it should be 1"
            )
        withheld = self.train_diffusion.class_unconditional_prob
        if weight != 1 and withheld == 0:
            raise contradiction(
                f"sample_texts.guidance_weight = {weight:g} compares with the unconditional model, which "
                "train_diffusion.class_unconditional_prob = 0 never trains: it should be more than 0"
            )
        return self

    @model_validator(mode="after")
    def pretrained_has_a_name(self) -> "Config":
        fetch = self.fetch_pretrained
        if self.train_autoencoder.initialisation == "pretrained" and fetch.autoencoder_name is None:
            raise contradiction(
                "train_autoencoder.initialisation = pretrained needs fetch_pretrained.autoencoder_name, which is null"
            )
        return self


def require_divisible(section: S, width: str, heads: str) -> S:
    if getattr(section, width) % getattr(section, heads):
        raise contradiction(f"{width} = {getattr(section, width)} is not a multiple of {heads} = {getattr(section, heads)}")
    return section


def require_room_for_bytes(tokenizer: str, vocab_size: int) -> None:
    if tokenizer == "bpe" and vocab_size < SMALLEST_BPE:
        raise contradiction(
            f"vocab_size = {vocab_size} is too small for tokenizer = bpe, which starts from {SMALLEST_BPE} entries"
        )


def parse_config(values: Any, source: str = "params.yaml") -> Config:
    """Check `values` against the schema.

    Raises:
        InputError: naming every key that is unknown, missing, mistyped or out of range, and what is allowed.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(sentence(each, source, Config) for each in error.errors())) from error


def load_config(path: Path) -> Config:
    """Read params.yaml as DVC does (YAML 1.2: 1e-5 is a number, no is a string).

    Raises:
        InputError: the file is absent, not YAML, or does not fit the schema.
    """
    try:
        values = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} is not there; stages run from the project's root") from error
    except YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    return parse_config(values, path.name)
