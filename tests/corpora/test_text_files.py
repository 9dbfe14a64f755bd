from pathlib import Path

import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.corpora.text_files import read_lines, read_rows, read_utf8

TEXTS = {
    "English": "a pub\nby the river\n",
    "one letter": "a\n",
    "Russian": "\u0441\u043b\u043e\u0432\u043e \u0434\u0435\u043b\u043e\n" * 20,
    "Russian, a word a line": "\u0441\u043b\u043e\u0432\u043e\u0444\u043e\u0440\u043c\u0430\n" * 20,
}


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufefffirst\x85still first\u2028\r\n\r\nthird\nlast".encode())
    assert read_lines(path) == ["first\x85still first\u2028", "", "third", "last"]
    path.write_bytes(b"")
    assert read_lines(path) == []


def test_blank_lines_at_the_end_are_no_rows(tmp_path: Path) -> None:
    path = tmp_path / "rows.tsv"
    path.write_text("a\tb\n\nc\td\n \t\r\n\n")
    assert read_rows(path) == ["a\tb", "", "c\td"]


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-16", "utf-32-le", "utf-32-be", "utf-32"])
@pytest.mark.parametrize("text", TEXTS)
def test_another_encoding_is_named(encoding: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes(TEXTS[text].encode(encoding))
    with pytest.raises(InputError, match=f"texts.txt is {encoding[:6].upper()}, or no text .* NUL.: save it as UTF-8$"):
        read_lines(path)


@pytest.mark.parametrize("text", ["a few\0\0 stray \0NULs\n", "stray\0\n" + "a long line of text\n" * 200 + "\0" * 10])
def test_a_few_stray_nuls_are_the_business_of_cleaning(text: str, tmp_path: Path) -> None:
    (tmp_path / "texts.txt").write_text(text)
    assert read_utf8(tmp_path / "texts.txt") == text


def test_a_file_of_nuls_is_no_text(tmp_path: Path) -> None:
    """As a disk that lost power leaves it."""
    (tmp_path / "texts.txt").write_bytes(b"a line\n" * 100 + b"\0" * 4096)
    with pytest.raises(InputError, match="4096 of its 4796 bytes are NUL"):
        read_lines(tmp_path / "texts.txt")
