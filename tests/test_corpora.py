import hashlib
import json
import zipfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from annealed_lm.corpora import CORPORA, SPLITS, Preparation, clean, draw, prepare_corpus
from annealed_lm.corpus_files import CORPUS_FILES, E2E_ARCHIVE, E2E_MEMBERS, Splits, read_e2e, read_json_lines, read_lines
from annealed_lm.errors import InputError
from annealed_lm.restaurants import is_grammatical

PREPARATION = Preparation(
    seed=0,
    split="random",
    train_texts=1000,
    valid_texts=10,
    test_texts=5,
    max_words=6,
    duplicates="drop",
    other_scripts="keep",
)
KEEP_DUPLICATES = replace(PREPARATION, duplicates="keep")


def write_texts(folder: Path, texts: list[str]) -> Path:
    (folder / "texts.txt").write_text("".join(text + "\n" for text in texts), encoding="utf-8")
    return folder


def write_json_lines(path: Path, texts: list[str]) -> None:
    path.write_text("".join(json.dumps([text]) + "\n" for text in texts), encoding="utf-8")


def write_archive(folder: Path, contents: dict[str, str]) -> dict[str, tuple[str, str]]:
    """An archive laid out as E2E's, of CSV texts by split; the members and digests that belong to it."""
    members = {}
    with zipfile.ZipFile(folder / E2E_ARCHIVE, "w") as archive:
        for name, content in contents.items():
            archive.writestr(E2E_MEMBERS[name][0], content)
            members[name] = (E2E_MEMBERS[name][0], hashlib.md5(content.encode()).hexdigest())
    return members


E2E_CONTENTS = {
    "train": '\ufeffmr,ref\n"name[A], area[b]","A pub, ""cheap""\nby the river."\nname[B],Café B.\n',
    "valid": "mr,ref\nname[C],C is here.\n",
    "test": '"mr","ref"\n"name[D]","D is there."\n"name[D]","Café B."\n',
}


# Cleaning


@pytest.mark.parametrize(
    ("row", "kept", "findings"),
    [
        ("A plain text.", "A plain text.", set()),
        ("  runs of \t white\u00a0\u2003space\r", "runs of white space", set()),
        ("\ufeffzero\u200bwidth \x00 text\x07", "zero width text", {"control_characters"}),
        ("half a \ud800 pair", "half a pair", {"control_characters"}),
        ("Cafe\u0301", "Caf\u00e9", {"not_nfc"}),
        (" \t ", None, {"empty"}),
        ("\u200b", None, {"empty", "control_characters"}),
        ("one two three four five six", "one two three four five six", set()),
        ("one two three four five six seven", None, {"too_long"}),
        ("Straße Łódź ½ 5µm 1ª 😀", "Straße Łódź ½ 5µm 1ª 😀", set()),
        ("Привет world", "Привет world", {"other_scripts"}),
        ("寿司", "寿司", {"other_scripts"}),
    ],
)
def test_what_cleaning_does_to_a_row_is_counted(row: str, kept: str | None, findings: set[str]) -> None:
    texts, counts = clean([row], PREPARATION)
    assert texts == ([] if kept is None else [kept])
    expected = {"rows": 1, "rows_kept": len(texts)} | dict.fromkeys(findings, 1)
    assert {name: count for name, count in counts.items() if count or name in expected} == expected


def test_duplicates_are_dropped_or_kept_after_cleaning() -> None:
    rows = ["one", "two", " one ", "one\u200b", "two"]
    assert clean(rows, PREPARATION)[0] == ["one", "two"]
    assert clean(rows, KEEP_DUPLICATES)[0] == ["one", "two", "one", "one", "two"]
    assert clean(rows, PREPARATION)[1]["repeated"] == clean(rows, KEEP_DUPLICATES)[1]["repeated"] == 3


def test_other_scripts_are_dropped_or_kept() -> None:
    rows = ["Latin é", "Ελλάδα"]
    assert clean(rows, replace(PREPARATION, other_scripts="drop"))[0] == ["Latin é"]
    assert clean(rows, PREPARATION)[0] == rows


def test_cleaning_twice_changes_nothing_more() -> None:
    once, _ = clean(["a\u200b b", "e\u0301\u0302 \x1c x", "\u1112\u1161\u11ab"], PREPARATION)
    twice, counts = clean(once, PREPARATION)
    assert once == twice
    assert counts["control_characters"] == counts["not_nfc"] == 0


# Readers


