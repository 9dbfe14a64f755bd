from pathlib import Path

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import nn

from annealed_lab.benchmarks.plain import PlainUpdates, without_fused_kernels, without_padding_saved
from support.tiny import write_latents
from support.trainers import make_trainer, plain_accelerator


@pytest.fixture
def latents(tmp_path: Path) -> Path:
    AcceleratorState._reset_state(reset_partial_state=True)
    return write_latents(tmp_path / "latents")


@pytest.mark.parametrize("optimizer", ["adamw", "lion", "muon"])
def test_a_plain_update_is_the_update_but_for_rounding(optimizer: str, latents: Path) -> None:
    usual, plain = (make_trainer(latents, optimizer=optimizer, adam_weight_decay=0.1) for _ in range(2))
    start = [weight.detach().clone() for weight in usual.denoiser.parameters()]
    updates = PlainUpdates(plain.denoiser, plain.training, plain_accelerator())
    for step in range(3):
        random = torch.Generator().manual_seed(step)
        for one, other in zip(usual.denoiser.parameters(), plain.denoiser.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=random)
            other.grad = one.grad.clone()
        usual.updates.update(step)
        updates.update(step)
    for before, one, other in zip(start, usual.denoiser.parameters(), plain.denoiser.parameters(), strict=True):
        assert float((one - other).detach().norm()) <= (0.02 if optimizer == "muon" else 1e-4) * float(
            (one - before).detach().norm()
        )
    for one, other in zip(usual.averaged_denoiser().parameters(), updates.average.module.parameters(), strict=True):
        torch.testing.assert_close(one, other, atol=2e-2, rtol=1e-2)


def test_the_plain_optimizers_are_those_of_torch_and_step_one_parameter_after_the_other(latents: Path) -> None:
    trainer = make_trainer(latents, optimizer="muon")
    without_fused_kernels(trainer)
    on_matrices, on_rest = trainer.updates.optimizers
    assert isinstance(on_matrices, torch.optim.Muon)
    assert isinstance(on_rest, torch.optim.AdamW)
    assert not any(group["fused"] or group["foreach"] for group in on_rest.param_groups)
    owned = [
        id(weight) for optimizer in trainer.updates.optimizers for group in optimizer.param_groups for weight in group["params"]
    ]
    assert sorted(owned) == sorted(id(weight) for weight in trainer.denoiser.parameters())


def test_without_fused_kernels_a_step_is_the_same_but_for_rounding(latents: Path) -> None:
    usual, plain = make_trainer(latents), make_trainer(latents)
    without_fused_kernels(plain)
    for step in range(4):
        torch.testing.assert_close(usual.train_step(step), plain.train_step(step), atol=1e-2, rtol=1e-2)


def test_the_plain_attention_is_computed_by_matrix_products(latents: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []
    attend = nn.functional.scaled_dot_product_attention

    def watched(*inputs: torch.Tensor, **options: object) -> torch.Tensor:
        seen.append(torch.backends.cuda.flash_sdp_enabled())
        return attend(*inputs, **options)  # type: ignore[arg-type]

    monkeypatch.setattr("torch.nn.functional.scaled_dot_product_attention", watched)
    plain = make_trainer(latents)
    without_fused_kernels(plain)
    plain.train_step(0)
    usual = len(seen)
    make_trainer(latents).train_step(0)
    assert usual > 0
    assert not any(seen[:usual])
    assert all(seen[usual:])


def test_without_padding_saved_every_batch_is_as_long_as_the_longest_text(latents: Path) -> None:
    trainer = make_trainer(latents)
    usual = {trainer.padded_length(trainer.order.batch(step)) for step in range(7)}
    without_padding_saved(trainer)
    assert {trainer.padded_length(trainer.order.batch(step)) for step in range(7)} == {6}
    assert min(usual) < 6
    trainer.train_step(0)
