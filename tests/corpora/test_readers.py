from pathlib import Path

import pytest

from annealed_lm.common.errors import InputError
from annealed_lm.corpora.files import CORPUS_FILES, E2E_ARCHIVE
from annealed_lm.corpora.readers import (
    E2E_MEMBERS,
    READERS,
    Splits,
    read_e2e,
    read_json_lines,
    unlabelled,
    without_escapes,
)
from support.raw_files import AG_NEWS, E2E_CONTENTS, SST2, write_archive, write_files, write_json_lines


@pytest.mark.parametrize("data", [b"one\ntwo\n\xff\nfour\n", b"one\r\ntwo\r\nth\xe9\r\n"])
def test_a_line_that_is_not_utf8_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "texts.txt").write_bytes(data)
    with pytest.raises(InputError, match=r"texts\.txt line 3 is not UTF-8"):
        READERS["text"](tmp_path, "random")


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
        READERS["roc"](tmp_path, "random")


def test_the_embedded_corpus_is_read_from_no_file(tmp_path: Path) -> None:
    assert READERS["restaurants"](tmp_path, "official") == {}


def test_roc_valid_file_is_divided_after_1000_lines(tmp_path: Path) -> None:
    write_json_lines(tmp_path / "train.json", ["first", "second"])
    write_json_lines(tmp_path / "valid.json", [f"held out {i}" for i in range(1003)])
    splits = READERS["roc"](tmp_path, "official")
    assert splits["train"] == unlabelled(["first", "second"])
    assert splits["valid"] == unlabelled(f"held out {i}" for i in range(1000))
    assert splits["test"] == unlabelled(["held out 1000", "held out 1001", "held out 1002"])
    assert READERS["roc"](tmp_path, "random") == {"train": unlabelled(["first", "second"])}


def test_e2e_texts_are_the_references(tmp_path: Path) -> None:
    members = write_archive(tmp_path, E2E_CONTENTS)
    train = unlabelled(['A pub, "cheap"\nby the river.', "Café B."])
    official: Splits = {"train": train, "valid": unlabelled(["C is here."]), "test": unlabelled(["D is there.", "Café B."])}
    assert read_e2e(tmp_path, "official", members) == official
    assert read_e2e(tmp_path, "random", members) == {"train": train}


def test_an_archive_that_is_not_the_official_one_is_refused(tmp_path: Path) -> None:
    write_archive(tmp_path, E2E_CONTENTS)
    with pytest.raises(InputError, match=r"trainset\.csv is not the published file"):
        READERS["e2e"](tmp_path, "random")


STORY = 'Ann had a cat.,It ran.,She ran.,"The cat, ""Tom"", hid.",They met.'
STORIES = ['Ann had a cat. It ran. She ran. The cat, "Tom", hid. They met.', "A. B. C. D. E."]
ROC_HEADER = "storyid,storytitle,sentence1,sentence2,sentence3,sentence4,sentence5"


@pytest.mark.parametrize("name", ["train.csv", "train.json"])
@pytest.mark.parametrize("header", [ROC_HEADER, '"' + ROC_HEADER.replace(",", '","') + '"', "\ufeffS" + ROC_HEADER[1:]])
def test_the_original_file_of_roc_is_read(name: str, header: str, tmp_path: Path) -> None:
    """Its stories are the sentences without the title; several such files after each other are one."""
    write_files(tmp_path, {name: f"{header}\r\n1,Cat,{STORY}\r\n{header}\r\n2,L,A., B. ,C.,D.,E.\r\n\r\n"})
    assert READERS["roc"](tmp_path, "random") == {"train": unlabelled(STORIES)}
    write_json_lines(tmp_path / "valid.json", ["held out"])
    assert READERS["roc"](tmp_path, "official")["valid"] == unlabelled(["held out"])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (f"1,Cat,{STORY}\n", "line 1 is not the header of ROCStories' CSV files: storyid, storytitle, sentence1, sentence2, "),
        (f"{ROC_HEADER}\n1,Cat,{STORY},more\n", "line 2 has 8 columns, not the 7 columns storyid, "),
        (f"{ROC_HEADER}\n1,Cat,{STORY}\n\n2,Cat,{STORY}\n", "line 3 has 0 columns"),
    ],
)
def test_a_row_that_is_no_story_is_named(content: str, told: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"train.csv": content})
    with pytest.raises(InputError, match=f"train.csv {told}"):
        READERS["roc"](tmp_path, "random")