def test_lines_end_at_newlines_only(tmp_path: Path) -> None:
    path = tmp_path / "texts.txt"
    path.write_bytes("\ufefffirst\x85still first\u2028\r\n\r\nthird\nlast".encode())
    assert read_lines(path) == ["first\x85still first\u2028", "", "third", "last"]
    path.write_bytes(b"")
    assert read_lines(path) == []


@pytest.mark.parametrize("data", [b"one\ntwo\n\xff\nfour\n", b"one\r\ntwo\r\nth\xe9\r\n"])
def test_a_line_that_is_not_utf8_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "texts.txt").write_bytes(data)
    with pytest.raises(InputError, match=r"texts\.txt line 3 is not UTF-8"):
        prepare_corpus("text", tmp_path, PREPARATION)


def test_json_lines_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "train.json"
    path.write_text('["Caf\\u00e9 \\"A\\"\\n."]\n\n ["é"] \n', encoding="utf-8")
    assert read_json_lines(path) == ['Café "A"\n.', "", "é"]


@pytest.mark.parametrize(
    "line", ["Ann went.", '"Ann"', '["a", "b"]', "[]", "[1]", '{"a": 1}', "null", '["a"', '{"a": "b"}', "[" * 99999]
)
def test_a_line_that_is_no_json_list_of_a_string_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "train.json").write_text(f'["fine"]\n{line}\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"train\.json line 2 is not a JSON list of one string"):
        prepare_corpus("roc", tmp_path, PREPARATION)


def test_roc_valid_file_is_divided_after_1000_lines(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "train.json", ["first", "second"])
    write_json_lines(tmp_path / "valid.json", [f"held out {i}" for i in range(1003)])
    splits = CORPUS_FILES["roc"].read(tmp_path, "official")
    assert splits["train"] == ["first", "second"]
    assert splits["valid"] == [f"held out {i}" for i in range(1000)]
    assert splits["test"] == ["held out 1000", "held out 1001", "held out 1002"]
    assert CORPUS_FILES["roc"].read(tmp_path, "random") == {"train": ["first", "second"]}


def test_e2e_texts_are_the_references(tmp_path: Path) -> None:
    members = write_archive(tmp_path, E2E_CONTENTS)
    train = ['A pub, "cheap"\nby the river.', "Café B."]
    official: Splits = {"train": train, "valid": ["C is here."], "test": ["D is there.", "Café B."]}
    assert read_e2e(tmp_path, "official", members) == official
    assert read_e2e(tmp_path, "random", members) == {"train": train}


def test_an_archive_that_is_not_the_official_one_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path, E2E_CONTENTS)
    with pytest.raises(InputError, match=r"trainset\.csv is not the published file"):
        prepare_corpus("e2e", tmp_path, PREPARATION)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    members = write_archive(tmp_path, {"train": E2E_CONTENTS["train"]})
    archive = tmp_path / E2E_ARCHIVE
    whole = archive.read_bytes()
    at = whole.index(b"river")
    for damaged in (whole[: len(whole) // 2], b"no archive", b"", whole[:at] + b"rover" + whole[at + 5 :]):
        archive.write_bytes(damaged)
        with pytest.raises(InputError, match="no whole E2E archive"):
            read_e2e(tmp_path, "random", members)
    archive.write_bytes(whole)
    with pytest.raises(InputError, match=r"no whole E2E archive.*devset\.csv"):
        read_e2e(tmp_path, "official", E2E_MEMBERS | members)


# Splits


def assert_disjoint(splits: Splits) -> None:
    train, valid, test = (set(splits[name]) for name in SPLITS)
    assert not (train & valid) | (train & test) | (valid & test)


@pytest.mark.parametrize("preparation", [PREPARATION, KEEP_DUPLICATES])
def test_random_splits_share_no_text(tmp_path: Path, preparation: Preparation) -> None:
    rows = [f"text {i % 60}" for i in range(100)]
    splits, statistics = prepare_corpus("text", write_texts(tmp_path, rows), preparation)
    assert_disjoint(splits)
    assert [len(splits["valid"]), len(splits["test"])] == [10, 5]
    assert len(set(splits["train"])) == 45
    assert (len(splits["train"]) > 45) == (preparation.duplicates == "keep")
    assert statistics["files"]["train"]["repeated"] == 40
    assert statistics["splits"]["valid"]["in_train"] == statistics["splits"]["test"]["in_train"] == 0


def test_e2e_rows_are_held_out_of_the_training_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train = "mr,ref\n" + "".join(f"name[{i}],Text {i % 30}.\n" for i in range(60))
    members = write_archive(tmp_path, E2E_CONTENTS | {"train": train})
    monkeypatch.setitem(CORPUS_FILES, "e2e", replace(CORPUS_FILES["e2e"], read=partial(read_e2e, members=members)))
    splits, _ = prepare_corpus("e2e", tmp_path, PREPARATION)
    assert_disjoint(splits)
    assert {text for name in SPLITS for text in splits[name]} == {f"Text {i}." for i in range(30)}


def test_official_splits_keep_and_count_their_overlap_with_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = write_archive(tmp_path, E2E_CONTENTS)
    monkeypatch.setitem(CORPUS_FILES, "e2e", replace(CORPUS_FILES["e2e"], read=partial(read_e2e, members=members)))
    splits, statistics = prepare_corpus("e2e", tmp_path, replace(PREPARATION, split="official"))
    assert splits == {
        "train": ['A pub, "cheap" by the river.', "Café B."],
        "valid": ["C is here."],
        "test": ["D is there.", "Café B."],
    }
    assert {name: statistics["splits"][name]["in_train"] for name in SPLITS} == {"train": 2, "valid": 0, "test": 1}
    assert statistics["splits"]["test"] == {
        "texts": 2,
        "distinct_texts": 2,
        "in_train": 1,
        "words": 5,
        "word_types": 5,
        "words_a_text": 2.5,
        "shortest": 2,
        "longest": 3,
    }


def test_the_seed_decides_which_rows_are_held_out(tmp_path: Path) -> None:
    folder = write_texts(tmp_path, [f"text {i}" for i in range(100)])
    held_out = [prepare_corpus("text", folder, replace(PREPARATION, seed=seed))[0]["valid"] for seed in (0, 0, 1)]
    assert held_out[0] == held_out[1] != held_out[2]


def test_a_drawn_subset_keeps_the_order() -> None:
    texts = [f"{i:03}" for i in range(200)]
    drawn = draw(texts, 50, "seed")
    assert len(drawn) == 50
    assert drawn == sorted(drawn) != texts[:50]
    assert draw(texts, 50, "seed") == drawn != draw(texts, 50, "another seed")
    assert draw(texts, 200, "seed") == draw(texts, 300, "seed") == texts


def test_sizes_are_upper_bounds(tmp_path: Path) -> None:
    folder = write_texts(tmp_path, [f"text {i}" for i in range(100)])
    splits, statistics = prepare_corpus("text", folder, replace(PREPARATION, train_texts=20))
    assert {name: len(splits[name]) for name in SPLITS} == {"train": 20, "valid": 10, "test": 5}
    assert statistics["files"]["train"]["rows_kept"] == 100


def test_the_embedded_corpus_has_the_sizes_asked_for(tmp_path: Path) -> None:
    preparation = replace(PREPARATION, train_texts=300, max_words=64)
    splits, statistics = prepare_corpus("restaurants", tmp_path, preparation)
    assert {name: len(splits[name]) for name in SPLITS} == preparation.sizes
    assert_disjoint(splits)
    assert all(is_grammatical(text) for name in SPLITS for text in splits[name])
    for name in SPLITS:
        found = {finding: count for finding, count in statistics["files"][name].items() if count}
        assert found == {"rows": preparation.sizes[name], "rows_kept": preparation.sizes[name]}


def test_every_corpus_has_files_for_both_kinds_of_split() -> None:
    assert set(CORPORA) == set(CORPUS_FILES)
    for corpus in CORPUS_FILES.values():
        assert set(corpus.required["random"]) <= set(corpus.required["official"])
        assert set(corpus.releases) <= set(corpus.required["random"])


# Errors


def test_too_few_texts_to_hold_out(tmp_path: Path) -> None:
    folder = write_texts(tmp_path, [f"text {i}" for i in range(15)])
    with pytest.raises(InputError, match="15 distinct texts are too few: valid_texts \\+ test_texts = 15 are held out"):
        prepare_corpus("text", folder, PREPARATION)


@pytest.mark.parametrize("rows", [[], ["", "  "], ["one two three four five six seven"]])
def test_nothing_left_after_cleaning(tmp_path: Path, rows: list[str]) -> None:
    with pytest.raises(InputError, match=f"text has no texts for train after cleaning \\(rows: {len(rows)}, "):
        prepare_corpus("text", write_texts(tmp_path, rows), PREPARATION)


def test_the_official_split_needs_its_own_file(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "train.json", [f"text {i}" for i in range(30)])
    splits, _ = prepare_corpus("roc", tmp_path, PREPARATION)
    assert len(splits["train"]) == 15
    with pytest.raises(InputError, match=r"split = official of dataset_name = roc needs valid\.json.*split = random"):
        prepare_corpus("roc", tmp_path, replace(PREPARATION, split="official"))
