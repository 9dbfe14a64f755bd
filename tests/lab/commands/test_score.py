"""The command on small files, with models made on the spot."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from annealed_lab.commands import score as command
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import file_sha256, read_json, write_jsonl
from annealed_lm.evaluation.evaluate_interface import shuffled_halves
from annealed_lm.evaluation.features import FeatureModel
from annealed_lm.evaluation.mauve_metric import mauve_score
from annealed_lm.evaluation.ngrams import TrainingNgrams, tokenise
from annealed_lm.evaluation.text_metrics import text_metrics
from annealed_lm.generation.language_model import LanguageModel
from support.tiny import CPU, TEXTS, save_feature_model, save_language_model

SCRIPT = Path(__file__).parents[3] / "src" / "lab.py"
OFFLINE = f"""
import runpy, socket, sys

def refuse(*arguments):
    raise OSError("there is no network")

socket.socket.connect = socket.socket.bind = socket.getaddrinfo = refuse
runpy.run_path({str(SCRIPT)!r}, run_name="__main__")
"""
MODELS = ("--feature-model=sentences", "--language-model=judge")
FILES = ("--texts=generated.txt", "--references=valid.jsonl")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Files of texts and models."""
    folder = tmp_path_factory.mktemp("files")
    (folder / "generated.txt").write_text("".join(f"{text}\n" for text in TEXTS[:40]))
    write_jsonl(folder / "generated.jsonl", ({"text": text, "label": "none"} for text in TEXTS[:40]))
    write_jsonl(folder / "valid.jsonl", ({"text": text} for text in TEXTS[40:80]))
    write_jsonl(folder / "train.jsonl", ({"text": text} for text in TEXTS[80:300]))
    save_feature_model(folder / "sentences")
    save_language_model(folder / "judge")
    return folder


@pytest.fixture(autouse=True)
def stay_in_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


def run(*arguments: str) -> None:
    command.main("lab.py score", arguments)


def report_of(out: Path, *arguments: str) -> dict[str, Any]:
    """Return what the command writes."""
    run(*arguments, f"--out={out}")
    report: dict[str, Any] = read_json(out)
    return report


def sentence_of(*arguments: str) -> str:
    """Return the sentence that the command ends with."""
    with pytest.raises(InputError) as stopped:
        run(*arguments)
    sentence = str(stopped.value)
    assert "\n" not in sentence
    return sentence


