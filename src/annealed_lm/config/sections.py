"""The sections of params.yaml, one a stage that has parameters: types, ranges, and what contradicts itself within a section."""

from typing import Annotated, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from annealed_lm.annealing.t_schedules import T_SCHEDULES
from annealed_lm.annealing.weights import LOSS_WEIGHTS
from annealed_lm.config.types import (
    DecodingStrategy,
    LearningRateSchedule,
    MauveFeatures,
    NonNegativeFloat,
    NonNegativeInt,
    OpenShare,
    PositiveFloat,
    PositiveInt,
    Revision,
    Seed,
    Share,
    StepsOrTime,
    Tokenizer,
    contradiction,
    one_of,
    without_repeats,
)
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES

SMALLEST_BPE = 256 + 4
"""Every byte and the special tokens."""


class Section(BaseModel):
    """A part of params.yaml: an unknown key, a missing one or one of another type is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


S = TypeVar("S", bound=Section)


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
        """Check that a vocabulary of BPE has room for all bytes, and that the heads divide the width."""
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
        """Check that a vocabulary of BPE has room for all bytes, the heads divide the width, and the two models differ."""
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
    batching: Literal["bucketed", "shuffled"]
    mixed_precision: Literal["no", "bf16", "fp16"]
    compile: bool
    num_processes: PositiveInt
    log_every: PositiveInt
    validate_every: PositiveInt
    evaluate_every: PositiveInt
    checkpoint_every: StepsOrTime

    @model_validator(mode="after")
    def heads_divide_width(self) -> "TrainDiffusion":
        """Check that all heads have the same width."""
        return require_divisible(self, "tx_dim", "tx_heads")

    @model_validator(mode="after")
    def learning_rate_has_time_to_fall(self) -> "TrainDiffusion":
        """Check that warm-up and decay fit into the training."""
        steps = self.lr_warmup_steps + self.lr_decay_fraction * self.num_train_steps
        if self.lr_schedule == "warmup_stable_decay" and steps > self.num_train_steps:
            raise contradiction(
                f"lr_warmup_steps = {self.lr_warmup_steps} and lr_decay_fraction = {self.lr_decay_fraction:g} of "
                f"num_train_steps = {self.num_train_steps} are more steps than there are"
            )
        return self

    @model_validator(mode="after")
    def every_process_has_texts(self) -> "TrainDiffusion":
        """Check that a batch has a text for every process."""
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


def require_divisible(section: S, width: str, heads: str) -> S:
    """Return `section` if the value of `heads` divides that of `width`.

    Raises:
        PydanticCustomError: it does not.
    """
    if getattr(section, width) % getattr(section, heads):
        raise contradiction(f"{width} = {getattr(section, width)} is not a multiple of {heads} = {getattr(section, heads)}")
    return section


def require_room_for_bytes(tokenizer: str, vocab_size: int) -> None:
    """Check that a vocabulary of BPE has room for all bytes and the special tokens.

    Raises:
        PydanticCustomError: it has not.
    """
    if tokenizer == "bpe" and vocab_size < SMALLEST_BPE:
        raise contradiction(
            f"vocab_size = {vocab_size} is too small for tokenizer = bpe, which starts from {SMALLEST_BPE} entries"
        )
