from pathlib import Path

import pytest
import torch

from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.autoencoder.noising import NOISE_LEVELS, NOT_TOLD, LatentNoising, LevelEmbedding, NoiseAdapter
from annealed_lm.config.sections import TrainAutoencoder
from support.tiny import COMPRESSED, latent_settings, load_bart, make_autoencoder, save_bart

MEAN, STD = torch.tensor([2.0, -1.0, 0.0]), torch.tensor([0.5, 3.0, 1.0])


def observed(positions: int, batches: int = 30) -> LatentNoising:
    torch.manual_seed(0)
    noising = LatentNoising(positions, 3)
    mask = torch.ones(64, 4, dtype=torch.bool)
    mask[::2, 2:] = positions > 1
    for _ in range(batches):
        latents = MEAN + STD * torch.randn(64, 4, 3)
        noising.observe(latents.masked_fill(~mask[..., None], 1e6), mask)
    return noising


def test_params_yaml_allows_the_ways_of_drawing_levels_that_there_are() -> None:
    assert set(NOISE_LEVELS) == set(TrainAutoencoder.model_fields["latent_noise_levels"].annotation.__args__)  # type: ignore[union-attr]


@pytest.mark.parametrize("positions", [1, 4])
def test_running_statistics_are_those_of_the_real_latents(positions: int) -> None:
    noising = observed(positions)
    assert noising.mean.shape == noising.std.shape == (positions, 3)
    torch.testing.assert_close(noising.mean, MEAN.expand(positions, 3), atol=0.3, rtol=0)
    torch.testing.assert_close(noising.std, STD.expand(positions, 3), atol=0, rtol=0.1)


def test_the_first_batch_is_all_that_is_known_and_later_ones_fade() -> None:
    noising = LatentNoising(1, 3)
    mask = torch.ones(5, 4, dtype=torch.bool)
    first = torch.randn(5, 4, 3)
    noising.observe(first, mask)
    torch.testing.assert_close(noising.mean[0], first.mean((0, 1)))
    for _ in range(1000):
        noising.observe(torch.full((5, 4, 3), 7.0), mask)
    torch.testing.assert_close(noising.mean, torch.full((1, 3), 7.0), atol=0.01, rtol=0)


@pytest.mark.parametrize("level", [0.0, 0.3, 0.9, 1.0])
def test_noise_of_a_level_keeps_mean_and_deviation(level: float) -> None:
    noising = observed(1)
    latents = MEAN + STD * torch.randn(3000, 4, 3)
    noisy = noising(latents, torch.full((3000,), level))
    torch.testing.assert_close(noisy.mean((0, 1)), MEAN, atol=0.3, rtol=0)
    torch.testing.assert_close(noisy.std((0, 1)), STD, atol=0, rtol=0.1)
    z, noisy_z = ((each - MEAN) / STD for each in (latents, noisy))
    assert float((z * noisy_z).mean()) == pytest.approx((1 - level**2) ** 0.5, abs=0.05)
    assert torch.equal(noisy, latents) == (level == 0)


def test_every_text_has_a_noise_level_of_its_own() -> None:
    noisy = LatentNoising(1, 3)(torch.ones(3, 2000, 3), torch.tensor([0.0, 0.5, 1.0]))
    assert noisy.std((1, 2)).tolist() == pytest.approx([0, 0.5, 1], abs=0.05)


def test_levels_are_told_apart_and_an_untold_one_adds_nothing() -> None:
    embedding = LevelEmbedding(8)
    assert not embedding(torch.tensor([0.0, 0.5, 1.0])).any()  # untrained
    torch.nn.init.normal_(embedding.projection.weight)
    vectors = embedding(torch.tensor([0.0, 0.5, 1.0, NOT_TOLD]))
    assert vectors.shape == (4, 1, 8)
    assert not vectors[3].any()
    assert all(not torch.isclose(vectors[i], vectors[j]).all() for i, j in ((0, 1), (1, 2), (0, 2)))


