import pytest

from annealed_lm.annealing.timesteps import DISTRIBUTIONS
from annealed_lm.config.effects import USED_ONLY_WITH, decisive, parameters_of_T_schedule, parameters_without_effect
from annealed_lm.config.yaml_files import value_at
from support.tiny import tiny_params


def params(T_schedule: str, **section: object) -> dict[str, object]:
    values = tiny_params()
    return values | {"T_schedule": T_schedule, "train_diffusion": values["train_diffusion"] | section}


@pytest.mark.parametrize(
    ("T_schedule", "base_schedule", "power_is_read", "start_is_read"),
    [
        ("normal", "polynomial", False, False),
        ("linear", "polynomial", False, True),
        ("polynomial", "linear", True, True),
        ("reverse", "linear", False, True),
        ("static", "polynomial", True, True),
        ("logit_normal", "polynomial", False, False),
    ],
)
def test_a_schedule_uses_its_own_parameters_and_those_of_its_base(
    T_schedule: str, base_schedule: str, power_is_read: bool, start_is_read: bool
) -> None:
    unused = parameters_without_effect(params(T_schedule, base_schedule=base_schedule))
    assert ("power" not in unused) == power_is_read
    assert ("train_diffusion.start_fraction" not in unused) == start_is_read
    assert ("train_diffusion.base_schedule" not in unused) == (T_schedule in ("reverse", "static"))


@pytest.mark.parametrize("T_schedule", DISTRIBUTIONS)
def test_every_named_parameter_is_one_of_params_yaml(T_schedule: str) -> None:
    for key in parameters_of_T_schedule(T_schedule, "polynomial") | parameters_without_effect(params(T_schedule)):
        value_at(tiny_params(), key)


def test_the_parameters_of_a_choice_are_used_with_that_choice_only() -> None:
    assert "train_diffusion.min_snr_gamma" in parameters_without_effect(params("normal"))
    used = parameters_without_effect(params("normal", loss_weight="min_snr", noise_schedule="tan"))
    assert not used & {"train_diffusion.min_snr_gamma", "train_diffusion.tan_d"}
    assert "train_diffusion.p2_k" in used
    assert all(value_at(tiny_params(), key) is not None for key in USED_ONLY_WITH)


def test_weights_by_density_change_nothing_where_it_is_uniform() -> None:
    assert "train_diffusion.sampling_weights" in parameters_without_effect(params("normal"))
    assert "train_diffusion.sampling_weights" not in parameters_without_effect(params("linear"))


@pytest.mark.parametrize(
    ("choice", "unread"),
    [
        ({}, {"adapter_layers", "train_decoder"}),
        ({"initialisation": "pretrained"}, {"tokenizer", "vocab_size", "d_model", "layers", "heads"}),
        ({"latent_layout": "per_token"}, {"num_latents", "resampler_layers", "adapter_layers", "train_decoder"}),
    ],
)
def test_an_autoencoder_reads_what_it_is_made_of(choice: dict[str, str], unread: set[str]) -> None:
    section = tiny_params()["train_autoencoder"] | choice
    assert section.keys() - decisive("train_autoencoder", section).keys() == unread


def test_what_decides_a_training_is_what_is_read_of_its_section_and_beside_it() -> None:
    for T_schedule, expected in {
        "normal": set(),
        "laplace": {"laplace_mean"},
        "linear": {"start_fraction"},
        "polynomial": {"start_fraction", "power"},
    }.items():
        beside = {"T_schedule": T_schedule, "power": 2, "random_seed": 1, "train_latents": "cached"}
        found = decisive("train_diffusion", tiny_params()["train_diffusion"] | beside)
        assert found.keys() & {"laplace_mean", "start_fraction", "power"} == expected
        assert found.keys() >= {"random_seed", "train_latents", "T_schedule", "learning_rate"}


def test_where_a_range_starts_above_0_every_T_schedule_reads_what_its_shares_are_of() -> None:
    assert "train_diffusion.range_in" in parameters_without_effect(params("normal"))
    assert "train_diffusion.range_in" not in parameters_without_effect(params("normal", range_start=0.5))


def test_eta_is_read_by_ddim_alone() -> None:
    values = tiny_params()
    assert "sample_texts.ddim_sampling_eta" not in parameters_without_effect(values)
    other = values | {"sample_texts": values["sample_texts"] | {"solver": "dpm_solver"}}
    assert "sample_texts.ddim_sampling_eta" in parameters_without_effect(other)
