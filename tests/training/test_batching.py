import numpy as np
import pytest

from annealed_lm.training.batching import WINDOW_BATCHES, BatchOrder

BATCH_SIZE = 32
RAGGED = np.random.default_rng(0).integers(1, 65, 2000)
EQUAL = np.full(2000, 8)


def epoch(order: BatchOrder, number: int) -> np.ndarray:
    """Row numbers [batches, batch_size] of an epoch."""
    first = number * order.batches_per_epoch
    return np.stack([order.batch(step) for step in range(first, first + order.batches_per_epoch)])


def padding_share(batches: np.ndarray, lengths: np.ndarray) -> float:
    computed = lengths[batches].max(1).sum() * batches.shape[1]
    return float(1 - lengths[batches].sum() / computed)


@pytest.mark.parametrize("lengths", [RAGGED, EQUAL, RAGGED[:BATCH_SIZE], RAGGED[: BATCH_SIZE * (WINDOW_BATCHES + 1)]])
def test_an_epoch_visits_each_row_once_but_for_an_incomplete_batch(lengths: np.ndarray) -> None:
    order = BatchOrder(lengths, BATCH_SIZE, seed=1)
    for number in (0, 1, 5):
        rows = epoch(order, number)
        assert rows.shape == (len(lengths) // BATCH_SIZE, BATCH_SIZE)
        assert len(np.unique(rows)) == rows.size
        assert set(rows.flat) <= set(range(len(lengths)))


def test_the_rows_left_out_change_from_epoch_to_epoch() -> None:
    order = BatchOrder(RAGGED, BATCH_SIZE, seed=1)
    left_out = [set(range(len(RAGGED))) - set(epoch(order, number).flat) for number in range(3)]
    assert [len(rows) for rows in left_out] == [len(RAGGED) % BATCH_SIZE] * 3
    assert left_out[0] != left_out[1] != left_out[2]


@pytest.mark.parametrize("lengths", [RAGGED, EQUAL])
def test_a_batch_is_a_pure_function_of_seed_and_step(lengths: np.ndarray) -> None:
    steps = [700, 3, 0, 64, 3, 130]
    order = BatchOrder(lengths, BATCH_SIZE, seed=1)
    in_turn = {step: order.batch(step) for step in range(701)}
    for step in steps:
        np.testing.assert_array_equal(BatchOrder(lengths, BATCH_SIZE, seed=1).batch(step), in_turn[step])
        np.testing.assert_array_equal(order.batch(step), in_turn[step])
        assert not np.array_equal(BatchOrder(lengths, BATCH_SIZE, seed=2).batch(step), in_turn[step])


def test_epochs_put_other_rows_together() -> None:
    order = BatchOrder(RAGGED, BATCH_SIZE, seed=1)
    sets = [{frozenset(batch) for batch in epoch(order, number)} for number in range(2)]
    assert not sets[0] & sets[1]


def test_batches_of_like_lengths_need_little_padding() -> None:
    shuffled = np.random.default_rng(0).permutation(len(RAGGED))[: 62 * BATCH_SIZE].reshape(-1, BATCH_SIZE)
    assert padding_share(shuffled, RAGGED) > 0.4
    assert padding_share(epoch(BatchOrder(RAGGED, BATCH_SIZE, seed=1), 0), RAGGED) < 0.05


def test_lengths_come_in_no_order() -> None:
    batches = epoch(BatchOrder(RAGGED, BATCH_SIZE, seed=1), 0)
    means = RAGGED[batches].mean(1)
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.4


@pytest.mark.parametrize("rows", [1, 3, BATCH_SIZE - 1])
def test_fewer_rows_than_a_batch_repeat_evenly(rows: int) -> None:
    order = BatchOrder(RAGGED[:rows], BATCH_SIZE, seed=1)
    for step in range(4):
        counts = np.bincount(order.batch(step), minlength=rows)
        assert counts.sum() == BATCH_SIZE
        assert counts.max() - counts.min() <= 1


def test_batches_of_any_texts_come_in_no_order_of_length() -> None:
    order = BatchOrder(RAGGED, BATCH_SIZE, seed=1, bucketed=False)
    batches = epoch(order, 0)
    assert len(np.unique(batches)) == batches.size
    assert padding_share(batches, RAGGED) > 0.4
    expected = RAGGED.std() / np.sqrt(BATCH_SIZE)  # of means of independent lengths
    assert RAGGED[batches].mean(1).std() == pytest.approx(expected, rel=0.3)


def test_texts_of_one_length_are_not_sorted() -> None:
    for number in (0, 3):
        ours, theirs = (epoch(BatchOrder(EQUAL, BATCH_SIZE, seed=1, bucketed=each), number) for each in (True, False))
        np.testing.assert_array_equal(ours, theirs)
