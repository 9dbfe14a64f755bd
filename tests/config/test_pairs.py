"""What two values or more must be to each other."""

from typing import Any

import pytest

from annealed_lm.config.config import Config
from annealed_lm.config.pairs import MOST_RESTAURANTS, MULTIPLES, PAIRS, AtMost
from support.odd_values import PARAMS, changed, outcome


def value_at(key: str) -> Any:
    section, name = key.split(".")
    return PARAMS[section][name]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.key)
def test_of_a_pair_one_just_fits_into_the_other(pair: AtMost) -> None:
    limit = value_at(pair.limit)
    most = limit // pair.times
    values = changed(PARAMS, **{other.limit: 10**5 for other in PAIRS if other.key == pair.key and other.limit != pair.limit})
    assert isinstance(outcome(changed(values, **{pair.key: most})), Config)
    found = outcome(changed(values, **{pair.key: most + 1}))
    assert isinstance(found, str)
    assert f"{pair.key.split('.')[1]} = {most + 1} is more than " in found
    assert f"{pair.limit.split('.')[1]} = {limit}" in found


@pytest.mark.parametrize(("section", "width", "heads"), MULTIPLES)
def test_heads_divide_the_width(section: str, width: str, heads: str) -> None:
    values = changed(PARAMS, **{f"{section}.{width}": 60, f"{section}.{heads}": 6})
    assert isinstance(outcome(values), Config)
    assert f"{section}: {width} = 60 is not a multiple of {heads} = 7" in outcome(changed(values, **{f"{section}.{heads}": 7}))


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"train_diffusion.lr_warmup_steps": 1000, "train_diffusion.num_train_steps": 20},
            "params.yaml: train_diffusion: lr_warmup_steps = 1000 is more than num_train_steps = 20",
        ),
        (
            {"train_diffusion.num_processes": 4, "train_diffusion.gradient_accumulation_steps": 33},
            "params.yaml: train_diffusion: gradient_accumulation_steps = 33 of num_processes = 4 cut a batch into more parts "
            "than train_batch_size = 128 texts",
        ),
        (
            {"sample_texts.num_samples": 501, "prepare_data.train_texts": 1001},
            "params.yaml: 2 times sample_texts.num_samples = 501 is more than prepare_data.train_texts = 1001: "
            "samples are compared with as many training texts, and these with as many others",
        ),
        (
            {"prepare_data.train_texts": 5_000_000},
            f"params.yaml: prepare_data: train_texts + valid_texts + test_texts = 5002000 is more than the {MOST_RESTAURANTS} "
            "texts that dataset_name = restaurants makes at most",
        ),
        (
            {"sample_texts.decode_at": 0.5, "sample_texts.sampling_timesteps": 900},
            "params.yaml: sample_texts: sampling_timesteps = 900 is more than the 672 of train_diffusion.timesteps = 1000 that "
            "lie above decode_at = 0.5",
        ),
        (
            {"sample_texts.decode_at": 0.5, "train_diffusion.range_start": 0.4},
            "params.yaml: sample_texts.decode_at = 0.5 is less noise than train_diffusion.range_start = 0.4 trains down to: it "
            "should be at least 0.594",
        ),
        (
            {"sample_texts.decode_at": 0.15, "train_diffusion.noise_schedule": "sqrt"},
            "params.yaml: sample_texts.decode_at = 0.15 is less noise than train_diffusion.noise_schedule = sqrt has at t = 0: "
            "it should be 0 or at least 0.183",
        ),
        (
            {"sample_texts.decode_at": 0.6},
            "params.yaml: sample_texts.decode_at = 0.6 is more noise than the decoder learns to read: it should be at most "
            "train_autoencoder.latent_noise = 0.5",
        ),
        (
            {
                "sample_texts.decode_at": 0.4,
                "train_autoencoder.initialisation": "pretrained",
                "train_autoencoder.latent_layout": "per_token",
                "fetch_pretrained.autoencoder_name": "bart",
            },
            "params.yaml: sample_texts.decode_at = 0.4 needs train_autoencoder.adapter_layers of at least 1: nothing else learns "
            "to read noisy states of a pretrained model",
        ),
        (
            {"sample_texts.decode_at": 0.4, "train_diffusion.normalize_latent": False},
            "params.yaml: sample_texts.decode_at = 0.4 needs train_diffusion.normalize_latent: true, the noise that the decoder "
            "learns to read",
        ),
        (
            {"train_diffusion.laplace_mean": 100},
            "params.yaml: train_diffusion.laplace_mean = 100 with laplace_scale = 0.5 leaves no timestep to draw: "
            "the log-SNRs of noise_schedule = cosine are all far from it",
        ),
        (
            {
                "train_diffusion.loss_weight": "p2",
                "train_diffusion.p2_k": 0,
                "train_diffusion.p2_gamma": 10,
                "train_diffusion.objective": "pred_noise",
            },
            "params.yaml: train_diffusion.loss_weight = p2 with p2_k = 0 and p2_gamma = 10 weights the loss by up to 1.4e+86, "
            "which single precision does not hold",
        ),
        (
            {"T_schedule": "loss_curve", "train_diffusion.objective": "pred_noise", "train_diffusion.normalize_latent": False},
            "params.yaml: T_schedule = loss_curve with objective = pred_noise bounds the loss of x_start by the variance of "
            "normalised latents, so train_diffusion.normalize_latent should be true",
        ),
    ],
)
def test_what_does_not_go_together_is_told_in_one_sentence(changes: dict[str, Any], sentence: str) -> None:
    assert outcome(changed(PARAMS, **changes)) == sentence


def test_corpora_of_files_may_be_of_any_size() -> None:
    assert isinstance(outcome(changed(PARAMS, **{"dataset_name": "text", "prepare_data.train_texts": 5_000_000})), Config)


def test_all_that_does_not_go_together_is_told_at_once() -> None:
    found = outcome(changed(PARAMS, **{"train_diffusion.lr_warmup_steps": 10**4, "train_language_model.heads": 5}))
    assert isinstance(found, str)
    assert "lr_warmup_steps = 10000 is more than num_train_steps = 1200; train_language_model: d_model = 64 is not" in found


NAMES = ("fetch_pretrained.autoencoder_name", "fetch_judges.language_model_name", "fetch_judges.feature_model_name")


@pytest.mark.parametrize("key", NAMES)
@pytest.mark.parametrize("name", ["", " ", "~nouser/x", "x" * 5000, "models/" + "x" * 300, "a\nb", "a\0b", "a\u2028b", 5])
def test_names_of_models_that_can_be_no_folder_are_refused_in_one_line(key: str, name: Any) -> None:
    found = outcome(changed(PARAMS, **{key: name}))
    assert isinstance(found, str)
    assert found.startswith(f"params.yaml: {key} = ")
    assert "it should be" in found
    assert len(found.splitlines()) == 1
    assert len(found) < 400


@pytest.mark.parametrize("name", ["facebook/bart-base", "models/my model", "/srv/modèles/bart", "~/bart", "~root/bart"])
def test_names_of_models_may_be_those_of_folders(name: str) -> None:
    assert isinstance(outcome(changed(PARAMS, **{"fetch_judges.language_model_name": name})), Config)
