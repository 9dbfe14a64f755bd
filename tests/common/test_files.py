import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from annealed_lm.common.errors import InputError, one_sentence_errors
from annealed_lm.common.files import (
    atomic_path,
    copy_file,
    file_sha256,
    is_whole,
    one_line,
    partials,
    read_array,
    read_json,
    read_jsonl,
    read_labels,
    read_texts,
    read_tsv,
    require_sha256,
    seal,
    write_json,
    write_jsonl,
    write_text,
    write_tsv,
)


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    target = tmp_path / "new" / "file.txt"
    with atomic_path(target) as partial:
        partial.write_text("whole")
        assert not target.exists()
    assert target.read_text() == "whole"
    assert list(target.parent.iterdir()) == [target]


def interrupted_write(target: Path) -> None:
    with atomic_path(target) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt


def interrupted_write_of_a_folder(target: Path) -> None:
    with atomic_path(target) as partial:
        partial.mkdir()
        (partial / "half").touch()
        raise KeyboardInterrupt


def test_failure_leaves_the_last_good_file_and_nothing_beside_it(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("good")
    with pytest.raises(KeyboardInterrupt):
        interrupted_write(target)
    assert target.read_text() == "good"
    assert list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with atomic_path(target) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert [path.name for path in target.iterdir()] == ["new"]
    assert list(tmp_path.iterdir()) == [target]


def test_failure_leaves_the_last_good_folder(tmp_path: Path) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(KeyboardInterrupt):
        interrupted_write_of_a_folder(target)
    assert [path.name for path in target.iterdir()] == ["old"]
    assert list(tmp_path.iterdir()) == [target]


def write_while_it_is_written(target: Path) -> tuple[Path, Path]:
    """Write `target`, and once more in the midst of it; the paths that were written to."""
    with atomic_path(target) as first, atomic_path(target) as second:
        first.write_text("first")
        second.write_text("second")
    return first, second


def test_what_a_killed_process_of_the_same_id_left_is_no_part_of_the_output(tmp_path: Path) -> None:
    left = [tmp_path / f".samples.{process}.partial" for process in (1, os.getpid())]
    for partial in left:
        partial.mkdir()
        (partial / "beam.jsonl").touch()
    with atomic_path(tmp_path / "samples") as partial:
        partial.mkdir()  # which fails where one is there
        (partial / "greedy.jsonl").touch()
    assert [path.name for path in (tmp_path / "samples").iterdir()] == ["greedy.jsonl"]
    first, second = write_while_it_is_written(tmp_path / "a.txt")
    assert first != second
    assert (tmp_path / "a.txt").read_text() == "first"  # it was the last to be whole


def test_what_killed_processes_left_is_found_at_any_depth_and_once(tmp_path: Path) -> None:
    assert partials(tmp_path) == partials(tmp_path / "not there") == []
    with atomic_path(tmp_path / "data" / "latents") as folder, atomic_path(folder / "train.npy") as inner:
        inner.touch()
        (tmp_path / "data" / "a.partial").touch()  # not hidden: it is somebody's own
        assert partials(tmp_path) == [folder]
    assert partials(tmp_path) == []


def test_a_copy_is_whole_or_not_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "new" / "target"
    source.write_text("text")
    copy_file(source, target)
    assert target.read_text() == "text"
    assert partials(tmp_path) == []


def test_a_text_replaces_the_one_before(tmp_path: Path) -> None:
    for text in ("first", "Café £20\n"):
        write_text(tmp_path / "a.md", text)
    assert (tmp_path / "a.md").read_text(encoding="utf-8") == "Café £20\n"
    assert [path.name for path in tmp_path.iterdir()] == ["a.md"]


def test_one_line_is_one_line_for_every_reader() -> None:
    for character in map(chr, range(0x10000)):
        assert len(one_line(f"a{character}b").splitlines()) == 1
    assert one_line("a\nb\r\n\u2028 \\n \t caf\u00e9 \U0001f600") == "a\\nb\\r\\n\\u2028 \\n \t caf\u00e9 \U0001f600"


def test_json_keeps_order_and_letters(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"z": 1, "a": "Café £20"})
    assert path.read_text(encoding="utf-8") == '{\n  "z": 1,\n  "a": "Café £20"\n}\n'
    assert read_json(path) == {"z": 1, "a": "Café £20"}


