import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from annealed_lm.common.counter_random import normals, shifted_right, split_keys, splitmix64, text_keys, uniforms, wrapped
from annealed_lm.common.seeds import derive_seed

KNOWN_SEED = 1234567
KNOWN = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
"""The first numbers of SplitMix64, as other implementations print them."""
SEEDS = (0, 1, KNOWN_SEED, -1, -(2**63), 2**63 - 1, 0x0123456789ABCDEF)
STEPS, TEXTS, POSITIONS, CHANNELS = 6, 40, 12, 20


def plain_splitmix64(seed: int, count: int) -> list[int]:
    """In integers without end, one number after the other, as the paper writes it."""
    state, numbers = seed, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        numbers.append(z ^ (z >> 31))
    return numbers


def unsigned(numbers: Tensor) -> list[int]:
    return [number % 2**64 for number in numbers.tolist()]


def test_numbers_are_those_of_splitmix64() -> None:
    assert plain_splitmix64(KNOWN_SEED, 5) == KNOWN
    assert unsigned(splitmix64(torch.tensor([KNOWN_SEED]), 5)[0]) == KNOWN


def test_any_seed_gives_the_numbers_of_the_plain_implementation() -> None:
    many = splitmix64(torch.tensor(SEEDS), 300)
    assert [unsigned(row) for row in many] == [plain_splitmix64(seed, 300) for seed in SEEDS]
    for number in (0, 1, 299):
        assert torch.equal(split_keys(torch.tensor(SEEDS), number), many[:, number])


def test_keys_are_left_as_they_are() -> None:
    keys = torch.tensor(SEEDS)
    for draw in (splitmix64, split_keys, uniforms, normals):
        draw(keys, 3)
    assert keys.tolist() == list(SEEDS)


@pytest.mark.parametrize("number", [0, 1, -1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 3 * 2**70 + 5, -(2**63) - 1])
def test_wrapped_numbers_have_the_same_64_bits(number: int) -> None:
    assert -(2**63) <= wrapped(number) < 2**63
    assert (wrapped(number) - number) % 2**64 == 0


@pytest.mark.parametrize("places", [1, 27, 31, 40, 63])
def test_zeros_are_shifted_in_whatever_the_sign(places: int) -> None:
    assert unsigned(shifted_right(torch.tensor(SEEDS), places)) == [(seed % 2**64) >> places for seed in SEEDS]


def test_the_key_of_a_text_is_a_seed_derived_from_its_number() -> None:
    assert text_keys([4, 0], "cpu", 7, "sample").tolist() == [derive_seed(7, "sample", 4), derive_seed(7, "sample", 0)]


@pytest.mark.parametrize("draw", [uniforms, normals])
@pytest.mark.parametrize("count", [1, 2, 7, 48])
def test_the_numbers_of_a_text_are_the_same_in_any_batch(draw: Callable[[Tensor, int], Tensor], count: int) -> None:
    everything = draw(text_keys(range(9), "cpu", 0), 48)
    assert everything.dtype == torch.float32
    assert torch.equal(draw(text_keys(range(9), "cpu", 0), count), everything[:, :count])
    assert torch.equal(draw(text_keys([8, 2, 5], "cpu", 0), count), everything[[8, 2, 5], :count])
    for i in range(9):
        assert torch.equal(draw(text_keys([i], "cpu", 0), count)[0], everything[i, :count])


def test_uniforms_are_uniform_and_below_1() -> None:
    drawn = uniforms(text_keys(range(200), "cpu", 0), 1000).flatten()
    assert 0 <= float(drawn.min()) < 1e-4
    assert 1 - 1e-4 < float(drawn.max()) < 1
    assert stats.kstest(drawn.numpy(), "uniform").pvalue > 0.001
    # The last of the 24 bits are random too.
    assert stats.chisquare(np.bincount((drawn * 2**24).long().numpy() % 16)).pvalue > 0.001


