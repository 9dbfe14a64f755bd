import io
from typing import Any, get_args

import pytest
import torch
from torch import nn

from annealed_lm.config.types import LearningRateSchedule, Optimizer
from annealed_lm.diffusion.denoiser import DenoisingTransformer
from annealed_lm.training.optimizers import (
    MUON_LEARNING_RATE,
    OPTIMIZERS,
    OptimizerSettings,
    StackedMuon,
    make_schedulers,
    orthogonalise,
)
from support.tiny import denoiser_settings

RATE = 0.01
WARMUP, STEPS = 10, 100
LR_SCHEDULES = get_args(LearningRateSchedule)
DECAY_FRACTION = 0.2
SHAPES = [(12, 12), (40, 8), (8, 40), (12, 12), (40, 8), (1, 5), (12, 12)]
"""Square, tall and wide matrices, alone and several of a kind."""


def settings(
    learning_rate: float = RATE, betas: tuple[float, float] = (0.9, 0.98), weight_decay: float = 0.0
) -> OptimizerSettings:
    return OptimizerSettings(learning_rate, betas, weight_decay)


def make_model() -> DenoisingTransformer:
    torch.manual_seed(0)
    model = DenoisingTransformer(denoiser_settings(tx_depth=2))
    for parameter in model.parameters():
        nn.init.normal_(parameter)
    return model


def step(optimizers: list[torch.optim.Optimizer], model: nn.Module, gradient: float | None) -> None:
    """One step with every gradient at `gradient`, or random ones."""
    random = torch.Generator().manual_seed(1)
    for parameter in model.parameters():
        drawn = torch.randn(parameter.shape, generator=random)
        parameter.grad = drawn if gradient is None else torch.full_like(parameter, gradient)
    for optimizer in optimizers:
        optimizer.step()


def change(name: str, gradient: float | None, **changes: Any) -> dict[str, torch.Tensor]:
    """By how much one step changes each parameter."""
    model = make_model()
    before = {key: parameter.detach().clone() for key, parameter in model.named_parameters()}
    step(OPTIMIZERS[name](model, settings(**changes)), model, gradient)
    return {key: parameter.detach() - before[key] for key, parameter in model.named_parameters()}


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def test_the_names_in_the_schema_are_the_optimizers_there_are() -> None:
    assert set(OPTIMIZERS) == set(get_args(Optimizer))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_each_parameter_has_one_optimizer(name: str) -> None:
    model = make_model()
    owned = [id(parameter) for optimizer in OPTIMIZERS[name](model, settings()) for parameter in parameters_of(optimizer)]
    assert sorted(owned) == sorted(map(id, model.parameters()))


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_changes_every_weight(name: str) -> None:
    assert all(each.all() for each in change(name, None).values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_weight_decay_shrinks_matrices_and_nothing_else(name: str) -> None:
    model = make_model()
    rates = {id(p): (MUON_LEARNING_RATE if name == "muon" else 1) * RATE for p in model.hidden_matrices()}
    for key, each in change(name, 0.0, weight_decay=0.5).items():
        parameter = model.get_parameter(key)
        decay = rates.get(id(parameter), RATE) * 0.5 if parameter.ndim >= 2 else 0.0
        torch.testing.assert_close(each, -decay * parameter.detach(), atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_no_gradient_and_no_decay_changes_nothing(name: str) -> None:
    assert not any(each.any() for each in change(name, 0.0).values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_step_is_as_long_as_the_learning_rate(name: str) -> None:
    one, ten = change(name, None), change(name, None, learning_rate=10 * RATE)
    for key, each in one.items():
        torch.testing.assert_close(ten[key], 10 * each, atol=1e-5, rtol=1e-3)
    if name != "muon":  # both take steps of the learning rate's own size in every coordinate
        assert all(torch.allclose(each.abs(), torch.tensor(RATE), rtol=1e-3) for each in one.values())


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_both_betas_matter(name: str) -> None:
    def two_steps(betas: tuple[float, float]) -> list[torch.Tensor]:
        model = make_model()
        optimizers = OPTIMIZERS[name](model, settings(betas=betas))
        step(optimizers, model, None)
        step(optimizers, model, 0.5)
        step(optimizers, model, None)
        return [parameter.detach() for parameter in model.parameters()]

    reference = two_steps((0.9, 0.98))
    for betas in ((0.5, 0.98), (0.9, 0.5)):
        assert any(not torch.equal(one, other) for one, other in zip(reference, two_steps(betas), strict=True))


def test_muon_takes_the_matrices_of_the_blocks_and_adamw_the_rest() -> None:
    model = make_model()
    on_matrices, on_rest = OPTIMIZERS["muon"](model, settings())
    assert isinstance(on_matrices, StackedMuon)
    assert isinstance(on_rest, torch.optim.AdamW)
    expected = {id(p) for key, p in model.named_parameters() if key.startswith("blocks.") and p.ndim == 2}
    assert {id(parameter) for parameter in parameters_of(on_matrices)} == expected
    assert on_matrices.param_groups[0]["lr"] == MUON_LEARNING_RATE * RATE
    assert all(group["lr"] == RATE for group in on_rest.param_groups)


def test_muons_updates_are_orthogonal_and_of_adamws_size() -> None:
    update = change("muon", None)["blocks.0.attention_out.weight"]
    singular_values = torch.linalg.svdvals(update)
    assert singular_values.max() < 3 * singular_values.min()  # a random matrix of this size: about a hundred times
    assert 0.1 < float(update.square().mean().sqrt()) / (MUON_LEARNING_RATE * RATE) < 0.4  # AdamW's usual 0.2


def make_matrices() -> list[nn.Parameter]:
    random = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=random)) for shape in SHAPES]


