from pathlib import Path

import pytest

from annealed_lab.commands import table
from annealed_lm.common.errors import InputError


def evaluation(run: str, perplexity: float, real: float = 3.0) -> dict[str, object]:
    control, ceiling = ({"greedy": {"perplexity": {"value": value}}} for value in (30.0, 4.0))
    rows = {"control": control, "ceiling": ceiling, "train_train": {"perplexity": {"value": real}}}
    return {"run": run, "samples": {"greedy": {"perplexity": {"value": perplexity}}}, "references": rows}


REFERENCES = ("greedy, control", "greedy, ceiling", "train_train")


def test_references_stand_once_before_the_experiments_that_were_compared_with_them() -> None:
    rows = table.reference_rows({"a": evaluation("x", 5), "b": evaluation("y", 6)})
    assert list(rows) == [*REFERENCES]


def test_other_references_say_whose_they_are() -> None:
    rows = table.reference_rows({"a": evaluation("x", 5), "b": evaluation("y", 6, real=4), "c": evaluation("z", 7)})
    assert list(rows) == [f"{name} (of {whose})" for whose in ("a, c", "b") for name in REFERENCES]


@pytest.fixture
def two(monkeypatch: pytest.MonkeyPatch) -> None:
    found = {"HEAD": evaluation("x", 5), "b": evaluation("y", 6)}
    monkeypatch.setattr(table, "all_evaluations", lambda: (found, ["c has the numbers of HEAD"]))


def test_the_table_is_printed_after_what_was_left_out_and_written(
    two: None, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    table.main("lab.py table", ["--out", "table.md"])
    first, *lines = capsys.readouterr().out.splitlines()
    assert first == "left out: c has the numbers of HEAD"
    assert ["b (y): greedy", "6"] in [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert Path("table.md").read_text().splitlines() == lines[:-1]


def test_a_metric_that_no_row_has_is_refused_and_the_nearest_named(two: None) -> None:
    with pytest.raises(InputError, match=r"^--metrics perplexty: no row has it \(did you mean perplexity\?\); there are perplex"):
        table.main("lab.py table", ["--metrics", "perplexty"])