def test_the_largest_bits_give_uniforms_below_1(monkeypatch: pytest.MonkeyPatch) -> None:
    for bits, expected in ((0, 0.0), (-1, 1 - 2**-24), (-(2**63), 0.5)):
        monkeypatch.setattr("annealed_lm.common.counter_random.splitmix64", lambda keys, count, bits=bits: torch.tensor([[bits]]))
        assert uniforms(torch.zeros(1), 1).item() == expected


def test_normals_of_the_extreme_bits_are_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    bits = torch.tensor([[0, -1, -(2**63), 2**63 - 1, 2**32 - 1, 2**32, -(2**32)]])
    monkeypatch.setattr("annealed_lm.common.counter_random.splitmix64", lambda keys, count: bits.clone())
    drawn = normals(torch.zeros(1), 14)
    assert drawn.isfinite().all()
    assert float(drawn.abs().max()) == pytest.approx((64 * np.log(2)) ** 0.5)  # 6.66: nothing is further out


def test_normals_are_standard_normal_also_in_the_tails() -> None:
    drawn = normals(text_keys(range(500), "cpu", 0), 4000).flatten().numpy()
    assert stats.kstest(drawn[:400_000], "norm").pvalue > 0.001
    expected = len(drawn) * stats.norm.sf(4)
    for tail in (np.sum(drawn > 4), np.sum(drawn < -4)):
        assert abs(tail - expected) < 4 * expected**0.5
    assert abs(stats.kurtosis(drawn)) < 0.02


def test_the_two_normals_of_a_pair_are_independent() -> None:
    one, other = normals(text_keys(range(200), "cpu", 0), 1000).flatten().unflatten(0, (-1, 2)).numpy().T
    assert abs(np.corrcoef(one, other)[0, 1]) < 4 / len(one) ** 0.5
    assert abs(np.corrcoef(one**2, other**2)[0, 1]) < 4 / len(one) ** 0.5
    assert stats.kstest(stats.chi2.cdf(one**2 + other**2, 2), "uniform").pvalue > 0.001


@pytest.fixture(scope="module")
def noise() -> Tensor:
    """As sampling draws it, [steps, texts, positions, channels]."""
    keys = text_keys(range(TEXTS), "cpu", 0, "sample")
    drawn = [normals(split_keys(keys, step), POSITIONS * CHANNELS) for step in range(STEPS)]
    return torch.stack(drawn).unflatten(2, (POSITIONS, CHANNELS)).double()


def correlations(rows: Tensor) -> np.ndarray:
    """Of every pair of rows, in units of their standard error."""
    pairs = np.corrcoef(rows.flatten(1).numpy())[np.triu_indices(len(rows), 1)]
    return pairs * rows[0].numel() ** 0.5


@pytest.mark.parametrize("dimension", range(4), ids=["steps", "texts", "positions", "channels"])
def test_nothing_is_correlated_with_its_neighbours(noise: Tensor, dimension: int) -> None:
    for transform in (noise, noise.abs(), noise.sign()):
        scaled = correlations(transform.movedim(dimension, 0))
        assert abs(scaled).max() < 4.5
        assert abs(scaled.mean()) < 4 / len(scaled) ** 0.5


def test_no_number_comes_twice() -> None:
    keys = text_keys(range(100), "cpu", 0, "sample")
    bits = torch.cat([splitmix64(split_keys(keys, step), 100).flatten() for step in range(20)])
    assert len(bits.unique()) == len(bits)


def test_texts_steps_seeds_and_purposes_have_numbers_of_their_own() -> None:
    streams = [
        normals(split_keys(text_keys([text], "cpu", seed, purpose), step), 500)[0]
        for seed, purpose, text, step in itertools.product((0, 1), ("sample", "token"), (0, 1), (0, 1))
    ]
    assert abs(correlations(torch.stack(streams))).max() < 4.5
