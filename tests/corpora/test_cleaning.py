import sys
import unicodedata
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import pytest

import prepare_data
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import read_json, read_jsonl
from annealed_lm.config.types import DatasetName
from annealed_lm.corpora.cleaning import CORPORA, SPLITS, Preparation, clean, draw, prepare_corpus
from annealed_lm.corpora.files import CORPUS_FILES
from annealed_lm.corpora.readers import READERS, LabelledText, Splits, read_e2e, unlabelled
from annealed_lm.corpora.restaurants import LABELS, is_grammatical, label_of
from support.raw_files import AG_NEWS, E2E_CONTENTS, SST2, write_archive, write_files, write_json_lines, write_texts
from support.tiny import write_params

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


def texts_of(rows: list[LabelledText]) -> list[str]:
    return [row.text for row in rows]


# Cleaning


@pytest.mark.parametrize(
    ("row", "kept", "findings"),
    [
        ("A plain text.", "A plain text.", set()),
        ("  runs of \t white\u00a0\u2003space\r", "runs of white space", set()),
        ("\ufeffzero\u200bwidth \x00 te\x07xt\x7f", "zerowidth text", {"control_characters"}),
        ("co\u00adoperate", "cooperate", {"control_characters"}),
        (
            "word\u2060joiner, \u200fright\u200e to \u202bleft\u202c \u2066a\u2069",
            "wordjoiner, right to left a",
            {"control_characters"},
        ),
        ("e\u00ad\u0301", "\u00e9", {"control_characters", "not_nfc"}),
        ("line\x0bfeeds\x0c of\x1call\x85kinds", "line feeds of all kinds", set()),
        (
            "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
            "\U0001f468\u200d\U0001f469\u200d\U0001f467 \u2764\ufe0f",
            set(),
        ),
        (
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            {"other_scripts"},
        ),
        ("\u0600\u0661 \u06dd", "\u0600\u0661 \u06dd", set()),
        ("\U0001f3f4\U000e0067\U000e0062\U000e007f", "\U0001f3f4\U000e0067\U000e0062\U000e007f", set()),
        ("a \u200d b", "a b", set()),
        ("\u200c \u200d\u200c", None, {"empty"}),
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
    rows, counts = clean([LabelledText(row, "a label")], PREPARATION)
    assert rows == ([] if kept is None else [LabelledText(kept, "a label")])
    expected = {"rows": 1, "rows_kept": len(rows)} | dict.fromkeys(findings, 1)
    assert {name: count for name, count in counts.items() if count or name in expected} == expected


def test_white_space_between_letters_is_one_space_and_nothing_else_that_is_not_seen_is_any() -> None:
    unseen = [c for c in map(chr, range(sys.maxunicode + 1)) if unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp", "Zs")]
    rows, counts = clean(unlabelled(f"o{character}o" for character in unseen), KEEP_DUPLICATES)
    assert counts["rows_kept"] == len(unseen) > 2048
    for character, row in zip(unseen, rows, strict=True):
        expected = {"o o"} if character.isspace() else {"oo", f"o{character}o"}
        assert row.text in expected, hex(ord(character))
        assert row.text == "oo" or unicodedata.category(character) not in ("Cc", "Cs") or character.isspace()


def test_duplicates_are_dropped_or_kept_after_cleaning() -> None:
    rows = unlabelled(["one", "two", " one ", "one\u200b", "two"])
    assert clean(rows, PREPARATION)[0] == unlabelled(["one", "two"])
    assert clean(rows, KEEP_DUPLICATES)[0] == unlabelled(["one", "two", "one", "one", "two"])
    assert clean(rows, PREPARATION)[1]["repeated"] == clean(rows, KEEP_DUPLICATES)[1]["repeated"] == 3


def test_other_scripts_are_dropped_or_kept() -> None:
    rows = unlabelled(["Latin é", "Ελλάδα"])
    assert clean(rows, replace(PREPARATION, other_scripts="drop"))[0] == unlabelled(["Latin é"])
    assert clean(rows, PREPARATION)[0] == rows


def test_cleaning_twice_changes_nothing_more() -> None:
    once, _ = clean(unlabelled(["a\u200b b", "e\u0301\u0302 \x1c x", "\u1112\u1161\u11ab"]), PREPARATION)
    twice, counts = clean(once, PREPARATION)
    assert once == twice
    assert counts["control_characters"] == counts["not_nfc"] == 0


def test_of_texts_that_are_equal_the_first_one_s_label_stays() -> None:
    rows = [LabelledText("one", "a"), LabelledText("two", "b"), LabelledText("one ", "b"), LabelledText("two", "a")]
    assert clean(rows, PREPARATION)[0] == [("one", "a"), ("two", "b")]
    assert clean(rows, KEEP_DUPLICATES)[0] == [("one", "a"), ("two", "b"), ("one", "b"), ("two", "a")]


# Splits


def assert_disjoint(splits: Splits) -> None:
    train, valid, test = (set(texts_of(splits[name])) for name in SPLITS)
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
    monkeypatch.setitem(READERS, "e2e", partial(read_e2e, members=members))
    splits, _ = prepare_corpus("e2e", tmp_path, PREPARATION)
    assert_disjoint(splits)
    assert {row.text for name in SPLITS for row in splits[name]} == {f"Text {i}." for i in range(30)}


def test_an_unreadable_file_is_named_with_the_place_to_mend_it(tmp_path: Path) -> None:
    write_files(tmp_path, {"train.json": '["One."]\nTwo.\n'})
    with pytest.raises(InputError, match=r"train\.json line 2 is not a JSON list .*copies: mend the file in the raw folder"):
        prepare_corpus("roc", tmp_path, replace(PREPARATION, split="random"))


def test_official_splits_keep_and_count_their_overlap_with_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    members = write_archive(tmp_path, E2E_CONTENTS)
    monkeypatch.setitem(READERS, "e2e", partial(read_e2e, members=members))
    splits, statistics = prepare_corpus("e2e", tmp_path, replace(PREPARATION, split="official"))
    assert splits == {
        "train": unlabelled(['A pub, "cheap" by the river.', "Café B."]),
        "valid": unlabelled(["C is here."]),
        "test": unlabelled(["D is there.", "Café B."]),
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


SENTIMENTS = {"poor": "negative", "fine": "positive"}
DESKS = {"Item 1": "World", "Item 2": "Sports", "Item 3": "Business", "Item 4": "Sci/Tech"}


@pytest.mark.parametrize(
    ("dataset_name", "label_in"),
    [("sst2", lambda text: SENTIMENTS[text.split()[-1]]), ("ag_news", lambda text: DESKS[text[:6]])],
)
@pytest.mark.parametrize("split", ["official", "random"])
def test_labels_follow_their_texts(tmp_path: Path, dataset_name: str, label_in: Any, split: str) -> None:
    preparation = replace(PREPARATION, split=split, train_texts=20)
    splits, statistics = prepare_corpus(dataset_name, write_files(tmp_path, SST2 | AG_NEWS), preparation)
    assert [len(splits["train"]), len(splits["valid"])] == [20, 10]
    checked = [*splits["train"], *splits["valid"], *(splits["test"] if split == "random" else [])]
    assert [row.label for row in checked] == [label_in(row.text) for row in checked]
    for name in SPLITS:
        labels = [row.label for row in splits[name]]
        assert statistics["labels"][name] == {label: labels.count(label) for label in {row.label for row in checked}}


@pytest.mark.parametrize(("dataset_name", "in_train"), [("sst2", 2), ("ag_news", 1)])
def test_validation_texts_are_held_out_where_train_and_test_have_files(tmp_path: Path, dataset_name: str, in_train: int) -> None:
    files = READERS[dataset_name](write_files(tmp_path, SST2 | AG_NEWS), "official")
    everything, test = (clean(files[name], PREPARATION)[0] for name in ("train", "test"))
    shared = set(test) & set(everything)
    assert len(shared) == in_train
    preparation = replace(PREPARATION, split="official")
    for seed in range(20):
        splits, statistics = prepare_corpus(dataset_name, tmp_path, replace(preparation, seed=seed))
        assert splits["test"] == test
        assert len(splits["valid"]) == 10
        assert sorted(splits["train"] + splits["valid"]) == sorted(everything)
        assert shared <= set(splits["train"])  # a text of the test file is not held out of train for validation
        assert [statistics["splits"][name]["in_train"] for name in ("valid", "test")] == [0, in_train]
    others = 40 - in_train
    with pytest.raises(InputError, match=rf"^{others} distinct texts are too few: valid_texts = {others} are held out"):
        prepare_corpus(dataset_name, tmp_path, replace(preparation, valid_texts=others))


@pytest.mark.parametrize("dataset_name", ["sst2", "ag_news"])
def test_random_splits_of_labelled_files_share_no_text_and_leave_the_test_file_alone(tmp_path: Path, dataset_name: str) -> None:
    splits, statistics = prepare_corpus(dataset_name, write_files(tmp_path, SST2 | AG_NEWS), PREPARATION)
    assert_disjoint(splits)
    assert [len(splits[name]) for name in SPLITS] == [25, 10, 5]
    assert set(statistics["files"]) == {"train"}


def test_the_seed_decides_which_rows_are_held_out(tmp_path: Path) -> None:
    folder = write_texts(tmp_path, [f"text {i}" for i in range(100)])
    held_out = [prepare_corpus("text", folder, replace(PREPARATION, seed=seed))[0]["valid"] for seed in (0, 0, 1)]
    assert held_out[0] == held_out[1] != held_out[2]


def test_a_drawn_subset_keeps_the_order() -> None:
    rows = [LabelledText(f"{i:03}", str(i % 7)) for i in range(200)]
    drawn = draw(rows, 50, "seed")
    assert len(drawn) == 50
    assert drawn == sorted(drawn) != rows[:50]
    assert set(drawn) < set(rows)
    assert draw(rows, 50, "seed") == drawn != draw(rows, 50, "another seed")
    assert draw(rows, 200, "seed") == draw(rows, 300, "seed") == rows


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
    assert all(is_grammatical(row.text) for name in SPLITS for row in splits[name])
    for name in SPLITS:
        found = {finding: count for finding, count in statistics["files"][name].items() if count}
        assert found == {"rows": preparation.sizes[name], "rows_kept": preparation.sizes[name]}


def test_the_embedded_corpus_is_labelled_by_the_price_that_its_texts_state(tmp_path: Path) -> None:
    splits, statistics = prepare_corpus("restaurants", tmp_path, replace(PREPARATION, train_texts=300, max_words=64))
    rows = [row for name in SPLITS for row in splits[name]]
    assert [row.label for row in rows] == [label_of(row.text) for row in rows]
    assert all(set(counts) == set(LABELS) for counts in statistics["labels"].values())
    assert {name: sum(counts.values()) for name, counts in statistics["labels"].items()} == PREPARATION.sizes | {"train": 300}


def test_every_corpus_has_files_for_both_kinds_of_split() -> None:
    assert set(CORPORA) == set(CORPUS_FILES) == set(READERS) == set(get_args(DatasetName))
    for corpus in CORPUS_FILES.values():
        assert set(corpus.required["random"]) <= set(corpus.required["official"])
        assert set(corpus.releases) <= set(corpus.required["random"])


# The stage


def prepare(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> Path:
    """What prepare_data writes from the files in `folder`/corpus."""
    write_params(folder / "params.yaml", changes)
    arguments = [f"--params={folder / 'params.yaml'}", f"--corpus={folder / 'corpus'}", f"--out={folder / 'prepared'}"]
    monkeypatch.setattr(sys, "argv", ["prepare_data.py", *arguments])
    prepare_data.main()
    return folder / "prepared"


def test_prepared_rows_carry_their_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    prepared = prepare(tmp_path, monkeypatch, dataset_name="restaurants")
    labels = read_json(prepared / "statistics.json")["labels"]
    for name in SPLITS:
        rows = read_jsonl(prepared / f"{name}.jsonl")
        assert [row["label"] for row in rows] == [label_of(row["text"]) for row in rows]
        assert len(rows) == sum(labels[name].values()) > 0


def test_prepared_rows_of_a_corpus_without_labels_have_the_text_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "corpus").mkdir()
    write_texts(tmp_path / "corpus", [f"text {i}" for i in range(200)])
    prepared = prepare(tmp_path, monkeypatch, dataset_name="text")
    rows = [row for name in SPLITS for row in read_jsonl(prepared / f"{name}.jsonl")]
    assert len(rows) == 200
    assert {tuple(row) for row in rows} == {("text",)}
    assert "labels" not in read_json(prepared / "statistics.json")


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
