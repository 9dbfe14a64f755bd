"""params.yaml as typed, frozen values. There are no defaults here: params.yaml states the whole run."""

from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, ValidationError, model_validator

from annealed_lm.annealing.settings import ScheduleSettings
from annealed_lm.annealing.timesteps import DISTRIBUTIONS, make_distribution
from annealed_lm.common.errors import InputError
from annealed_lm.config.begun_with import require_unchanged
from annealed_lm.config.sections import (
    EncodeLatents,
    FetchJudges,
    FetchPretrained,
    PrepareData,
    PrepareReferences,
    SampleTexts,
    Section,
    TrainAutoencoder,
    TrainDiffusion,
    TrainLanguageModel,
)
from annealed_lm.config.types import (
    DatasetName,
    Optimizer,
    PositiveFloat,
    Seed,
    Tracker,
    contradiction,
    one_of,
    sentence,
    without_repeats,
)
from annealed_lm.config.yaml_files import read_yaml

LABELLED = ("restaurants", "sst2", "ag_news")

Settings = TypeVar("Settings")


def settings_from(section: Section, settings: type[Settings], **others: Any) -> Settings:
    """Return the dataclass `settings` with its fields taken from the parameters of the same names, and from `others`."""
    names = {field.name for field in fields(cast(Any, settings))} - others.keys()
    return settings(**{name: getattr(section, name) for name in names}, **others)


def schedule_settings(section: TrainDiffusion, T_schedule: str, power: float) -> ScheduleSettings:
    """Return what the distribution over timesteps of a training may depend on."""
    return settings_from(section, ScheduleSettings, T_schedule=T_schedule, power=power, total_steps=section.num_train_steps)


class Config(Section):
    """The whole of params.yaml; a section belongs to the stage of its name."""

    T_schedule: Annotated[str, one_of(DISTRIBUTIONS)]
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
        """Check that sampling takes at most as many steps as there are timesteps."""
        steps, timesteps = self.sample_texts.sampling_timesteps, self.train_diffusion.timesteps
        if steps > timesteps:
            raise contradiction(f"sample_texts.sampling_timesteps = {steps} is more than train_diffusion.timesteps = {timesteps}")
        return self

    @model_validator(mode="after")
    def timesteps_can_be_drawn(self) -> "Config":
        """Check that laplace leaves timesteps to draw, and that loss_second_moment goes without a loss weight."""
        section = self.train_diffusion
        if self.T_schedule == "laplace":
            try:
                make_distribution(schedule_settings(section, self.T_schedule, self.power))
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
        """Check that the loss of x_start, which loss_curve follows, can be computed from that of the objective."""
        section = self.train_diffusion
        if self.T_schedule == "loss_curve" and section.objective != "pred_x0" and section.loss_type != "l2":
            raise contradiction(
                f"T_schedule = loss_curve follows the loss of x_start, which cannot be told from objective = {section.objective} "
                f"with loss_type = {section.loss_type}: it needs objective = pred_x0 or loss_type = l2"
            )
        return self

    @model_validator(mode="after")
    def labels_are_there(self) -> "Config":
        """Check that a conditional model has labels, and that guidance has a model trained with and without them."""
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
        """Check that a model is named where the autoencoder is to be a pretrained one."""
        fetch = self.fetch_pretrained
        if self.train_autoencoder.initialisation == "pretrained" and fetch.autoencoder_name is None:
            raise contradiction(
                "train_autoencoder.initialisation = pretrained needs fetch_pretrained.autoencoder_name, which is null"
            )
        return self


def parse_config(values: Any, source: str = "params.yaml") -> Config:
    """Check `values` against the schema and return them as a `Config`.

    Raises:
        InputError: keys are unknown, missing, mistyped, out of range or contradictory; it names all of them, and what is allowed.
    """
    try:
        return Config.model_validate(values)
    except ValidationError as error:
        raise InputError("; ".join(sentence(each, source, Config) for each in error.errors())) from error


def load_config(path: Path) -> Config:
    """Read params.yaml as DVC does (YAML 1.2: 1e-5 is a number, no is a string).

    Raises:
        InputError: the file is absent, not YAML, does not fit the schema, or has changed since the run began.
    """
    values = read_yaml(path, "; stages run from the project's root")
    config = parse_config(values, path.name)
    require_unchanged(path, values)
    return config
