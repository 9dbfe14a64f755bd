from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from annealed_lm.autoencoder.latents import (
    Floats,
    LatentIndex,
    LatentSet,
    LatentsOnDevice,
    draw_training_rows,
    gaussian_latents,
    index_labels,
    nearest_source,
    noised_latents,
)
from annealed_lm.common.errors import InputError
from annealed_lm.diffusion.normalization import LatentStatistics
from support.tiny import CPU

WIDTH = 5
RANDOM = np.random.default_rng(0)
LENGTHS = RANDOM.integers(1, 9, 60)


def make_rows(lengths: np.ndarray) -> list[Floats]:
    """Latents whose dimensions have means and deviations of their own, exact in half precision."""
    scale, shift = np.geomspace(0.1, 10, WIDTH), np.linspace(-3, 3, WIDTH)
    rows = [RANDOM.standard_normal((length, WIDTH)) * scale + shift for length in lengths]
    return [row.astype(np.float16).astype(np.float32) for row in rows]


ROWS = make_rows(LENGTHS)
RAGGED = LatentSet.from_rows(ROWS)
FIXED_ROWS = make_rows(np.full(40, 3))
FIXED = LatentSet.from_rows(FIXED_ROWS)


def test_rows_come_back_as_they_were() -> None:
    assert len(RAGGED) == len(ROWS)
    np.testing.assert_array_equal(RAGGED.index.lengths, LENGTHS)
    for i, row in enumerate(ROWS):
        np.testing.assert_array_equal(RAGGED[i], row)
        assert RAGGED[i].dtype == np.float32


def test_saved_latents_come_back_from_half_precision(tmp_path: Path) -> None:
    values = [RANDOM.standard_normal((3, WIDTH)).astype(np.float32)]
    LatentSet.from_rows(values).save(tmp_path, "train")
    RAGGED.save(tmp_path, "valid")
    train, valid = LatentSet.load(tmp_path, "train"), LatentSet.load(tmp_path, "valid")
    np.testing.assert_allclose(train[0], values[0], rtol=2**-11)
    assert not np.array_equal(train[0], values[0])
    assert [valid[i].tolist() for i in range(len(valid))] == [row.tolist() for row in ROWS]
    assert (tmp_path / "valid.npy").stat().st_size < 2 * WIDTH * sum(LENGTHS) + 200  # no padding on disk


def test_loaded_latents_cannot_be_changed_by_mistake(tmp_path: Path) -> None:
    RAGGED.save(tmp_path, "train")
    with pytest.raises(ValueError, match="read-only"):
        LatentSet.load(tmp_path, "train").vectors[0] = 0


def test_labels_stay_with_their_rows(tmp_path: Path) -> None:
    labels = [int(length) % 3 for length in LENGTHS]
    made = LatentSet.from_rows(ROWS, labels)
    made.save(tmp_path, "train")
    for latents in (made, LatentSet.load(tmp_path, "train")):
        assert latents.index.labels is not None
        assert latents.index.labels.dtype == np.int64
        np.testing.assert_array_equal(latents.index.labels, latents.index.lengths % 3)


def test_latents_without_labels_leave_no_file_of_labels(tmp_path: Path) -> None:
    RAGGED.save(tmp_path, "train")
    assert {path.name for path in tmp_path.iterdir()} == {"train.npy", "train_offsets.npy"}
    assert RAGGED.index.labels is None
    assert LatentIndex.load(tmp_path, "train").labels is None


def test_labels_are_numbered_in_the_order_of_their_names() -> None:
    names, places = index_labels({"train": ["wet", "dry", "wet"], "valid": ["icy", "dry"]})
    assert names == ["dry", "icy", "wet"]
    assert places == {"train": [2, 0, 2], "valid": [1, 0]}


def test_a_corpus_without_labels_has_neither_names_nor_numbers() -> None:
    assert index_labels({"train": [None, None], "valid": [None]}) == ([], {"train": None, "valid": None})


@pytest.mark.parametrize(("split", "line"), [("train", 3), ("valid", 2)])
def test_a_missing_label_is_named(split: str, line: int) -> None:
    labels: dict[str, list[str | None]] = {"train": ["wet", "dry", "wet"], "valid": ["dry", "dry"]}
    labels[split][line - 1] = None
    with pytest.raises(InputError, match=rf"^line {line} of {split}\.jsonl has no label, which other texts have"):
        index_labels(labels)


