import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from annealed_lm.autoencoder.model import Autoencoder
from annealed_lm.autoencoder.noising import NOISE_LEVELS, NOT_TOLD, LatentNoising
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.common.errors import InputError
from annealed_lm.trainers import autoencoder as autoencoder_training
from annealed_lm.trainers.autoencoder import (
    WITHHELD_LEVELS,
    AutoencoderTraining,
    decoder_inputs,
    draw_levels,
    drop_tokens,
    reconstruction_loss,
    train_autoencoder,
)
from annealed_lm.training import loop as training_loop
from annealed_lm.training.checkpoints import CheckpointStore
from support.tiny import (
    AUTOENCODER_TRAINING,
    CPU,
    MAX_TOKENS,
    TEXTS,
    encode,
    latent_settings,
    load_bart,
    make_autoencoder,
    save_bart,
)


def train(folder: Path, latent_layout: str = "compressed", **changes: Any) -> Autoencoder:
    autoencoder = make_autoencoder(latent_layout)
    token_ids = tokenize(autoencoder.tokenizer, TEXTS, MAX_TOKENS)
    training = dataclasses.replace(AUTOENCODER_TRAINING, **changes)
    train_autoencoder(autoencoder, token_ids, training, CheckpointStore(folder), CPU)
    return autoencoder


def same_weights(one: Autoencoder, other: Autoencoder) -> bool:
    return all(torch.equal(*pair) for pair in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Autoencoder:
    return train(tmp_path_factory.mktemp("resume"))


@torch.inference_mode()
def loss(autoencoder: Autoencoder, token_dropout: float = 0.0, latent_noise: float = 0.0) -> float:
    torch.manual_seed(0)
    levels = latent_noise * torch.rand(64)
    return reconstruction_loss(autoencoder, *encode(autoencoder, TEXTS[:64]), token_dropout, levels, levels).item()


def test_the_loss_falls_from_that_of_guessing_to_almost_none(trained_autoencoders: dict[str, Autoencoder]) -> None:
    for latent_layout, autoencoder in trained_autoencoders.items():
        assert loss(make_autoencoder(latent_layout)) > 0.8 * math.log(len(autoencoder.tokenizer))
        assert loss(autoencoder) < 0.15
        assert not autoencoder.training


def test_noise_and_dropped_tokens_make_the_task_harder(trained_autoencoders: dict[str, Autoencoder]) -> None:
    for autoencoder in trained_autoencoders.values():
        assert loss(autoencoder) < loss(autoencoder, latent_noise=0.7) < loss(autoencoder, latent_noise=1.0)
        assert loss(autoencoder, latent_noise=1.0) < loss(autoencoder, token_dropout=0.9, latent_noise=1.0)


def test_padding_is_no_part_of_the_loss() -> None:
    autoencoder = make_autoencoder("per_token")
    ids, mask = encode(autoencoder, TEXTS[:8])
    wider = torch.nn.functional.pad(ids, (0, 1), value=autoencoder.tokenizer.pad_token_id)
    wider_mask = torch.nn.functional.pad(mask, (0, 1), value=False)
    clean = torch.zeros(8)
    torch.testing.assert_close(
        reconstruction_loss(autoencoder, ids, mask, 0.0, clean, clean),
        reconstruction_loss(autoencoder, wider, wider_mask, 0.0, clean, clean),
    )


@pytest.mark.parametrize(
    "changes",
    [
        {"seed": 1},
        {"token_dropout": 0.0},
        {"latent_noise": 0.0},
        {"latent_noise_levels": "cosine"},
        {"full_noise_share": 0.5},
        {"num_train_steps": 9},
        {"batch_size": 9},
        {"learning_rate": 0.001},
        {"lr_warmup_steps": 0},
        {"weight_decay": 0.5},
    ],
)
def test_every_parameter_has_an_effect(changes: dict[str, Any], reference: Autoencoder, tmp_path: Path) -> None:
    assert not same_weights(reference, train(tmp_path, **changes))


def test_the_same_parameters_give_the_same_weights(reference: Autoencoder, tmp_path: Path) -> None:
    torch.rand(3)
    assert same_weights(reference, train(tmp_path))


@pytest.mark.parametrize("latent_layout", ["compressed", "per_token"])
def test_interrupted_and_resumed_equals_uninterrupted(
    latent_layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoencoder_training, "CHECKPOINT_EVERY", 3)
    expected = train(tmp_path / "uninterrupted", latent_layout)
    original = reconstruction_loss
    calls = 0

    def dies_in_step_5(*arguments: Any) -> Tensor:
        nonlocal calls
        calls += 1
        if calls == 6:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(autoencoder_training, "reconstruction_loss", dies_in_step_5)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "key", latent_layout)
    resumed = train(tmp_path / "key", latent_layout)
    assert calls == 6 + 8 - 3
    assert same_weights(resumed, expected)