def test_a_file_is_scored_without_network_or_cache_and_nothing_but_the_report_is_written(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "temporary").mkdir()
    # No one, not even root, can write below a file.
    places = {"HF_HOME": str(tmp_path / "file" / "hf"), "HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "temporary")}
    before = sorted(folder.rglob("*"))
    arguments = ["score", *FILES, *MODELS, "--training=train.jsonl", f"--out={tmp_path / 'scores.json'}"]
    environment = os.environ | places | {"PYTHONPATH": str(SCRIPT.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    finished = subprocess.run(
        [sys.executable, "-c", OFFLINE, *arguments], env=environment, capture_output=True, text=True, check=False
    )
    assert (finished.returncode, finished.stderr) == (0, "")

    report = read_json(tmp_path / "scores.json")
    features = FeatureModel.load(CPU, folder / "sentences").features(TEXTS[:80])
    expected = text_metrics(tokenise(TEXTS[:40]), TrainingNgrams.of(tokenise(TEXTS[80:300])))
    shared = expected.keys() & report["scores"].keys()
    assert {"memorization", "diversity", "repetition_4", "unique_words"} <= shared
    assert {name: report["scores"][name] for name in shared} == {name: expected[name] for name in shared}
    assert [report["scores"][f"mauve{part}"] for part in ("", "_std", "_star")] == [
        *mauve_score(features[:40], features[40:], 8, 5)
    ]
    features = LanguageModel.load(folder / "judge", CPU).features(TEXTS[:80], 32)
    assert [report["scores"][f"mauve_lm{part}"] for part in ("", "_std", "_star")] == [
        *mauve_score(features[:40], features[40:], 5, 5)
    ]
    assert report["scores"]["perplexity"] > 1
    assert set(report["shuffled_union"]) == {f"{kind}{part}" for kind in ("mauve", "mauve_lm") for part in ("", "_std", "_star")}
    assert sorted(folder.rglob("*")) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "scores.json", "temporary"]
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_table_shows_the_control_beside_mauve_and_the_settings_below(
    folder: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "scores.json"
    settings = ("--scaling=4", "--language-model-scaling=3", "--seeds=2", "--seed=3")
    run(*FILES, *MODELS, *settings, f"--out={out}")
    lines = capsys.readouterr().out.splitlines()
    report = read_json(out)
    assert lines[0].split() == ["texts", "shuffled_union"]
    cells = {line.split()[0]: line.split()[1:] for line in lines[1 : 1 + len(report["scores"])]}
    for name in ("mauve", "mauve_std", "mauve_lm", "mauve_lm_std"):
        assert cells[name] == [f"{report[column][name]:.4g}" for column in ("scores", "shuffled_union")]
    assert cells["perplexity"] == [f"{report['scores']['perplexity']:.4g}", "-"]
    for name, scaling, model, dimension in (("mauve", 4, "sentences", 8), ("mauve_lm", 3, "judge", 16)):
        assert report["settings"][name] == {
            "n": 40,
            "buckets": 4,
            "scaling": scaling,
            "seeds": 2,
            "union_seed": 3,
            "model": model,
            "sha256": file_sha256(folder / model / "model.safetensors"),
            "dimension": dimension,
        }
    assert report["settings"]["perplexity"]["model"] == "judge"
    assert report["files"]["texts"] == {
        "file": "generated.txt",
        "sha256": file_sha256(folder / "generated.txt"),
        "texts": 40,
        "used": 40,
    }
    for start in ("mauve: n 40, buckets 4, scaling 4.0, seeds 2, union_seed 3, model sentences", "mauve_lm: n 40, buckets 4"):
        assert any(line.startswith(start) for line in lines)


def test_the_control_of_each_mauve_is_that_of_its_features(folder: Path, tmp_path: Path) -> None:
    report = report_of(tmp_path / "a.json", *FILES, *MODELS, "--seeds=2", "--seed=3")
    features = {
        "mauve": FeatureModel.load(CPU, folder / "sentences").features(TEXTS[:80]),
        "mauve_lm": LanguageModel.load(folder / "judge", CPU).features(TEXTS[:80], 32),
    }
    for name, scaling in (("mauve", 8), ("mauve_lm", 5)):
        expected = mauve_score(*shuffled_halves(features[name], 3), scaling, 2)
        assert [report["shuffled_union"][f"{name}{part}"] for part in ("", "_std", "_star")] == [*expected]


def test_each_scaling_is_that_of_its_own_mauve(tmp_path: Path) -> None:
    plain, sentence, model = (
        report_of(tmp_path / f"{number}.json", *FILES, *MODELS, "--seeds=1", *option)["scores"]
        for number, option in enumerate([(), ("--scaling=2",), ("--language-model-scaling=2",)])
    )
    assert {name for name in plain if sentence[name] != plain[name]} == {"mauve", "mauve_star"}
    assert {name for name in plain if model[name] != plain[name]} == {"mauve_lm", "mauve_lm_star"}


def test_only_metrics_whose_inputs_are_given_are_scored(tmp_path: Path) -> None:
    report = report_of(tmp_path / "a.json", *FILES, MODELS[0])
    assert not {"memorization", "perplexity", "mauve_lm"} & set(report["scores"])
    assert set(report["shuffled_union"]) == {"mauve", "mauve_std", "mauve_star"}
    assert set(report["settings"]) == {"mauve"}
    assert set(report["files"]) == {"texts", "references"}


def test_both_kinds_of_file_are_read_alike(tmp_path: Path) -> None:
    lines = report_of(tmp_path / "a.json", *FILES, MODELS[0])
    rows = report_of(tmp_path / "b.json", "--texts=generated.jsonl", FILES[1], MODELS[0])
    assert lines["scores"] == rows["scores"]


def test_without_a_feature_model_the_installed_one_is_used(tmp_path: Path) -> None:
    report = report_of(tmp_path / "a.json", *FILES)
    assert report["settings"]["mauve"]["model"] == "sentence-transformers/all-MiniLM-L6-v2"
    assert report["settings"]["mauve"]["dimension"] == 384


def test_sets_are_drawn_to_one_size_by_the_seed(tmp_path: Path) -> None:
    files = ("--texts=train.jsonl", "--references=valid.jsonl", MODELS[0], "--count=30")
    first, again, other = (
        report_of(tmp_path / f"{name}.json", *files, f"--seed={seed}")
        for name, seed in (("first", 0), ("again", 0), ("other", 1))
    )
    assert first == again
    assert first["scores"] != other["scores"]
    assert first["settings"]["mauve"]["n"] == 30
    assert [first["files"][name]["texts"] for name in ("texts", "references")] == [220, 40]
    assert [first["files"][name]["used"] for name in ("texts", "references")] == [30, 30]


def test_a_draw_takes_each_text_once_and_the_training_texts_are_all_kept(tmp_path: Path) -> None:
    whole, drawn = (
        report_of(tmp_path / f"{name}.json", *FILES, MODELS[0], "--training=train.jsonl", *count)
        for name, count in (("whole", ()), ("drawn", ("--count=40",)))
    )
    assert drawn["files"] == whole["files"]
    assert drawn["files"]["training"]["used"] == 220
    same = ("repetition_2", "unique_words", "memorization")
    assert {name: drawn["scores"][name] for name in same} == {name: whole["scores"][name] for name in same}


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (
            ("--texts=train.jsonl",),
            "train.jsonl holds 220 texts and valid.jsonl 40, but MAUVE compares sets of one size: --count",
        ),
        (("--count=41",), "--count 41: generated.txt holds only 40 texts"),
        (("--count=19",), "MAUVE needs at least 20 predictions and as many references, not 19"),
        (("--count=0",), "--count 0: it should be greater than 0"),
        (("--seeds=-1",), "--seeds -1: it should be greater than 0"),
        (("--scaling=nan",), "--scaling nan: it should be greater than 0"),
        ((MODELS[1], "--language-model-scaling=0"), "--language-model-scaling 0.0: it should be greater than 0"),
        (("--language-model-scaling=5",), "--language-model-scaling is for MAUVE on the features of --language-model, which is"),
        (("--texts=nowhere.txt",), "there is no file nowhere.txt"),
        (("--texts=sentences",), "there is no file sentences"),
        (("--language-model=sentences",), "sentences holds no language model"),
        (("--feature-model=judge",), "judge holds no sentence-transformers model"),
    ],
)
def test_wrong_arguments_end_in_one_sentence(arguments: tuple[str, ...], told: str) -> None:
    assert told in sentence_of(*FILES, MODELS[0], *arguments)


@pytest.mark.parametrize("end", ["\n", "\n\n", "\r\n \r\n"])
def test_blank_lines_at_the_end_of_rows_are_none_and_of_plain_texts_are_empty_texts(end: str, tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": ""}\n' + end)
    assert command.read_texts(tmp_path / "a.jsonl") == ["a", ""]
    (tmp_path / "a.txt").write_text("a\n\n")
    assert command.read_texts(tmp_path / "a.txt") == ["a", ""]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", b"a text\n", "a.csv is neither .txt, one text a line, nor .jsonl"),
        ("a.txt", b"", "a.txt holds no text"),
        ("a.txt", b"good\nbad \xff\n", "a.txt line 2 is not UTF-8"),
        ("a.jsonl", b'{"text": "good"}\nnot JSON\n', "a.jsonl line 2 is not a row with a text"),
        ("a.jsonl", b'{"label": "good"}\n', "a.jsonl line 1 is not a row"),
        ("a.jsonl", b'{"text": 5}\n', "a.jsonl line 1 is not a row"),
        ("a.jsonl", b'["good"]\n', "a.jsonl line 1 is not a row"),
        ("a.jsonl", b'{"text": "half \\ud83d"}\n', "a.jsonl line 1 is not a row"),
    ],
)
def test_files_that_hold_no_texts_are_refused(name: str, content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert told in sentence_of(f"--texts={tmp_path / name}", FILES[1], f"--out={tmp_path / 'out.json'}")
    assert not (tmp_path / "out.json").exists()


def test_a_text_of_several_lines_is_one_row_and_blank_lines_are_empty_texts(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": f"{text}\nmore"}) + "\n" for text in TEXTS[:20]))
    (tmp_path / "lines.txt").write_text("".join(f"{text}\n" for text in ["", *TEXTS[:19]]))
    files = (f"--texts={tmp_path / 'rows.jsonl'}", f"--references={tmp_path / 'lines.txt'}")
    report = report_of(tmp_path / "a.json", *files, MODELS[0])
    assert [report["files"][name]["texts"] for name in ("texts", "references")] == [20, 20]