def test_a_folder_without_latents_is_named(tmp_path: Path) -> None:
    for kind in (LatentSet, LatentIndex):
        with pytest.raises(InputError, match="holds no train latents; the stage encode_latents writes them"):
            kind.load(tmp_path, "train")


def test_latents_that_were_not_kept_have_an_index_still(tmp_path: Path) -> None:
    RAGGED.index.save(tmp_path, "train")
    np.testing.assert_array_equal(LatentIndex.load(tmp_path, "train").lengths, LENGTHS)
    with pytest.raises(InputError, match=r"no vectors of the train texts: encode_latents.train_latents = cached writes them"):
        LatentSet.load(tmp_path, "train")


def test_a_batch_holds_the_rows_asked_for_and_zeros() -> None:
    indices = np.array([7, 0, 59, 7, 33])
    padded, mask = RAGGED.batch(indices)
    longest = max(LENGTHS[indices])
    assert padded.shape == (5, longest, WIDTH)
    assert padded.dtype == torch.float32
    assert mask.shape == (5, longest)
    for row, row_mask, i in zip(padded, mask, indices, strict=True):
        np.testing.assert_array_equal(row[row_mask].numpy(), ROWS[i])
        assert torch.equal(row_mask, torch.arange(longest) < LENGTHS[i])
        assert not row[~row_mask].any()


@pytest.mark.parametrize("length", [None, 8, 30])
def test_latents_on_the_device_are_the_same(length: int | None) -> None:
    texts = np.array([7, 0, 59, 7, 33])
    for ours, theirs in zip(LatentsOnDevice(RAGGED, CPU).batch(texts, length), RAGGED.batch(texts, length), strict=True):
        assert torch.equal(ours, theirs)
        assert ours.dtype == theirs.dtype


def test_a_batch_can_be_padded_further() -> None:
    texts = np.array([7, 0, 59])
    padded, mask = RAGGED.batch(texts)
    further, wider = RAGGED.batch(texts, 20)
    assert torch.equal(further[:, : padded.shape[1]], padded)
    assert not further[:, padded.shape[1] :].any()
    assert torch.equal(wider[:, : mask.shape[1]], mask)
    assert wider.shape == (3, 20)
    assert wider.sum() == mask.sum()


@pytest.mark.parametrize(("free_bytes", "held"), [(10**9, True), (10**3, False)])
def test_a_gpu_with_room_holds_the_latents(free_bytes: int, held: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free_bytes, 10**9))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, *_: self)  # there is no GPU here
    assert isinstance(nearest_source(RAGGED, torch.device("cuda")), LatentsOnDevice) == held
    assert nearest_source(RAGGED, CPU) is RAGGED


def test_statistics_are_those_of_all_vectors() -> None:
    statistics = LatentStatistics.of(RAGGED, per_position=False)
    everything = np.concatenate(ROWS).astype(np.float64)
    assert statistics.mean.shape == statistics.std.shape == (1, WIDTH)
    np.testing.assert_allclose(statistics.mean[0], everything.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics.std[0], everything.std(0), rtol=1e-5)


def test_statistics_per_position_are_those_of_each_position() -> None:
    statistics = LatentStatistics.of(FIXED, per_position=True)
    stacked = np.stack(FIXED_ROWS).astype(np.float64)
    np.testing.assert_allclose(statistics.mean, stacked.mean(0), rtol=1e-5)
    np.testing.assert_allclose(statistics.std, stacked.std(0), rtol=1e-5)


@pytest.mark.parametrize(("latents", "per_position"), [(RAGGED, False), (FIXED, False), (FIXED, True)])
def test_normalised_latents_have_mean_0_and_deviation_1_and_come_back(latents: LatentSet, per_position: bool) -> None:
    statistics = LatentStatistics.of(latents, per_position)
    rows = [torch.from_numpy(latents[i]) for i in range(len(latents))]
    normalised = [statistics.normalise(row) for row in rows]
    values = torch.stack(normalised) if per_position else torch.cat(normalised)
    torch.testing.assert_close(values.mean(0), torch.zeros(values.shape[1:]), atol=1e-5, rtol=0)
    torch.testing.assert_close(values.std(0, correction=0), torch.ones(values.shape[1:]), atol=1e-5, rtol=0)
    for row, each in zip(rows, normalised, strict=True):
        torch.testing.assert_close(statistics.unnormalise(each), row)


