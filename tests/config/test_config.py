import re
from pathlib import Path
from typing import Any

import pydantic
import pytest
from ruamel.yaml import YAML

from annealed_lm.common.errors import InputError
from annealed_lm.config.config import load_config, parse_config

PARAMS = Path(__file__).parents[2] / "params.yaml"
REMOVED = object()


def params_with(key: str, value: Any) -> dict[str, Any]:
    """The values of params.yaml, with one of them replaced, added or removed."""
    values: dict[str, Any] = YAML(typ="safe", pure=True).load(PARAMS)
    *sections, leaf = key.split(".")
    holder = values
    for section in sections:
        holder = holder[section]
    if value is REMOVED:
        del holder[leaf]
    else:
        holder[leaf] = value
    return values


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("T_schedule", "linaer", "T_schedule = linaer is not one of normal, linear, .*did you mean linear"),
        ("T_schedule", 3, "T_schedule = 3: it should be a valid string"),
        ("T_schedule", "revers", "T_schedule = revers is not one of .*did you mean reverse"),
        (
            "train_diffusion.base_schedule",
            "reverse",
            "base_schedule = reverse is not one of normal, linear, cosine, polynomial, unsmooth",
        ),
        (
            "train_diffusion.loss_weight",
            "min_snrr",
            "loss_weight = min_snrr is not one of none, min_snr, p2.*did you mean min_snr",
        ),
        ("train_diffusion.range_in", "snr", "range_in = 'snr': it should be 't' or 'log_snr'"),
        (
            "train_diffusion.sampling_weights",
            "yes",
            "sampling_weights = 'yes': it should be 'published', 'none' or 'inverse_density'",
        ),
        ("train_diffusion.speed_lambda", 0.4, "speed_lambda = 0.4: it should be greater than or equal to 0.5"),
        ("train_diffusion.laplace_scale", 0, "laplace_scale = 0: it should be greater than 0"),
        ("T_shedule", "linear", "T_shedule is not a known key.*did you mean T_schedule"),
        ("power", 0, "power = 0: it should be greater than 0"),
        ("power", float("nan"), "power = nan: it should be"),
        ("power", "two", "power = 'two': it should be a valid number"),
        ("optimizer", "adam", "optimizer = 'adam': it should be 'adamw', 'lion' or 'muon'"),
        ("random_seed", -1, "random_seed = -1: it should be greater than or equal to 0"),
        ("random_seed", 2**31, "random_seed = 2147483648: it should be less than 2147483648"),
        ("random_seed", True, "random_seed = True: it should be a valid integer"),
        ("dataset_name", "e2", "dataset_name = 'e2': it should be 'restaurants', 'e2e', 'roc', 'sst2', 'ag_news' or 'text'"),
        ("dataset_name", REMOVED, "dataset_name is missing"),
        ("train_diffusion", 5, "train_diffusion = 5: it should be"),
        ("train_diffusion", REMOVED, "train_diffusion is missing"),
        ("train_diffusion.timestep", 10, "train_diffusion.timestep is not a known key .did you mean timesteps"),
        ("train_diffusion.num_train_steps", -5, "train_diffusion.num_train_steps = -5: it should be greater than 0"),
        ("train_diffusion.num_train_steps", 10.5, "train_diffusion.num_train_steps = 10.5: it should be a valid integer"),
        ("train_diffusion.noise_schedule", "cosin", "noise_schedule = cosin is not one of .*did you mean cosine"),
        ("train_diffusion.start_fraction", 0, "start_fraction = 0: it should be greater than 0"),
        ("train_diffusion.anneal_fraction", 1.5, "anneal_fraction = 1.5: it should be less than or equal to 1"),
        ("train_diffusion.self_condition", 2, "self_condition = 2: it should be less than or equal to 1"),
        ("train_diffusion.learning_rate", "1e-4x", "learning_rate = '1e-4x': it should be a valid number"),
        ("train_diffusion.learning_rate", float("inf"), "learning_rate = inf: it should be a finite number"),
        ("train_diffusion.mixed_precision", False, "mixed_precision = False: it should be 'no', 'bf16' or 'fp16'"),
        ("train_diffusion.tx_dim", 15, r"tx_dim = 15: it should be a multiple of 2"),
        ("train_diffusion.num_processes", 100_000, r"num_processes = 100000 is more than train_batch_size = \d+"),
        ("train_diffusion.batching", "bucket", r"train_diffusion.batching = 'bucket'.*bucketed.*shuffled"),
        ("encode_latents.train_latents", "cache", r"encode_latents.train_latents = 'cache'.*cached.*on_the_fly"),
        ("train_diffusion.tx_heads", 7, r"tx_dim = \d+ is not a multiple of tx_heads = 7"),
        ("train_autoencoder.heads", 7, r"d_model = \d+ is not a multiple of heads = 7"),
        ("train_language_model.heads", 7, r"d_model = \d+ is not a multiple of heads = 7"),
        ("train_autoencoder.initialisation", "pretrained", "pretrained needs fetch_pretrained.autoencoder_name, which is null"),
        ("fetch_pretrained.autoencoder_revision", "main", "autoencoder_revision = 'main': it .*should match pattern"),
        ("fetch_judges.language_model_revision", "main", "language_model_revision = 'main': it .*should match pattern"),
        ("fetch_pretrained.language_model_name", "gpt2", "fetch_pretrained.language_model_name is not a known key"),
        ("train_diffusion.class_unconditional_prob", 1, "class_unconditional_prob = 1: it should be less than 1"),
        (
            "sample_texts.sampling_timesteps",
            10**6,
            r"sampling_timesteps = 1000000 is more than the 1000 of train_diff",
        ),
        ("sample_texts.strategies", [], "strategies = .*should have at least 1 item"),
        ("sample_texts.strategies", ["greeedy"], "strategies.0 = 'greeedy': it should be 'greedy', 'beam' or 'nucleus'"),
        ("sample_texts.eval_seeds", [42, 42], "eval_seeds = .*should name each entry once"),
        ("sample_texts.eval_seeds", [], "eval_seeds = .*should have at least 1 item"),
        ("sample_texts.guidance_weight", 2, "guidance_weight = 2 needs train_diffusion.class_conditional: true"),
        (
            "prepare_references.mauve_features",
            ["words"],
            "mauve_features.0 = 'words': it should be 'sentence' or",
        ),
        ("trackers", ["mlflow"], "trackers.0 = 'mlflow': it should be 'wandb', 'tensorboard' or 'dvclive'"),
        ("sample_texts.num_samples", 0, "num_samples = 0: it should be greater than or equal to 20"),
    ],
)
def test_bad_value_is_named_with_what_is_allowed(key: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=f"^params.yaml: .*{sentence}") as caught:
        parse_config(params_with(key, value))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("section", ["train_autoencoder", "train_language_model"])