def test_the_noise_on_the_latents_grows_over_the_first_quarter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ramps = []

    def recorded(count: int, training: AutoencoderTraining, ramp: float, device: torch.device) -> tuple[Tensor, Tensor]:
        ramps.append(ramp)
        return draw_levels(count, training, ramp, device)

    monkeypatch.setattr(autoencoder_training, "draw_levels", recorded)
    train(tmp_path, latent_noise=0.5, num_train_steps=20)
    assert ramps == pytest.approx([0.2, 0.4, 0.6, 0.8, *[1.0] * 16])


@pytest.mark.parametrize("latent_noise_levels", NOISE_LEVELS)
def test_levels_are_drawn_up_to_the_highest_and_told_of_half_the_texts(latent_noise_levels: str) -> None:
    torch.manual_seed(0)
    training = dataclasses.replace(
        AUTOENCODER_TRAINING, latent_noise=0.8, latent_noise_levels=latent_noise_levels, full_noise_share=0.25
    )
    levels, told = draw_levels(20_000, training, 0.5, CPU)
    full = levels == 1
    assert float(full.double().mean()) == pytest.approx(0.25, abs=0.02)
    drawn = levels[~full] / (0.5 * 0.8)
    assert float(drawn.max()) == pytest.approx(1, abs=0.01)
    below = {"uniform": 0.5, "cosine": 1 / 3}  # the share under half the highest level
    assert float((drawn < 0.5).double().mean()) == pytest.approx(below[latent_noise_levels], abs=0.02)
    withheld = told == NOT_TOLD
    assert float(withheld.double().mean()) == pytest.approx(WITHHELD_LEVELS, abs=0.02)
    assert torch.equal(told[~withheld], levels[~withheld])


def test_a_loss_that_is_not_finite_stops_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LatentNoising, "forward", lambda self, latents, levels: latents * math.nan)
    with pytest.raises(InputError, match="the loss is nan at step 0"):
        train(tmp_path)


def test_progress_shows_loss_and_learning_rate_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = []
    original = training_loop.require_finite

    def recorded(loss: float, step: int, store: CheckpointStore) -> None:
        shown.append(step)
        original(loss, step, store)

    monkeypatch.setattr(training_loop, "require_finite", recorded)
    train(tmp_path, num_train_steps=22)
    assert shown == [0, 20]


@pytest.mark.parametrize("share", [0.0, 0.35, 0.9])
def test_the_stated_share_of_inputs_is_dropped_but_never_the_first(share: float) -> None:
    autoencoder = make_autoencoder()
    torch.manual_seed(0)
    inputs = torch.full((200, 100), 7)
    dropped = drop_tokens(autoencoder, inputs, share)
    assert (dropped[:, 0] == 7).all()
    assert set(dropped.unique().tolist()) <= {7, autoencoder.tokenizer.unk_token_id}
    assert float((dropped[:, 1:] != 7).double().mean()) == pytest.approx(share, abs=0.01)


def test_a_decoder_that_starts_with_the_first_token_need_not_write_it() -> None:
    inputs, labels = decoder_inputs(make_autoencoder(), torch.tensor([[0, 7, 8, 2], [0, 9, 2, 1]]))
    assert inputs.tolist() == [[0, 7, 8], [0, 9, 2]]
    assert labels.tolist() == [[7, 8, 2], [9, 2, 1]]


def test_barts_own_decoder_starts_with_the_end_and_writes_the_first_token(tmp_path: Path) -> None:
    save_bart(tmp_path)
    inputs, labels = decoder_inputs(load_bart(tmp_path, latent_settings()), torch.tensor([[0, 7, 8, 2], [0, 9, 2, 1]]))
    assert inputs.tolist() == [[2, 0, 7, 8], [2, 0, 9, 2]]
    assert labels.tolist() == [[0, 7, 8, 2], [0, 9, 2, 1]]