def draw_gradients(matrices: list[nn.Parameter], seed: int, without: int | None = None) -> None:
    random = torch.Generator().manual_seed(seed)
    for i, matrix in enumerate(matrices):
        drawn = torch.randn(matrix.shape, generator=random)
        matrix.grad = None if i == without else drawn


def walk(optimizer: torch.optim.Optimizer, matrices: list[nn.Parameter], steps: range, without: int | None = None) -> None:
    """Steps at falling learning rates."""
    for i in steps:
        draw_gradients(matrices, i, without)
        for group in optimizer.param_groups:
            group["lr"] = RATE / (1 + i)
        optimizer.step()


def moved(make: Any, without: int | None = None) -> list[torch.Tensor]:
    """How far an optimizer moves each matrix in six steps."""
    matrices = make_matrices()
    walk(make(matrices), matrices, range(6), without)
    return [matrix.detach() - start.detach() for matrix, start in zip(matrices, make_matrices(), strict=True)]


def reference(matrices: list[nn.Parameter], weight_decay: float = 0.5) -> torch.optim.Muon:
    return torch.optim.Muon(matrices, lr=RATE, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")


@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
@pytest.mark.parametrize("without", [None, 0, 5])  # a matrix without gradient, of a stack and alone
def test_stacked_muon_takes_the_steps_of_torchs_muon(weight_decay: float, without: int | None) -> None:
    stacked = moved(lambda matrices: StackedMuon(matrices, RATE, weight_decay), without)
    one_by_one = moved(lambda matrices: reference(matrices, weight_decay), without)
    for i, (each, expected) in enumerate(zip(stacked, one_by_one, strict=True)):
        assert bool(each.any()) != (i == without)
        assert float((each - expected).norm()) <= 0.02 * float(expected.norm())  # bfloat16 rounds to one part in 256


def test_stacking_mixes_no_two_matrices() -> None:
    matrices = torch.randn(5, 6, 20, generator=torch.Generator().manual_seed(0)).bfloat16()
    together = orthogonalise(matrices)
    for matrix, each in zip(matrices, together, strict=True):
        alone = orthogonalise(matrix[None])[0]
        torch.testing.assert_close(each, alone, atol=0.01, rtol=0.02)
        torch.testing.assert_close(orthogonalise(matrix.T[None])[0], alone.T, atol=0.01, rtol=0.02)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_orthogonalised_matrices_have_singular_values_near_one_whatever_their_scale(scale: float) -> None:
    matrices = scale * torch.randn(3, 8, 40, generator=torch.Generator().manual_seed(0))
    values = torch.linalg.svdvals(orthogonalise(matrices.bfloat16()).float())
    assert values.min() > 0.6
    assert values.max() < 1.3


def test_a_resumed_stacked_muon_goes_on_to_the_same_bytes() -> None:
    matrices = make_matrices()
    optimizer = StackedMuon(matrices, RATE, 0.5)
    walk(optimizer, matrices, range(3))
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "matrices": [each.data for each in matrices]}, file)
    walk(optimizer, matrices, range(3, 6))

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = [nn.Parameter(each) for each in saved["matrices"]]
    again = StackedMuon(resumed, 1.0, 0.0)
    again.load_state_dict(saved["optimizer"])
    walk(again, resumed, range(3, 6))
    for one, other in zip(matrices, resumed, strict=True):
        assert torch.equal(one, other)
        assert torch.equal(optimizer.state[one]["momentum_buffer"], again.state[other]["momentum_buffer"])


