import dataclasses
import itertools

import pytest
import torch
from torch import Tensor, nn

from annealed_lm.diffusion.denoiser import (
    MAX_RELATIVE_DISTANCE,
    RELATIVE_POSITION_BUCKETS,
    DenoisingTransformer,
    relative_position_buckets,
    sinusoidal_embedding,
)
from support.tiny import denoiser_settings

SETTINGS = denoiser_settings(max_length=12, tx_dim=16, tx_depth=2)
BATCH, LENGTH = 3, 6
PARTS = ("scale of attention", "shift of attention", "scale of feed-forward", "shift of feed-forward")


def make(seed: int = 0, **changes: object) -> DenoisingTransformer:
    """A network whose weights are all random: as it is initialised, its output is zero whatever it reads."""
    torch.manual_seed(seed)
    denoiser = DenoisingTransformer(dataclasses.replace(SETTINGS, **changes))
    for parameter in denoiser.parameters():
        nn.init.normal_(parameter, std=0.3)
    return denoiser.eval()


def example() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """x_t, noise level, mask, self_cond."""
    random = torch.Generator().manual_seed(1)
    x_t, self_cond = torch.randn(2, BATCH, LENGTH, SETTINGS.latent_dim, generator=random)
    mask = torch.arange(LENGTH) < torch.tensor([6, 2, 4])[:, None]
    return x_t, torch.tensor([0.01, 0.5, 1.0]), mask, self_cond


def test_a_new_network_says_nothing_until_it_has_learned() -> None:
    x_t, level, mask, self_cond = example()
    assert not DenoisingTransformer(SETTINGS)(x_t, level, mask, self_cond).any()


@pytest.mark.parametrize("scale_shift", [False, True])
@pytest.mark.parametrize("self_condition", [False, True])
@pytest.mark.parametrize("tx_position", ["bias", "rotary"])
def test_padding_changes_nothing_at_real_positions(scale_shift: bool, self_condition: bool, tx_position: str) -> None:
    denoiser = make(scale_shift=scale_shift, self_condition=self_condition, tx_position=tx_position)
    x_t, level, mask, self_cond = example()
    expected = denoiser(x_t, level, mask, self_cond)
    noisy = denoiser(x_t.where(mask[..., None], 50.0), level, mask, self_cond.where(mask[..., None], -50.0))
    torch.testing.assert_close(noisy[mask], expected[mask])
    for row, length in enumerate(mask.sum(1).tolist()):
        alone = slice(row, row + 1), slice(0, length)
        torch.testing.assert_close(
            denoiser(x_t[alone], level[row : row + 1], mask[alone], self_cond[alone])[0], expected[row, :length]
        )


def test_texts_do_not_see_each_other() -> None:
    denoiser = make()
    x_t, level, mask, self_cond = example()
    changed = x_t.clone()
    changed[0] += 1
    expected, found = (denoiser(each, level, mask, self_cond) for each in (x_t, changed))
    assert torch.equal(found[1:], expected[1:])
    assert not torch.isclose(found[0], expected[0]).any()


def test_every_position_reads_every_real_position() -> None:
    denoiser = make()
    x_t, level, mask, self_cond = example()
    x_t.requires_grad_()
    for position in range(LENGTH):
        gradient = torch.autograd.grad(denoiser(x_t, level, mask, self_cond)[0, position].sum(), x_t)[0]
        assert (gradient[0].abs().sum(-1) > 0).all()


def test_self_conditioning_is_aligned_by_position() -> None:
    denoiser = make()
    x_t, level, mask, self_cond = example()
    mask = torch.ones_like(mask)
    expected = denoiser(x_t, level, mask, self_cond)
    shuffled = denoiser(x_t, level, mask, self_cond[:, [1, 0, 2, 3, 5, 4]])
    assert not torch.isclose(shuffled, expected).all(-1).any()
    with torch.no_grad():  # without blocks, each position sees its own part of self_cond and no other
        denoiser.blocks = nn.ModuleList()
        changed = self_cond.clone()
        changed[:, 2] += 1
        differs = (denoiser(x_t, level, mask, changed) != denoiser(x_t, level, mask, self_cond)).any(-1)
    assert differs.tolist() == [[position == 2 for position in range(LENGTH)]] * BATCH


