import itertools

import torch

from annealed_lm.common.seeds import derive_seed, generator


def test_a_seed_depends_on_every_part_and_on_their_order() -> None:
    parts = [(1,), (2,), (1, 2), (2, 1), (12,), (1, "t"), (1, "noise"), (1, 2, "t"), (1, 3, "t"), (), ("1", "", "2")]
    assert len({derive_seed(*each) for each in parts}) == len(parts)


def test_a_seed_is_the_same_on_every_machine() -> None:
    assert derive_seed(42, 7, "noise") == 3855018397691925955


def test_seeds_fill_the_range_that_torch_takes() -> None:
    seeds = [derive_seed("each", i) for i in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 0.98 * 2**63
    assert min(seeds) < 0.02 * 2**63


def test_draws_depend_on_the_parts_and_on_nothing_drawn_before() -> None:
    first = torch.rand(3, generator=generator("cpu", 1, "noise", 5))
    torch.rand(10)
    torch.rand(10, generator=generator("cpu", 1, "noise", 4))
    assert torch.equal(torch.rand(3, generator=generator("cpu", 1, "noise", 5)), first)


def test_draws_leave_the_global_random_state_alone() -> None:
    before = torch.get_rng_state()
    torch.rand(3, generator=generator("cpu", 1))
    assert torch.equal(torch.get_rng_state(), before)


def test_neighbouring_seeds_give_unrelated_draws() -> None:
    draws = torch.stack([torch.randn(2000, generator=generator("cpu", 0, "sample", i)) for i in range(6)])
    for one, other in itertools.combinations(draws, 2):
        assert abs(float(torch.corrcoef(torch.stack([one, other]))[0, 1])) < 0.12  # five standard errors