def test_a_closure_is_evaluated_with_gradients_and_its_loss_returned() -> None:
    matrix = nn.Parameter(torch.eye(3))
    optimizer = StackedMuon([matrix], RATE, 0.0)

    def closure() -> torch.Tensor:
        loss = (3 * matrix).sum()
        loss.backward()
        return loss.detach()

    assert optimizer.step(closure) == 9
    assert not torch.equal(matrix, torch.eye(3))


def test_adamw_is_stepped_in_few_kernels() -> None:
    for optimizer in (OPTIMIZERS["adamw"](make_model(), settings())[0], OPTIMIZERS["muon"](make_model(), settings())[1]):
        assert all(group["fused"] for group in optimizer.param_groups)


def test_frozen_parameters_stay_with_no_optimizer() -> None:
    model = make_model()
    model.position.requires_grad_(False)
    owned = {id(parameter) for optimizer in OPTIMIZERS["muon"](model, settings()) for parameter in parameters_of(optimizer)}
    assert id(model.position) not in owned
    assert len(owned) == len(list(model.parameters())) - 1


def learning_rates(lr_schedule: str, warmup: int = WARMUP, name: str = "adamw") -> list[list[float]]:
    """Rates of each optimizer's first group before each step, and after the last."""
    model = make_model()
    optimizers = OPTIMIZERS[name](model, settings())
    schedulers = make_schedulers(optimizers, lr_schedule, warmup, STEPS, DECAY_FRACTION)
    rates = []
    for _ in range(STEPS + 1):
        rates.append([optimizer.param_groups[0]["lr"] for optimizer in optimizers])
        for optimizer, scheduler in zip(optimizers, schedulers, strict=True):
            optimizer.step()
            scheduler.step()
    return [list(column) for column in zip(*rates, strict=True)]


@pytest.mark.parametrize("lr_schedule", LR_SCHEDULES)
def test_every_schedule_warms_up_linearly_to_the_learning_rate_and_never_exceeds_it(lr_schedule: str) -> None:
    rates = learning_rates(lr_schedule)[0]
    assert rates[: WARMUP + 1] == pytest.approx([RATE * step / WARMUP for step in range(WARMUP + 1)])
    assert max(rates) == pytest.approx(RATE)
    assert min(rates) >= 0
    assert all(earlier >= later for earlier, later in zip(rates[WARMUP:], rates[WARMUP + 1 :], strict=False))


@pytest.mark.parametrize("lr_schedule", LR_SCHEDULES)
def test_without_warm_up_the_first_step_has_the_whole_learning_rate(lr_schedule: str) -> None:
    assert learning_rates(lr_schedule, warmup=0)[0][0] == pytest.approx(RATE)


@pytest.mark.parametrize(
    ("lr_schedule", "halfway", "end"),
    [
        ("constant", 1, 1),
        ("constant_with_warmup", 1, 1),
        ("linear", 0.5, 0),
        ("cosine", 0.5, 0),
        ("inverse_sqrt", (10 / 55) ** 0.5, 0.1**0.5),
        ("warmup_stable_decay", 1, 0),
    ],
)
def test_after_the_warm_up_each_schedule_has_its_shape(lr_schedule: str, halfway: float, end: float) -> None:
    rates = learning_rates(lr_schedule)[0]
    assert rates[(WARMUP + STEPS) // 2] / RATE == pytest.approx(halfway, abs=1e-4)
    assert rates[STEPS] / RATE == pytest.approx(end, abs=1e-4)


def test_warmup_stable_decay_holds_the_rate_and_lets_it_fall_in_a_line_over_the_last_steps() -> None:
    rates = learning_rates("warmup_stable_decay")[0]
    decay = int(STEPS * DECAY_FRACTION)
    assert rates[WARMUP : STEPS - decay + 1] == pytest.approx([RATE] * (STEPS - decay + 1 - WARMUP))
    assert rates[STEPS - decay :] == pytest.approx([RATE * left / decay for left in range(decay, -1, -1)])


@pytest.mark.parametrize("lr_schedule", LR_SCHEDULES)
def test_two_optimizers_keep_the_ratio_of_their_learning_rates(lr_schedule: str) -> None:
    on_matrices, on_rest = learning_rates(lr_schedule, name="muon")
    # transformers' polynomial ends at 1e-7 for both
    assert on_matrices == pytest.approx([MUON_LEARNING_RATE * rate for rate in on_rest], abs=2e-7)