def test_no_self_cond_reads_as_zeros() -> None:
    denoiser = make()
    x_t, level, mask, self_cond = example()
    without = denoiser(x_t, level, mask)
    assert torch.equal(without, denoiser(x_t, level, mask, torch.zeros_like(x_t)))
    assert not torch.isclose(without, denoiser(x_t, level, mask, self_cond)).any()


def test_a_network_without_self_conditioning_does_not_read_it() -> None:
    denoiser = make(self_condition=False)
    x_t, level, mask, self_cond = example()
    assert torch.equal(denoiser(x_t, level, mask), denoiser(x_t, level, mask, self_cond))


def without_positions(denoiser: DenoisingTransformer) -> DenoisingTransformer:
    nn.init.zeros_(denoiser.position)
    if denoiser.relative_position is not None:
        nn.init.zeros_(denoiser.relative_position.weight)
    return denoiser


@pytest.mark.parametrize("known", [[], ["position"], ["relative_position.weight"]])
def test_only_its_two_position_maps_tell_the_network_the_order(known: list[str]) -> None:
    denoiser = make()
    kept = {name: denoiser.get_parameter(name).detach().clone() for name in known}
    without_positions(denoiser)
    for name, value in kept.items():
        denoiser.get_parameter(name).data.copy_(value)
    x_t, level, mask, self_cond = example()
    mask = torch.ones_like(mask)
    order = [3, 0, 5, 1, 4, 2]
    expected = denoiser(x_t, level, mask, self_cond)[:, order]
    found = denoiser(x_t[:, order], level, mask, self_cond[:, order])
    assert torch.allclose(found, expected, atol=1e-4) == (not known)


@pytest.mark.parametrize("tx_position", ["bias", "rotary"])
@pytest.mark.parametrize("tx_dim", [16, 18])  # of which each head has an even part or an odd one
def test_attention_knows_distances_and_not_where_a_text_begins(tx_position: str, tx_dim: int) -> None:
    denoiser = make(tx_position=tx_position, tx_dim=tx_dim)
    nn.init.zeros_(denoiser.position)
    x_t, level, _, self_cond = example()
    mask = torch.arange(LENGTH).expand(BATCH, -1) >= 2
    late = denoiser(x_t, level, mask, self_cond)[:, 2:]
    early = denoiser(x_t[:, 2:], level, mask[:, 2:], self_cond[:, 2:])
    torch.testing.assert_close(late, early, atol=1e-4, rtol=1e-4)
    turned = denoiser(x_t[:, 2:].flip(1), level, mask[:, 2:], self_cond[:, 2:].flip(1)).flip(1)
    assert not torch.allclose(turned, early, atol=1e-2)


@pytest.mark.parametrize("scale_shift", [False, True])
def test_the_noise_level_is_read_with_and_without_scale_shift(scale_shift: bool) -> None:
    denoiser = make(scale_shift=scale_shift)
    x_t, level, mask, self_cond = example()
    expected = denoiser(x_t, level, mask, self_cond)
    found = denoiser(x_t, torch.tensor([0.02, 0.5, 0.9]), mask, self_cond)
    differs = ~torch.isclose(found, expected).all(-1)
    assert differs[0].all()
    assert differs[2].all()
    assert torch.equal(found[1], expected[1])


@pytest.mark.parametrize("part", PARTS)
def test_scale_shift_modulates_both_halves_of_a_block(part: str) -> None:
    denoiser = make(tx_depth=1)
    nn.init.zeros_(denoiser.time_to_input.weight)
    (block,) = denoiser.blocks
    rows = slice(PARTS.index(part) * SETTINGS.tx_dim, (PARTS.index(part) + 1) * SETTINGS.tx_dim)
    kept = block.modulation.weight.detach()[rows].clone()
    x_t, level, mask, self_cond = example()
    for value, reads_the_level in ((kept, True), (torch.zeros_like(kept), False)):
        with torch.no_grad():
            block.modulation.weight.zero_()
            block.modulation.weight[rows] = value
        same = torch.equal(denoiser(x_t, level, mask, self_cond), denoiser(x_t, level.flip(0), mask, self_cond))
        assert same != reads_the_level


def test_without_scale_shift_the_noise_level_is_read_at_the_input_only() -> None:
    denoiser = make(scale_shift=False)
    nn.init.zeros_(denoiser.time_to_input.weight)
    x_t, level, mask, self_cond = example()
    assert torch.equal(denoiser(x_t, level, mask, self_cond), denoiser(x_t, level.flip(0), mask, self_cond))


