import pytest
import torch
from diffusers.training_utils import EMAModel
from torch import nn

from annealed_lm.training.averages import MovingAverage


@pytest.mark.parametrize(("ema_decay", "ema_power"), [(0.9999, 0.75), (0.8, 0.75), (0.9999, 2 / 3)])
def test_the_average_equals_that_of_diffusers(ema_decay: float, ema_power: float) -> None:
    model = nn.Linear(4, 4)
    ours = MovingAverage(model, ema_decay, ema_power)
    theirs = EMAModel(model.parameters(), decay=ema_decay, use_ema_warmup=True, inv_gamma=1.0, power=ema_power)
    for step in range(30):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter))
        ours.update(model, step)
        theirs.step(model.parameters())
    for average, expected, current in zip(ours.module.parameters(), theirs.shadow_params, model.parameters(), strict=True):
        torch.testing.assert_close(average, expected, atol=1e-5, rtol=1e-5)
        assert not torch.isclose(average, current).any()


def test_the_first_average_is_the_weights_and_the_second_is_by_the_formula() -> None:
    model = nn.Linear(1, 1, bias=False)
    average = MovingAverage(model, 0.9999, 0.75)
    for step, (value, expected) in enumerate(((1.0, 1.0), (2.0, 1 + 2**-0.75))):  # decay 1 - 1^-0.75 = 0, then 1 - 2^-0.75
        nn.init.constant_(model.weight, value)
        average.update(model, step)
        assert average.module.weight.item() == pytest.approx(expected)


def test_the_average_is_a_copy_that_drops_nothing_and_learns_nothing() -> None:
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.5)).train()
    average = MovingAverage(model, 0.9, 0.75).module
    assert not average.training
    assert model.training
    assert not any(parameter.requires_grad for parameter in average.parameters())
    assert all(one is not other for one, other in zip(average.parameters(), model.parameters(), strict=True))


def test_the_state_is_that_of_the_averaged_model() -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    average, restored = MovingAverage(model, 0.9, 0.75), MovingAverage(other, 0.9, 0.75)
    average.update(other, 3)
    restored.load_state_dict(average.state_dict())
    assert torch.equal(restored.module.weight, average.module.weight)