@pytest.mark.parametrize("end", ["\n", "\n\n\n", "\r\n \t\r\n", "\n\n  "])
def test_blank_lines_at_the_end_are_no_rows(end: str, tmp_path: Path) -> None:
    for corpus, files in {
        "sst2": SST2,
        "ag_news": AG_NEWS,
        "roc": {"train.json": '["One."]\n', "valid.json": '["Two."]\n'},
    }.items():
        folder = tmp_path / corpus
        folder.mkdir()
        expected = READERS[corpus](write_files(folder, files), "official")
        write_files(folder, {name: content + end for name, content in files.items()})
        assert READERS[corpus](folder, "official") == expected


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


def test_sst2_rows_are_sentences_with_the_names_of_their_labels(tmp_path: Path) -> None:
    splits = READERS["sst2"](write_files(tmp_path, SST2), "official")
    assert set(splits) == {"train", "test"}
    assert splits["train"][:2] == [("film 0 was poor ", "negative"), ("film 1 was fine ", "positive")]
    assert splits["test"][0] == ("long ", "negative")
    assert splits["test"][3] == ("it 's \"great", "positive")
    assert READERS["sst2"](tmp_path, "random") == {"train": splits["train"]}


@pytest.mark.parametrize("header", ["idx\tsentence\tlabel", "\tSentence\tLabel", "index\tsentence\tlabel"])
def test_sst2_may_have_an_index_or_any_other_column(header: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"train.tsv": f"{header}\n0\tgood \t1\n1\tbad\t0\n"})
    assert READERS["sst2"](tmp_path, "random") == {"train": [("good ", "positive"), ("bad", "negative")]}
    write_files(tmp_path, {"train.tsv": "label\tsentence\tidx\n1\tgood \t0\n0\tbad\t1\n"})
    assert READERS["sst2"](tmp_path, "random") == {"train": [("good ", "positive"), ("bad", "negative")]}


@pytest.mark.parametrize(
    "header", ["Class Index,Title,Description", '"class_index","title","description"', "\ufeffclass index, title,DESCRIPTION"]
)
def test_ag_news_may_have_a_header(header: str, tmp_path: Path) -> None:
    write_files(tmp_path, {"train.csv": f"{header}\n3,Oil,It rose.\n"})
    assert READERS["ag_news"](tmp_path, "random") == {"train": [("It rose.", "Business")]}
    write_files(tmp_path, {"train.csv": "id,title,description,class index\n7,Oil,It rose.,3\n"})
    assert READERS["ag_news"](tmp_path, "random") == {"train": [("It rose.", "Business")]}


def test_a_field_may_be_long(tmp_path: Path) -> None:
    long = "word " * 60_000
    write_files(tmp_path, {"train.csv": f'1,a,"{long}"\n'})
    assert READERS["ag_news"](tmp_path, "random") == {"train": [(long, "World")]}
    write_files(tmp_path, {"train.csv": f"{ROC_HEADER}\n1,a,{long},b,c,d,e\n"})
    assert READERS["roc"](tmp_path, "random")["train"][0].text == f"{long.strip()} b c d e"


def test_ag_news_rows_are_descriptions_with_the_names_of_their_labels(tmp_path: Path) -> None:
    splits = READERS["ag_news"](write_files(tmp_path, AG_NEWS), "official")
    assert set(splits) == {"train", "test"}
    assert [row.label for row in splits["train"][:4]] == ["World", "Sports", "Business", "Sci/Tech"]
    assert splits["train"][0].text == "Item 1 of 0."
    assert splits["test"] == [('A "game".', "Sports"), ("Item 4 of 7.", "Sci/Tech")]
    assert READERS["ag_news"](tmp_path, "random") == {"train": splits["train"]}


def test_ag_news_descriptions_are_unescaped(tmp_path: Path) -> None:
    rows = '1,"Oil at  #36;46","quot;Wall\\Street quot;"\n'
    splits = READERS["ag_news"](write_files(tmp_path, {"train.csv": rows}), "random")
    assert splits["train"] == [('"Wall\nStreet"', "World")]