@pytest.mark.parametrize("latent_layout", ["compressed", "per_token"])
def test_the_decoder_reads_the_level(latent_layout: str) -> None:
    autoencoder = make_autoencoder(latent_layout)
    assert autoencoder.bottleneck is not None
    torch.nn.init.normal_(autoencoder.bottleneck.level.projection.weight)
    latents, mask = torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)
    untold, high, low = (autoencoder.memory(latents, mask, levels) for levels in (None, torch.ones(2), torch.zeros(2)))
    assert torch.equal(untold, autoencoder.memory(latents, mask, torch.full((2,), NOT_TOLD)))
    assert not torch.isclose(high, low).all()
    assert not torch.isclose(high, untold).all()


@pytest.fixture(scope="module")
def bart_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bart")
    save_bart(folder)
    return folder


FROZEN = latent_settings("per_token", latent_dim=16, frozen_states=True)
ADAPTED = latent_settings("per_token", latent_dim=16, frozen_states=True, adapter_layers=2)


def test_an_untrained_adapter_changes_nothing_and_padding_never_matters() -> None:
    torch.manual_seed(0)
    adapter = NoiseAdapter(16, 2, 2)
    states, mask = torch.randn(2, 5, 16), torch.ones(2, 5, dtype=torch.bool)
    mask[1, 3:] = False
    levels = torch.tensor([0.5, 0.9])
    assert torch.equal(adapter(states, mask, levels), states)
    torch.nn.init.normal_(adapter.correction.weight)
    read = adapter(states, mask, levels)
    assert not torch.isclose(read, states).all()
    other = states.clone()
    other[1, 3:] = 7
    torch.testing.assert_close(adapter(other, mask, levels)[mask], read[mask])


def test_a_frozen_decoder_reads_clean_states_as_they_are_and_noisy_ones_through_its_adapter(bart_folder: Path) -> None:
    autoencoder = load_bart(bart_folder, ADAPTED)
    assert autoencoder.adapter is not None
    assert autoencoder.reader is autoencoder.learner() is autoencoder.adapter
    torch.nn.init.normal_(autoencoder.adapter.correction.weight)
    states, mask = torch.randn(2, 5, 16), torch.ones(2, 5, dtype=torch.bool)
    assert torch.equal(autoencoder.memory(states, mask), states)
    assert not torch.isclose(autoencoder.memory(states, mask, torch.full((2,), 0.8)), states).all()


def test_what_the_decoder_has_learned_to_read_is_known(bart_folder: Path) -> None:
    assert make_autoencoder(latent_noise=0.7).highest_level == 0.7
    assert load_bart(bart_folder, FROZEN).highest_level == 0
    assert load_bart(bart_folder, ADAPTED).highest_level == ADAPTED.latent_noise


@pytest.mark.parametrize("settings", [ADAPTED, COMPRESSED])
def test_the_layers_of_a_pretrained_decoder_are_trained_where_that_is_asked(settings: object, bart_folder: Path) -> None:
    autoencoder = load_bart(bart_folder, settings)  # type: ignore[arg-type]
    assert autoencoder.learner() is autoencoder.reader
    autoencoder.freeze_bart(but_decoder=True)
    learner = autoencoder.learner()
    trained = {id(parameter) for parameter in learner.parameters() if parameter.requires_grad}
    layers = {id(parameter) for parameter in autoencoder.bart.model.decoder.layers.parameters()}
    encoder = {id(parameter) for parameter in autoencoder.bart.model.encoder.parameters()}
    assert layers < trained
    assert not encoder & trained
    assert {id(matrix) for matrix in learner.hidden_matrices()} <= trained


def test_a_saved_adapter_reads_the_same(bart_folder: Path, tmp_path: Path) -> None:
    autoencoder = load_bart(bart_folder, ADAPTED)
    assert autoencoder.adapter is not None
    torch.nn.init.normal_(autoencoder.adapter.correction.weight)
    autoencoder.adapter.noising.observe(torch.randn(4, 5, 16), torch.ones(4, 5, dtype=torch.bool))
    autoencoder.save(tmp_path / "out", "0123456789abcdef", "text")
    states, mask, levels = torch.randn(2, 5, 16), torch.ones(2, 5, dtype=torch.bool), torch.full((2,), 0.8)
    loaded = Autoencoder.load(tmp_path / "out")
    assert torch.equal(loaded.memory(states, mask, levels), autoencoder.memory(states, mask, levels))