@pytest.mark.parametrize("scale_shift", [False, True])
def test_each_text_is_denoised_by_its_own_class(scale_shift: bool) -> None:
    denoiser = make(scale_shift=scale_shift, num_classes=3)
    inputs = example()
    by_class = [denoiser(*inputs, torch.full((BATCH,), class_id)) for class_id in range(4)]
    for one, other in itertools.combinations(by_class, 2):
        assert not torch.isclose(one, other).all(-1).any()
    mixed = denoiser(*inputs, torch.tensor([2, 0, 3]))
    torch.testing.assert_close(mixed, torch.stack([by_class[2][0], by_class[0][1], by_class[3][2]]))


def test_no_class_id_reads_as_the_class_that_stands_for_none() -> None:
    denoiser = make(num_classes=3)
    assert torch.equal(denoiser(*example()), denoiser(*example(), torch.full((BATCH,), 3)))


def test_a_class_is_read_wherever_the_noise_level_is() -> None:
    class_id = torch.tensor([0, 1, 2])
    for scale_shift, reads_the_class in ((False, False), (True, True)):  # without the map to the input, only blocks can read it
        denoiser = make(scale_shift=scale_shift, num_classes=3)
        nn.init.zeros_(denoiser.time_to_input.weight)
        same = torch.equal(denoiser(*example(), class_id), denoiser(*example(), class_id.flip(0)))
        assert same != reads_the_class


def test_only_a_network_with_classes_has_weights_for_them() -> None:
    unconditional, conditional = make(), make(num_classes=3)
    added = conditional.state_dict().keys() - unconditional.state_dict().keys()
    assert {name: tuple(conditional.state_dict()[name].shape) for name in added} == {
        "class_embedding.weight": (4, SETTINGS.tx_dim)
    }
    with pytest.raises(ValueError, match="unconditional network was given classes"):
        unconditional(*example(), torch.zeros(BATCH, dtype=torch.int64))


def test_dropout_acts_while_training_and_only_then() -> None:
    x_t, level, mask, self_cond = example()
    denoiser = make(dropout=0.5)
    assert torch.equal(denoiser(x_t, level, mask, self_cond), make(dropout=0.0)(x_t, level, mask, self_cond))
    denoiser.train()
    assert not torch.isclose(denoiser(x_t, level, mask, self_cond), denoiser(x_t, level, mask, self_cond)).all(-1).any()


def test_buckets_are_exact_near_by_and_never_fall_with_distance() -> None:
    length = 3 * MAX_RELATIVE_DISTANCE
    buckets = relative_position_buckets(length, torch.device("cpu"))
    half, exact = RELATIVE_POSITION_BUCKETS // 2, RELATIVE_POSITION_BUCKETS // 4
    assert buckets.dtype == torch.int64
    before, after = buckets[-1].flip(0), buckets[0]  # keys further and further back, further and further ahead
    assert before[:exact].tolist() == list(range(exact))
    assert after[1:exact].tolist() == [half + distance for distance in range(1, exact)]
    assert (before.diff() >= 0).all()
    assert (after.diff() >= 0).all()
    assert torch.equal(after[1:], before[1:] + half)
    assert set(before.tolist()) == set(range(half))
    assert (before[MAX_RELATIVE_DISTANCE:] == half - 1).all()
    assert set(buckets.flatten().tolist()) < set(range(RELATIVE_POSITION_BUCKETS))


def test_a_bucket_depends_on_the_distance_only() -> None:
    buckets = relative_position_buckets(40, torch.device("cpu"))
    assert torch.equal(buckets[1:, 1:], buckets[:-1, :-1])


def test_noise_levels_near_each_other_are_told_apart() -> None:
    levels = (torch.arange(1000) + 1) / 1000
    embedded = sinusoidal_embedding(levels, 16)
    assert embedded.shape == (1000, 16)
    assert embedded.abs().max() <= 1
    distances = torch.cdist(embedded, embedded) + 10 * torch.eye(1000)
    assert distances.min() > 0.1


def test_hidden_matrices_are_the_matrices_of_the_blocks() -> None:
    denoiser = make()
    expected = {name for name, p in denoiser.named_parameters() if name.startswith("blocks.") and p.ndim == 2}
    chosen = {id(matrix) for matrix in denoiser.hidden_matrices()}
    assert {name for name, p in denoiser.named_parameters() if id(p) in chosen} == expected
    assert len(expected) == 5 * SETTINGS.tx_depth