@pytest.mark.parametrize(
    ("escaped", "text"),
    [
        (r"dwindling\band of ultra-cynics", "dwindling\nband of ultra-cynics"),
        (r"a record \$55.8bn, US\$2.", "a record $55.8bn, US$2."),
        (r"past  #36;46\a barrel", "past $46\na barrel"),
        (r"fell\ #36;5", "fell\n$5"),
        ("wasn #39;t; IN  #39;PETER PAN #39; DUSTUP", "wasn't; IN 'PETER PAN' DUSTUP"),
        ("In  quot;helping themselves, quot; he", 'In "helping themselves," he'),
        ("quot;Aliquot; quot;", '"Aliquot;"'),
        ("&lt;TXN.N&gt; R&D; AT amp;T &#39;04", "<TXN.N> R&D; AT&T '04"),
        ("do not; sum; lt &amp;quot;", "do not; sum; lt &quot;"),
    ],
)
def test_what_ag_news_escapes_is_undone_where_it_is_clear(escaped: str, text: str) -> None:
    assert without_escapes(escaped) == text


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("train.tsv", "", "line 1 is not the header of GLUE's SST-2 files: sentence, label, separated by a tab$"),
        ("train.tsv", "good\t1\n", "line 1 is not the header"),
        ("dev.tsv", "sentence\tlabel\ngood\t1\nbad\n", "line 3 has 1 columns, not the 2 columns sentence, label$"),
        ("train.tsv", "sentence\tlabel\r\na\tb\t1\r\n", "line 2 has 3 columns"),
        ("dev.tsv", "index\tsentence\n0\tgood\n", "line 1 is not the header"),
        ("dev.tsv", "idx\tsentence\tlabel\n0\tgood\n", "line 2 has 2 columns, not the 3 columns idx, sentence, label$"),
        ("train.tsv", "sentence\tlabel\na\t1\n\nb\t1\n", "line 3 has 1 columns"),
        ("train.tsv", "sentence\tlabel\na\t2\n", r"line 2 has the label '2': allowed are 0 \(negative\), 1 \(positive\)$"),
    ],
)
def test_a_row_that_is_not_sst2_is_named(tmp_path: Path, file: str, content: str, told: str) -> None:
    write_files(tmp_path, SST2 | {file: content})
    with pytest.raises(InputError, match=f"{file} {told}"):
        READERS["sst2"](tmp_path, "official")


@pytest.mark.parametrize(
    ("file", "content", "told"),
    [
        ("train.csv", "Class Index,Title\n", "line 1 has 2 columns, not the 3 columns class index, title, description$"),
        ("train.csv", "Class,Title,Description\n", r"line 1 has the label 'Class': allowed are 1 \(World\), "),
        ("train.csv", "class index,title,description\n1,a,b\nclass index,title,description\n", "line 3 has the label 'class ind"),
        ("test.csv", '1,"a\nb",c\n0,d,e\n', "line 3 has the label '0': allowed are 1 "),
        ("train.csv", "1,a,b\n2,c\n", "line 2 has 2 columns, not the 3 columns class index, title, description$"),
        ("train.csv", "1,a,b\n\n2,c,d\n", "line 2 has 0 columns"),
        ("train.csv", '1,a,b\n2,"c,d\n3,e,f\n', r"line 2 begins a row that is not CSV \(unexpected end of data\): its quotes "),
        ("train.csv", '1,a,b\n2,"c"d,e\n', "line 2 begins a row that is not CSV"),
        ("train.csv", '1,a,"' + 99999 * "b\n", "line 1 begins a row that is not CSV"),
    ],
)
def test_a_row_that_is_not_ag_news_is_named(tmp_path: Path, file: str, content: str, told: str) -> None:
    write_files(tmp_path, AG_NEWS | {file: content})
    with pytest.raises(InputError, match=f"{file} {told}"):
        READERS["ag_news"](tmp_path, "official")


@pytest.mark.parametrize("dataset_name", ["sst2", "ag_news"])
def test_a_labelled_file_that_is_not_utf8_is_named(tmp_path: Path, dataset_name: str) -> None:
    file = write_files(tmp_path, SST2 | AG_NEWS) / CORPUS_FILES[dataset_name].required["random"][0]
    file.write_bytes(file.read_bytes() + b"caf\xe9")
    with pytest.raises(InputError, match=rf"{file.name} line 4\d is not UTF-8"):
        READERS[dataset_name](tmp_path, "random")
