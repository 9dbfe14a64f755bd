"""A training step on a GPU: the same in every precision but for rounding, the same after a resume, and it waits for nothing."""

import copy
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState

from annealed_lab.benchmarks.captured import CapturedSteps, with_captured_steps, with_few_lengths
from annealed_lm.autoencoder.latents import LatentsOnDevice, nearest_source
from annealed_lm.common.devices import default_device
from annealed_lm.trainers.denoiser import DiffusionTrainer
from annealed_lm.training.checkpoints import CheckpointStore
from support.tiny import write_latents
from support.trainers import make_trainer, plain_accelerator

pytestmark = pytest.mark.gpu
DEVICE = default_device()
needs_gpu = pytest.mark.skipif(DEVICE.type != "cuda", reason="this machine has no GPU")
STEPS = 6


@pytest.fixture(autouse=True)
def no_precision_left_over() -> Iterator[None]:
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@pytest.fixture
def latents(tmp_path: Path) -> Path:
    return write_latents(tmp_path / "latents")


def trainer_of(latents: Path, mixed_precision: str = "no", **changes: object) -> DiffusionTrainer:
    """A trainer on the device at hand, whose latents are where a training would have them."""
    AcceleratorState._reset_state(reset_partial_state=True)
    trainer = make_trainer(latents, plain_accelerator(mixed_precision), **changes)
    trainer.latents = nearest_source(trainer.latents, DEVICE)  # type: ignore[arg-type]
    trainer.diffusion.alphas_cumprod = trainer.diffusion.alphas_cumprod.to(DEVICE)
    trainer.denoiser.train()
    return trainer


def losses(trainer: DiffusionTrainer, steps: range = range(STEPS)) -> list[float]:
    return [float(trainer.train_step(step)) for step in steps]


@pytest.mark.parametrize("mixed_precision", ["bf16", pytest.param("fp16", marks=needs_gpu)])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_steps_in_half_precision_are_those_in_full_but_for_rounding(mixed_precision: str, optimizer: str, latents: Path) -> None:
    full, half = (losses(trainer_of(latents, each, optimizer=optimizer)) for each in ("no", mixed_precision))
    assert half == pytest.approx(full, rel=0.05)
    assert half != full


@needs_gpu
def test_an_overflow_of_fp16_leaves_learning_rate_and_average_alone(latents: Path) -> None:
    trainer = trainer_of(latents, "fp16", lr_schedule="linear")
    scaler = trainer.accelerator.scaler
    assert scaler is not None
    rate, average = trainer.updates.learning_rate, copy.deepcopy(trainer.averaged_denoiser().state_dict())
    for parameter in trainer.denoiser.parameters():
        parameter.register_hook(lambda gradient: gradient * float("inf"))
    trainer.train_step(0)
    assert scaler.get_scale() == 2.0**15  # half of what torch begins with
    assert trainer.updates.learning_rate == rate
    assert all(torch.equal(value, average[name]) for name, value in trainer.averaged_denoiser().state_dict().items())


@pytest.mark.parametrize("mixed_precision", ["no", "bf16", pytest.param("fp16", marks=needs_gpu)])
def test_a_resumed_training_is_the_uninterrupted_one(mixed_precision: str, latents: Path, tmp_path: Path) -> None:
    """Bit for bit on a CPU; kernels of a GPU may add up in another order each time: to what is seen in ten digits there."""
    whole = trainer_of(latents, mixed_precision)
    expected = losses(whole)
    first, second = trainer_of(latents, mixed_precision), trainer_of(latents, mixed_precision)
    losses(first, range(3))
    CheckpointStore(tmp_path / "key").save(3, first.state(), {})
    assert CheckpointStore(tmp_path / "key").load(second.state(), {}) == 3
    found = losses(second, range(3, STEPS))
    if DEVICE.type == "cpu":
        assert found == expected[3:]
        assert all(map(torch.equal, whole.denoiser.parameters(), second.denoiser.parameters()))
    assert found == pytest.approx(expected[3:], rel=1e-3)


@needs_gpu
def test_latents_are_on_the_device(latents: Path) -> None:
    trainer = trainer_of(latents)
    assert isinstance(trainer.latents, LatentsOnDevice)
    x_start, mask, draws, _ = trainer.inputs(0)
    assert {each.device.type for each in (x_start, mask, draws.t, draws.noise)} == {"cuda"}


@needs_gpu
@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
@pytest.mark.parametrize("optimizer", ["adamw", "lion", "muon"])
def test_a_step_never_waits_for_the_device(mixed_precision: str, optimizer: str, latents: Path) -> None:
    trainer = trainer_of(latents, mixed_precision, optimizer=optimizer)
    trainer.train_step(0)  # which makes what is made at first use
    torch.cuda.set_sync_debug_mode("error")
    try:
        for step in range(1, 4):
            trainer.train_step(step)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("mixed_precision", ["no", "bf16"])
def test_captured_steps_are_those_that_were_captured(mixed_precision: str, latents: Path) -> None:
    plain, captured = trainer_of(latents, mixed_precision), trainer_of(latents, mixed_precision)
    with_few_lengths(plain)
    with_captured_steps(captured)
    steps = range(12)  # more than one epoch, so that every shape comes again
    assert losses(captured, steps) == pytest.approx(losses(plain, steps), rel=0.01 if mixed_precision == "no" else 0.05)
    for ours, theirs in zip(captured.denoiser.parameters(), plain.denoiser.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.05, atol=0.02)
    steps_of = captured.train_step.__self__  # type: ignore[attr-defined]
    assert isinstance(steps_of, CapturedSteps)
    assert len(steps_of.by_shape) < len(steps)
