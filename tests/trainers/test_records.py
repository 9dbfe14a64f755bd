import torch

from annealed_lm.trainers.records import RunningLoss
from support.tiny import CPU


def test_the_running_loss_is_the_mean_since_it_was_read() -> None:
    loss = RunningLoss(CPU)
    for value in (1.0, 2.0, 6.0):
        loss.add(torch.tensor(value))
    assert loss.read() == 3
    loss.add(torch.tensor(5.0))
    saved = {name: value.clone() if isinstance(value, torch.Tensor) else value for name, value in loss.state_dict().items()}
    other = RunningLoss(CPU)
    other.load_state_dict(saved)
    for each in (loss, other):
        each.add(torch.tensor(7.0))
        assert each.read() == 6
