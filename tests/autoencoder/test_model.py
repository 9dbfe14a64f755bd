from pathlib import Path

import pytest
import torch

from annealed_lm.autoencoder.model import Autoencoder, require_same_corpus, small_bart
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.common.errors import InputError
from annealed_lm.trainers.autoencoder import AutoencoderTraining, decoder_inputs, train_autoencoder
from annealed_lm.training.checkpoints import CheckpointStore
from support.tiny import (
    COMPRESSED,
    CPU,
    LAYOUTS,
    MAX_TOKENS,
    TEXTS,
    encode,
    latent_settings,
    load_bart,
    make_autoencoder,
    save_bart,
)

BATCH = [TEXTS[0], "the old crown is far from here", "the pub", "a red kettle seems cheap and good"]
BART_WIDTH = 16
FROZEN = latent_settings("per_token", latent_dim=BART_WIDTH, frozen_states=True)


@pytest.fixture(scope="module")
def bart_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bart-base")
    save_bart(folder, BART_WIDTH)
    return folder


@torch.inference_mode()
def outputs(autoencoder: Autoencoder, texts: list[str], padding: int = 0) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(latents, logits) of the real positions of each text, computed in one batch with `padding` more columns than it needs."""
    ids, mask = encode(autoencoder, texts)
    ids = torch.nn.functional.pad(ids, (0, padding), value=autoencoder.tokenizer.pad_token_id)
    mask = torch.nn.functional.pad(mask, (0, padding), value=False)
    latents, latent_mask = autoencoder.encode(ids, mask)
    inputs, _ = decoder_inputs(autoencoder, ids)
    logits = autoencoder.logits(latents, latent_mask, inputs)
    parts = zip(latents, latent_mask, logits, mask[:, : inputs.shape[1]], strict=True)
    return [(each[real], scores[written]) for each, real, scores, written in parts]


@pytest.mark.parametrize("latent_layout", [*LAYOUTS, "pretrained"])
def test_padding_changes_neither_latents_nor_logits(latent_layout: str, bart_folder: Path) -> None:
    autoencoder = load_bart(bart_folder, FROZEN) if latent_layout == "pretrained" else make_autoencoder(latent_layout)
    together = outputs(autoencoder, BATCH)
    alone = [outputs(autoencoder, [text])[0] for text in BATCH]
    padded = outputs(autoencoder, BATCH, padding=2)
    for one, other, wider in zip(together, alone, padded, strict=True):
        length = len(other[1])
        torch.testing.assert_close(one[0], other[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(wider[0], other[0], atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(one[1][:length], other[1], atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(wider[1][:length], other[1], atol=1e-4, rtol=1e-4)


def test_compressed_latents_are_as_many_for_every_text() -> None:
    latents = [each for each, _ in outputs(make_autoencoder("compressed"), BATCH)]
    assert {each.shape for each in latents} == {(COMPRESSED.num_latents, COMPRESSED.latent_dim)}


def test_latents_per_token_are_as_many_as_the_tokens() -> None:
    autoencoder = make_autoencoder("per_token")
    latents = [each for each, _ in outputs(autoencoder, BATCH)]
    tokens = [len(ids) for ids in tokenize(autoencoder.tokenizer, BATCH, MAX_TOKENS)]
    assert [len(each) for each in latents] == tokens
    assert len(set(tokens)) > 2


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_each_latent_vector_has_mean_0_and_norm_sqrt_of_its_width(latent_layout: str) -> None:
    autoencoder = make_autoencoder(latent_layout)
    assert autoencoder.normalised
    vectors = torch.cat([latents for latents, _ in outputs(autoencoder, BATCH)])
    torch.testing.assert_close(vectors.mean(-1), torch.zeros(len(vectors)), atol=1e-5, rtol=0)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.full((len(vectors),), COMPRESSED.latent_dim**0.5), rtol=1e-3, atol=0)


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_latents_tell_texts_apart_and_the_decoder_reads_every_one(latent_layout: str) -> None:
    autoencoder = make_autoencoder(latent_layout)
    ids, mask = encode(autoencoder, BATCH)
    latents, latent_mask = autoencoder.encode(ids, mask)
    assert not torch.isclose(latents[0, 0], latents[1, 0], atol=1e-3).all()
    latents = latents.detach().requires_grad_()
    logits = autoencoder.logits(latents, latent_mask, ids[:, :1])
    gradient = torch.autograd.grad(logits.logsumexp(-1).sum(), latents)[0]
    assert (gradient[latent_mask].abs().sum(-1) > 0).all()
    assert not gradient[~latent_mask].any()


@pytest.mark.parametrize("changes", [{"resampler_layers": 2}, {"reconstruction_layers": 0}, {"reconstruction_layers": 2}])
def test_the_number_of_blocks_is_the_one_asked_for(changes: dict[str, int]) -> None:
    bottleneck = make_autoencoder(**changes).bottleneck
    assert bottleneck is not None
    blocks = {"resampler_layers": len(bottleneck.resampler), "reconstruction_layers": len(bottleneck.reconstruction)}
    assert blocks == {"resampler_layers": 1, "reconstruction_layers": 1} | changes


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_a_saved_autoencoder_gives_the_same_latents_and_logits(latent_layout: str, tmp_path: Path) -> None:
    autoencoder = make_autoencoder(latent_layout)
    autoencoder.save(tmp_path / "out", "0123456789abcdef", "restaurants")
    loaded = Autoencoder.load(tmp_path / "out")
    assert loaded.settings == autoencoder.settings
    assert not loaded.training
    for one, other in zip(outputs(autoencoder, BATCH), outputs(loaded, BATCH), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])


def test_an_autoencoder_of_other_texts_is_named(tmp_path: Path) -> None:
    make_autoencoder().save(tmp_path / "out", "0123456789abcdef", "restaurants")
    require_same_corpus(tmp_path / "out", "0123456789abcdef")
    with pytest.raises(InputError, match=r"trained on other texts \(restaurants, fingerprint 0123456789ab\).*fedcba987654"):
        require_same_corpus(tmp_path / "out", "fedcba9876543210")


def test_a_folder_without_an_autoencoder_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no autoencoder"):
        Autoencoder.load(tmp_path)


def test_the_small_bart_starts_with_the_beginning_of_text_and_forces_nothing() -> None:
    tokenizer = make_autoencoder().tokenizer
    bart = small_bart(tokenizer, 8, 2, 2, MAX_TOKENS)
    assert bart.config.decoder_start_token_id == tokenizer.bos_token_id
    assert bart.generation_config.forced_bos_token_id is None
    assert bart.generation_config.forced_eos_token_id is None
    assert bart.config.vocab_size == len(tokenizer)
    assert len(bart.model.encoder.layers) == len(bart.model.decoder.layers) == 2
    assert bart.model.decoder.embed_tokens.weight is bart.lm_head.weight


def test_hidden_matrices_are_those_between_hidden_states() -> None:
    autoencoder = make_autoencoder()
    chosen = {id(matrix) for matrix in autoencoder.hidden_matrices()}
    names = {name for name, p in autoencoder.named_parameters() if id(p) in chosen}
    left_out = {name for name, p in autoencoder.named_parameters() if p.ndim == 2} - names
    assert left_out == {
        "bart.model.shared.weight",
        "bart.model.encoder.embed_positions.weight",
        "bart.model.decoder.embed_positions.weight",
        "bottleneck.queries",
        "bottleneck.position",
    }
    assert all(autoencoder.get_parameter(name).ndim == 2 for name in names)


def test_everything_from_scratch_is_trained_and_of_a_pretrained_model_the_bottleneck(bart_folder: Path) -> None:
    scratch, pretrained = make_autoencoder(), load_bart(bart_folder, COMPRESSED)
    assert scratch.learner() is scratch
    assert all(parameter.requires_grad for parameter in scratch.parameters())
    assert pretrained.learner() is pretrained.bottleneck
    assert {name.split(".")[0] for name, p in pretrained.named_parameters() if p.requires_grad} == {"bottleneck"}


def test_frozen_latents_per_token_are_the_states_of_the_encoder(bart_folder: Path) -> None:
    autoencoder = load_bart(bart_folder, FROZEN)
    ids, mask = encode(autoencoder, BATCH)
    latents, latent_mask = autoencoder.encode(ids, mask)
    states = autoencoder.bart.model.encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(latents, states)
    assert torch.equal(latent_mask, mask)
    assert not autoencoder.normalised
    inputs, _ = decoder_inputs(autoencoder, ids)
    whole = autoencoder.bart(input_ids=ids, attention_mask=mask, decoder_input_ids=inputs).logits
    torch.testing.assert_close(autoencoder.logits(latents, latent_mask, inputs), whole, atol=1e-5, rtol=1e-5)


def test_frozen_latents_must_be_as_wide_as_the_model(bart_folder: Path) -> None:
    settings = latent_settings("per_token", latent_dim=8, frozen_states=True)
    with pytest.raises(InputError, match=r"train_autoencoder.latent_dim = 8: .* it must be the model's d_model, 16"):
        load_bart(bart_folder, settings)


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_texts_must_not_be_longer_than_the_model_can_read(latent_layout: str, bart_folder: Path) -> None:
    with pytest.raises(InputError, match=r"train_autoencoder.max_tokens = 65 is more than the model's 64 positions"):
        load_bart(bart_folder, latent_settings(latent_layout, max_tokens=65))


@pytest.mark.parametrize("latent_layout", LAYOUTS)
def test_training_a_pretrained_model_changes_its_bottleneck_only(latent_layout: str, bart_folder: Path, tmp_path: Path) -> None:
    autoencoder = load_bart(bart_folder, latent_settings(latent_layout))
    before = {name: weight.clone() for name, weight in autoencoder.state_dict().items()}
    training = AutoencoderTraining(
        seed=0,
        token_dropout=0.3,
        latent_noise=0.5,
        latent_noise_levels="uniform",
        full_noise_share=0.0,
        num_train_steps=5,
        batch_size=8,
        learning_rate=0.01,
        lr_warmup_steps=0,
        weight_decay=0.01,
    )
    ids = tokenize(autoencoder.tokenizer, TEXTS[:40], MAX_TOKENS)
    train_autoencoder(autoencoder, ids, training, CheckpointStore(tmp_path), CPU)
    changed = {name for name, weight in autoencoder.state_dict().items() if not torch.equal(weight, before[name])}
    assert changed == {name for name in before if name.startswith("bottleneck.")}
