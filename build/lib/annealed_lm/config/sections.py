"""The sections of params.yaml, one a stage that has parameters: what type each value has, and so what it may be."""

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from annealed_lm.annealing.t_schedules import T_SCHEDULES
from annealed_lm.annealing.timesteps import DISTRIBUTIONS
from annealed_lm.annealing.weights import LOSS_WEIGHTS
from annealed_lm.config.numbers import (
    BatchTexts,
    Beams,
    Clusterings,
    CorpusTexts,
    DropoutShare,
    EvenWidth,
    EverySteps,
    Exponent,
    GradientNorm,
    Guidance,
    LatentWidth,
    Layers,
    LearningRate,
    Location,
    MauveScaling,
    MaxTokens,
    MaxWords,
    NoneOrMoreLayers,
    NucleusMass,
    OpenShare,
    Penalty,
    Power,
    Processes,
    Ratio,
    RatioOrZero,
    Resamplings,
    SampledTexts,
    SamplingSteps,
    Scale,
    Share,
    SomeShare,
    SomeTokens,
    SpeedWeight,
    TanD,
    Timesteps,
    TrainingSteps,
    Vectors,
    VocabularySize,
    WarmUpSteps,
    WeightDecay,
    Width,
)
from annealed_lm.config.types import (
    DatasetName,
    DecodingStrategy,
    LearningRateSchedule,
    MauveFeatures,
    ModelName,
    Optimizer,
    Revision,
    Seed,
    StepsOrTime,
    Tokenizer,
    Tracker,
    one_of,
    without_repeats,
)
from annealed_lm.diffusion.noise_schedules import NOISE_SCHEDULES


class Section(BaseModel):
    """A part of params.yaml: an unknown key, a missing one or one of another type is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class FetchPretrained(Section):
    autoencoder_name: ModelName | None
    autoencoder_revision: Revision | None


class FetchJudges(Section):
    language_model_name: ModelName | None
    language_model_revision: Revision | None
    feature_model_name: ModelName | None
    feature_model_revision: Revision | None


class PrepareData(Section):
    seed: Seed
    split: Literal["official", "random"]
    train_texts: CorpusTexts
    valid_texts: CorpusTexts
    test_texts: CorpusTexts
    max_words: MaxWords
    duplicates: Literal["drop", "keep"]
    other_scripts: Literal["drop", "keep"]


class TrainAutoencoder(Section):
    seed: Seed
    initialisation: Literal["scratch", "pretrained"]
    latent_layout: Literal["compressed", "per_token"]
    num_latents: Vectors
    latent_dim: LatentWidth
    tokenizer: Tokenizer
    vocab_size: VocabularySize
    max_tokens: MaxTokens
    d_model: Width
    layers: Layers
    heads: Width
    resampler_layers: Layers
    reconstruction_layers: NoneOrMoreLayers
    adapter_layers: NoneOrMoreLayers
    train_decoder: bool
    token_dropout: OpenShare
    latent_noise: Share
    latent_noise_levels: Literal["uniform", "cosine"]
    full_noise_share: Share
    num_train_steps: TrainingSteps
    batch_size: BatchTexts
    learning_rate: LearningRate
    lr_warmup_steps: WarmUpSteps
    weight_decay: WeightDecay


class EncodeLatents(Section):
    batch_size: BatchTexts
    train_latents: Literal["cached", "on_the_fly"]


class TrainLanguageModel(Section):
    seed: Seed
    baseline_seed: Seed
    tokenizer: Tokenizer
    vocab_size: VocabularySize
    max_tokens: MaxTokens
    d_model: Width
    layers: Layers
    heads: Width
    num_train_steps: TrainingSteps
    batch_size: BatchTexts
    learning_rate: LearningRate


class PrepareReferences(Section):
    seed: Seed
    mauve_features: Annotated[list[MauveFeatures], Field(min_length=1), AfterValidator(without_repeats)]
    sentence_scaling: MauveScaling
    language_model_scaling: MauveScaling
    mauve_seeds: Clusterings
    bootstrap_samples: Resamplings
    baseline_top_p: NucleusMass


class TrainDiffusion(Section):
    start_fraction: SomeShare
    anneal_fraction: Share
    range_in: Literal["t", "log_snr"]
    range_start: OpenShare
    base_schedule: Annotated[str, one_of(T_SCHEDULES)]
    logit_normal_mean: Location
    logit_normal_std: Scale
    laplace_mean: Location
    laplace_scale: Scale
    speed_tau: Share
    speed_k: Ratio
    speed_lambda: SpeedWeight
    loss_weight: Annotated[str, one_of({"none": None, **LOSS_WEIGHTS})]
    min_snr_gamma: Ratio
    p2_k: RatioOrZero
    p2_gamma: Exponent
    sampling_weights: Literal["published", "none", "inverse_density"]
    timesteps: Timesteps
    noise_schedule: Annotated[str, one_of(NOISE_SCHEDULES)]
    tan_d: TanD
    objective: Literal["pred_x0", "pred_noise", "pred_v"]
    loss_type: Literal["l1", "l2", "smooth_l1"]
    self_condition: Share
    normalize_latent: bool
    scale_shift: bool
    class_conditional: bool
    class_unconditional_prob: OpenShare
    tx_dim: EvenWidth
    tx_depth: Layers
    tx_heads: Width
    tx_position: Literal["bias", "rotary"]
    dropout: DropoutShare
    num_train_steps: TrainingSteps
    train_batch_size: BatchTexts
    gradient_accumulation_steps: BatchTexts
    learning_rate: LearningRate
    lr_schedule: LearningRateSchedule
    lr_warmup_steps: WarmUpSteps
    lr_decay_fraction: Share
    adam_beta1: OpenShare
    adam_beta2: OpenShare
    adam_weight_decay: WeightDecay
    max_grad_norm: GradientNorm
    ema_decay: OpenShare
    ema_power: Power
    batching: Literal["bucketed", "shuffled"]
    mixed_precision: Literal["no", "bf16", "fp16"]
    compile: bool
    num_processes: Processes
    log_every: EverySteps
    validate_every: EverySteps
    evaluate_every: EverySteps
    checkpoint_every: StepsOrTime


class SampleTexts(Section):
    eval_seeds: Annotated[list[Seed], Field(min_length=1), AfterValidator(without_repeats)]
    num_samples: SampledTexts
    batch_size: BatchTexts
    mixed_precision: Literal["no", "bf16", "fp16"]
    solver: Literal["ddim", "dpm_solver", "sde_dpm_solver"]
    spacing: Literal["trailing", "uniform", "log_snr"]
    sampling_timesteps: SamplingSteps
    ddim_sampling_eta: Share
    decode_at: OpenShare
    guidance_weight: Guidance
    autoguidance_weight: Guidance
    strategies: Annotated[list[DecodingStrategy], Field(min_length=1), AfterValidator(without_repeats)]
    num_beams: Beams
    top_p: NucleusMass
    min_length: SomeTokens
    no_repeat_ngram_size: SomeTokens
    repetition_penalty: Penalty


class Parameters(Section):
    """The whole of params.yaml; a section belongs to the stage of its name."""

    T_schedule: Annotated[str, one_of(DISTRIBUTIONS)]
    power: Power
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