def test_bpe_needs_room_for_every_byte(section: str) -> None:
    values = params_with(f"{section}.tokenizer", "bpe")
    values[section]["vocab_size"] = 260
    parse_config(values)
    values[section]["vocab_size"] = 259
    with pytest.raises(InputError, match=f"{section}: vocab_size = 259 is too small for tokenizer = bpe, .* 260 entries"):
        parse_config(values)


def test_conditional_training_needs_a_corpus_with_labels() -> None:
    values = params_with("train_diffusion.class_conditional", True)
    assert parse_config(values).train_diffusion.class_conditional
    with pytest.raises(InputError, match="dataset_name = e2e has none, restaurants, sst2, ag_news, text have"):
        parse_config(values | {"dataset_name": "e2e"})


@pytest.mark.parametrize("weight", [0, 0.5, 2])
def test_autoguidance_needs_a_model_from_before_the_end(weight: float) -> None:
    values = params_with("sample_texts.autoguidance_weight", weight)
    steps = values["train_diffusion"]["num_train_steps"]
    values["train_diffusion"]["evaluate_every"] = steps - 1
    assert parse_config(values).sample_texts.autoguidance_weight == weight
    values["train_diffusion"]["evaluate_every"] = steps
    expected = (
        rf"^params.yaml: sample_texts.autoguidance_weight = {weight:g} moves away from the first model that "
        rf"train_diffusion.evaluate_every = {steps} keeps, so it should be less than num_train_steps = {steps}$"
    )
    with pytest.raises(InputError, match=expected):
        parse_config(values)
    values["sample_texts"]["autoguidance_weight"] = 1
    assert parse_config(values).train_diffusion.evaluate_every == steps