@pytest.mark.parametrize("text", ["", "a\tb", "two\nlines", 'quoted "word"', "naïve \u2028 separator", "\U0001f600"])
def test_jsonl_returns_what_was_written_a_row_a_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    write_jsonl(path, [{"text": text}, {"text": "last"}])
    assert path.read_bytes().count(b"\n") == 2
    assert read_jsonl(path) == [{"text": text}, {"text": "last"}]
    assert read_texts(path) == [text, "last"]


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": 1}}', b"\xff", b"[" * 10**5, b"\0" * 9, b"1\n2\n"])
@pytest.mark.parametrize("read", [read_json, read_jsonl, read_array])
def test_a_damaged_file_is_one_sentence_that_names_it(read: Callable[[Path], object], data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(data)
    if (read, data) == (read_jsonl, b""):  # no rows
        assert read_jsonl(path) == []
        return
    with pytest.raises(InputError, match=rf"^{path} is damaged \(\w+: .*\): remove it and run again, or bring") as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 500
    assert isinstance(caught.value, ValueError)


def test_an_array_comes_back_and_none_that_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "a.npy"
    np.save(path, np.arange(1000).reshape(10, 100))
    for mapped in (False, True):
        assert np.array_equal(read_array(path, mapped), np.arange(1000).reshape(10, 100))
    data = path.read_bytes()
    for size in (0, 5, 50, 100, 128, 1000, len(data) - 1):
        path.write_bytes(data[:size])
        for mapped in (False, True):
            with pytest.raises(InputError, match=r"a\.npy is damaged \("):
                read_array(path, mapped)


def test_a_row_without_a_label_has_none(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    write_jsonl(path, [{"text": "one", "label": "Sci/Tech"}, {"text": "two"}])
    assert read_labels(path) == ["Sci/Tech", None]
    assert read_texts(path) == ["one", "two"]


def test_tsv_returns_rows_with_six_significant_digits(tmp_path: Path) -> None:
    path = tmp_path / "curve.tsv"
    write_tsv(path, [{"step": 0, "loss": 1 / 3}, {"step": 10, "loss": 2e-7}])
    assert path.read_text() == "step\tloss\n0\t0.333333\n10\t2e-07\n"
    assert read_tsv(path) == [{"step": "0", "loss": "0.333333"}, {"step": "10", "loss": "2e-07"}]


def test_a_table_of_no_rows_has_no_header_to_write(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no rows"):
        write_tsv(tmp_path / "curve.tsv", [])


def test_digest_tells_a_damaged_file(tmp_path: Path) -> None:
    path = tmp_path / "archive.zip"
    path.write_bytes(b"whole")
    digest = hashlib.sha256(b"whole").hexdigest()
    assert file_sha256(path) == digest
    require_sha256(path, digest)
    path.write_bytes(b"hole")
    with pytest.raises(InputError, match=r"archive.zip has sha256 .* not .*: it is damaged or another release"):
        require_sha256(path, digest)


@pytest.mark.parametrize("name", ["a.json", "folder"])
def test_a_seal_tells_every_change_of_a_file_or_a_folder(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    inner = path / "inner" / "b.bin" if name == "folder" else path
    inner.parent.mkdir(parents=True, exist_ok=True)
    inner.write_bytes(b"whole")
    assert not is_whole(path)  # nothing says what it should be
    seal(path)
    assert is_whole(path)
    inner.write_bytes(b"whol\x64")
    assert not is_whole(path)
    inner.write_bytes(b"whole")
    assert is_whole(path)
    (tmp_path / f".{name}.sha256").write_text('{"')
    assert not is_whole(path)
    seal(path)
    inner.unlink()
    assert not is_whole(path)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [(errno.ENOSPC, "the disk is full"), (errno.EDQUOT, "the disk quota is used up"), (errno.EROFS, "the disk is read-only")],
)
def test_a_disk_that_takes_no_more_ends_in_one_sentence(number: int, sentence: str) -> None:
    with (
        pytest.raises(SystemExit, match=f"^error: {sentence} while writing model.bin; .* finished stages are kept$"),
        one_sentence_errors(),
    ):
        raise OSError(number, "no", "model.bin")


def test_a_user_error_ends_in_its_sentence() -> None:
    with pytest.raises(SystemExit, match=r"^error: power = 0$"), one_sentence_errors():
        raise InputError("power = 0")


def test_a_fault_of_the_code_keeps_its_traceback() -> None:
    with pytest.raises(FileNotFoundError), one_sentence_errors():
        raise FileNotFoundError(errno.ENOENT, "no such file")
