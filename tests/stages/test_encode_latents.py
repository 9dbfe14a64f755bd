"""encode_latents writes the largest output of all: of any layout, in place, and no part of it where the disk is full."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import pytest

import encode_latents
from annealed_lm.autoencoder.encoding import encode_ids
from annealed_lm.autoencoder.latents import LatentIndex, LatentSet
from annealed_lm.autoencoder.tokenizer import tokenize
from annealed_lm.common.errors import one_sentence_errors
from annealed_lm.common.files import partials
from support.disks import largest_file, small_disk
from support.tiny import LAYOUTS, MAX_TOKENS, TEXTS, make_autoencoder, write_params, write_prepared


@pytest.fixture(scope="module", params=LAYOUTS)
def inputs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("inputs")
    write_prepared(folder / "prepared")
    make_autoencoder(request.param).save(folder / "autoencoder", "0123456789abcdef", "text")
    write_params(folder / "params.yaml", {"encode_latents": {"batch_size": 16}})
    return folder


def run(inputs: Path, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = {"params": inputs / "params.yaml", "texts": inputs / "prepared", "autoencoder": inputs / "autoencoder", "out": out}
    monkeypatch.setattr(sys, "argv", ["encode_latents.py", *(f"--{name}={path}" for name, path in paths.items())])
    with one_sentence_errors():
        encode_latents.main()


def test_the_latents_of_each_text_stand_at_its_place(inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(inputs, tmp_path / "latents", monkeypatch)
    autoencoder = encode_latents.Autoencoder.load(inputs / "autoencoder")
    for split, texts in (("train", TEXTS[:200]), ("valid", TEXTS[200:250])):
        expected = encode_ids(autoencoder, tokenize(autoencoder.tokenizer, texts, MAX_TOKENS), 16)
        found = list(LatentSet.load(tmp_path / "latents", split))
        assert len(found) == len(texts)
        for row, own in zip(found, expected, strict=True):
            np.testing.assert_array_equal(row, own.astype(np.float16))
        LatentSet.from_rows(expected).save(tmp_path, split)
        assert (tmp_path / f"{split}.npy").read_bytes() == (tmp_path / "latents" / f"{split}.npy").read_bytes()


DISKS: dict[str, tuple[Callable[[Path], AbstractContextManager[object]], str]] = {
    "limit": (lambda _: largest_file(6000), "the limit on the size of a file is reached"),
    "full": (lambda folder: small_disk(folder, 16 * 4096), "the disk is full"),
    "full at once": (lambda folder: small_disk(folder, 3 * 4096), "the disk is full"),
}


@pytest.mark.parametrize("disk", DISKS)
def test_a_disk_that_takes_no_more_is_one_sentence_and_no_partial_output(
    disk: str, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, (limited, told) = tmp_path / "disk", DISKS[disk]
    with limited(folder):
        if disk == "full":  # all but two pages are taken already
            taken = folder / "taken"
            taken.parent.mkdir(exist_ok=True)
            taken.write_bytes(bytes(8 * 4096))
        with pytest.raises(
            SystemExit, match=f"^error: {told} while writing {folder}/latents; .* finished stages are kept$"
        ) as end:
            run(inputs, folder / "latents", monkeypatch)
        assert "\n" not in str(end.value)
        assert not (folder / "latents").exists()
        assert partials(folder) == []


def test_what_is_not_kept_is_not_written(tmp_path: Path) -> None:
    rows = [(1, np.full((2, 3), 5.0, np.float32)), (0, np.full((1, 3), 7.0, np.float32))]
    index = LatentIndex.of([1, 2], None)
    for cached in (True, False):
        passed = list(encode_latents.write_latents(tmp_path, "train", rows, index, 3, cached))
        assert [row.tolist() for row in passed] == [rows[0][1].tolist(), rows[1][1].tolist()]
        assert (tmp_path / "train.npy").exists() == cached
        (tmp_path / "train.npy").unlink(missing_ok=True)
        (tmp_path / "train_offsets.npy").unlink()
