from pathlib import Path

from annealed_lab.experiments.lock_file import absent_results

LOCK = {
    "stages": {
        "made": {"outs": [{"path": "data/made", "md5": "abcd.dir"}]},
        "lost": {"outs": [{"path": "data/made", "md5": "abcd.dir"}, {"path": "data/lost", "md5": "ef01"}]},
        "report": {"outs": [{"path": "metrics/a.json", "md5": "2345"}]},
        "nothing": {},
        "other": {"params": {"params.yaml": {"train": {"rate": 3}}}, "outs": [{"path": "data/other", "md5": "6789"}]},
    }
}
PARAMS = {"train": {"rate": 4}}


def test_a_result_is_in_the_cache_or_in_the_checkout_or_absent(tmp_path: Path) -> None:
    cache, root = tmp_path / "cache", tmp_path / "root"
    (cache / "files" / "md5" / "ab").mkdir(parents=True)
    (cache / "files" / "md5" / "ab" / "cd.dir").write_text("[]")
    (root / "metrics").mkdir(parents=True)
    (root / "metrics" / "a.json").write_text("{}")
    assert absent_results(LOCK, PARAMS, cache, root) == ["lost"]
    assert absent_results(LOCK, PARAMS, tmp_path / "empty", root) == ["made", "lost"]


def test_what_was_computed_with_other_parameters_is_not_promised(tmp_path: Path) -> None:
    absent = absent_results(LOCK, {"train": {"rate": 3}}, tmp_path, tmp_path)
    assert set(absent) - {*absent_results(LOCK, PARAMS, tmp_path, tmp_path)} == {"other"}


def test_no_lock_file_promises_nothing(tmp_path: Path) -> None:
    assert absent_results({}, PARAMS, tmp_path, tmp_path) == []