def test_statistics_survive_saving(tmp_path: Path) -> None:
    statistics = LatentStatistics.of(FIXED, per_position=True)
    statistics.save(tmp_path)
    loaded = LatentStatistics.load(tmp_path)
    assert torch.equal(loaded.mean, statistics.mean)
    assert torch.equal(loaded.std, statistics.std)


def test_identity_changes_nothing() -> None:
    row = torch.from_numpy(ROWS[0])
    identity = LatentStatistics.identity(WIDTH)
    assert torch.equal(identity.normalise(row), row)
    assert torch.equal(identity.unnormalise(row), row)


def test_a_constant_dimension_is_not_blown_up() -> None:
    rows = [np.full((2, WIDTH), 0.5, dtype=np.float32)] * 3
    statistics = LatentStatistics.of(rows, per_position=False)
    assert not statistics.normalise(torch.from_numpy(rows[0])).any()


def test_lengths_of_drawn_rows_follow_the_training_histogram() -> None:
    train_lengths = np.repeat([2, 3, 7, 11], [10, 50, 5, 35])
    drawn = [train_lengths[row] for row in draw_training_rows(100, 2000, seed=3)]
    observed = np.array([drawn.count(length) for length in (2, 3, 7, 11)])
    assert observed.sum() == 2000
    assert stats.chisquare(observed, 2000 * np.array([0.1, 0.5, 0.05, 0.35])).pvalue > 0.001


def test_the_training_row_of_a_text_depends_on_seed_and_number_only() -> None:
    assert draw_training_rows(60, 50, seed=3)[:20] == draw_training_rows(60, 20, seed=3)
    assert draw_training_rows(60, 50, seed=4) != draw_training_rows(60, 50, seed=3)


@pytest.mark.parametrize(("latents", "per_position"), [(RAGGED, False), (FIXED, True)])
def test_the_control_has_the_statistics_of_the_training_latents(latents: LatentSet, per_position: bool) -> None:
    statistics = LatentStatistics.of(latents, per_position)
    control = gaussian_latents(statistics, [3] * 2000, seed=0)
    found = LatentStatistics.of(control, per_position)
    torch.testing.assert_close(found.std, statistics.std, rtol=0.1, atol=0)
    assert ((found.mean - statistics.mean).abs() < 0.12 * statistics.std).all()


def test_the_control_of_a_text_depends_on_seed_number_and_length_only() -> None:
    statistics = LatentStatistics.of(RAGGED, per_position=False)
    many = gaussian_latents(statistics, [4, 2, 6, 1], seed=0)
    few = gaussian_latents(statistics, [4, 2], seed=0)
    assert [row.shape for row in many] == [(4, WIDTH), (2, WIDTH), (6, WIDTH), (1, WIDTH)]
    np.testing.assert_array_equal(many[1], few[1])
    assert not np.array_equal(many[0][:1], many[3])
    assert not np.array_equal(gaussian_latents(statistics, [4, 2], seed=1)[1], few[1])


@pytest.mark.parametrize("level", [0.0, 0.6, 1.0])
def test_noise_on_latents_keeps_their_statistics(level: float) -> None:
    rows = make_rows(np.full(2000, 3))
    statistics = LatentStatistics.of(rows, per_position=True)
    found = noised_latents(rows, statistics, level, seed=0)
    noised = LatentStatistics.of(found, per_position=True)
    torch.testing.assert_close(noised.std, statistics.std, rtol=0.1, atol=0)
    assert ((noised.mean - statistics.mean).abs() < 0.12 * statistics.std).all()
    z, noisy_z = (statistics.normalise(torch.from_numpy(np.stack(each))) for each in (rows, found))
    assert float((z * noisy_z).mean()) == pytest.approx((1 - level**2) ** 0.5, abs=0.03)
    if level == 0:
        np.testing.assert_allclose(found, rows, atol=1e-5)


def test_the_noise_of_a_text_depends_on_seed_and_number_only() -> None:
    statistics = LatentStatistics.of(RAGGED, per_position=False)
    many, few = (noised_latents(ROWS[:count], statistics, 0.7, seed=0) for count in (6, 3))
    assert all(map(np.array_equal, few, many))
    assert not any(map(np.array_equal, few, noised_latents(ROWS[:3], statistics, 0.7, seed=1)))