@pytest.mark.parametrize("weight", [0, 0.5, 2])
def test_guidance_needs_a_model_that_was_trained_without_labels_too(weight: float) -> None:
    values = params_with("sample_texts.guidance_weight", weight)
    values["train_diffusion"] |= {"class_conditional": True, "class_unconditional_prob": 0.01}
    assert parse_config(values).sample_texts.guidance_weight == weight
    values["train_diffusion"]["class_unconditional_prob"] = 0
    expected = (
        rf"^params.yaml: sample_texts.guidance_weight = {weight:g} compares with the unconditional model, which "
        "train_diffusion.class_unconditional_prob = 0 never trains: it should be more than 0$"
    )
    with pytest.raises(InputError, match=expected):
        parse_config(values)
    values["sample_texts"]["guidance_weight"] = 1
    assert parse_config(values).train_diffusion.class_unconditional_prob == 0


def test_the_baseline_is_another_model_than_the_judge() -> None:
    values = params_with("train_language_model.seed", 11)
    values["train_language_model"]["baseline_seed"] = 12
    parse_config(values)
    values["train_language_model"]["baseline_seed"] = 11
    expected = "^params.yaml: train_language_model: baseline_seed = 11 is the judge's own seed: the baseline would be the judge$"
    with pytest.raises(InputError, match=expected):
        parse_config(values)


def test_every_fault_is_told_at_once() -> None:
    values = params_with("power", -1) | {"optimizer": "sgd"}
    with pytest.raises(InputError, match=r"power = -1.*optimizer = 'sgd'"):
        parse_config(values)


def test_values_are_those_of_the_file_and_frozen() -> None:
    config = load_config(PARAMS)
    assert config.model_dump() == YAML(typ="safe", pure=True).load(PARAMS)
    with pytest.raises(pydantic.ValidationError):
        config.power = 3  # type: ignore[misc]


@pytest.mark.parametrize("written", ["1e-5", "1e-05", "0.00001"])
def test_numbers_are_read_as_dvc_writes_them(written: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    text, changes = re.subn(r"(train_diffusion:.*?learning_rate: )\S+", rf"\g<1>{written}", PARAMS.read_text(), flags=re.DOTALL)
    assert changes == 1
    path.write_text(text)
    assert load_config(path).train_diffusion.learning_rate == 1e-5


def test_params_in_another_place_are_missed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"params.yaml is not there; stages run from the project's root"):
        load_config(tmp_path / "params.yaml")


def test_broken_yaml_is_told_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text("power: [2\nT_schedule: normal\n")
    with pytest.raises(InputError, match=r"params.yaml is not valid YAML: .*line") as caught:
        load_config(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["", "just a sentence\n", "- a\n- b\n"])
def test_a_file_without_keys_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=r"params.yaml"):
        load_config(path)


@pytest.mark.parametrize(
    ("changes", "section", "sentence"),
    [
        ({"T_schedule": "laplace"}, {"laplace_mean": 50.0}, "laplace_mean = 50 .* leaves no timestep to draw"),
        ({"T_schedule": "laplace"}, {"laplace_mean": -50.0}, "laplace_mean = -50 .* leaves no timestep to draw"),
        ({"T_schedule": "loss_second_moment"}, {"loss_weight": "p2"}, "loss_weight = p2 should be none"),
        (
            {"T_schedule": "loss_curve"},
            {"objective": "pred_v", "loss_type": "l1"},
            "it needs objective = pred_x0 or loss_type = l2",
        ),
        ({}, {"lr_schedule": "warmup_stable_decay", "lr_decay_fraction": 1.0}, "are more steps than there are"),
    ],
)
def test_what_no_timestep_can_be_drawn_from_is_refused(changes: dict[str, Any], section: dict[str, Any], sentence: str) -> None:
    values = params_with("power", 2) | changes
    values["train_diffusion"] = values["train_diffusion"] | section
    with pytest.raises(InputError, match=sentence):
        parse_config(values)
