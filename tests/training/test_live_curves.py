"""Curves that grow while a training runs."""

from pathlib import Path
from typing import Any

from annealed_lm.common.files import read_tsv, write_tsv
from annealed_lm.training.live_curves import LiveCurves


def rows(*steps: int) -> list[dict[str, Any]]:
    return [{"step": step, "loss": step / 3} for step in steps]


def test_the_tables_hold_at_any_time_what_the_curves_hold(tmp_path: Path) -> None:
    live = LiveCurves(tmp_path / "watched")
    curves: dict[str, list[dict[str, Any]]] = {"training": [], "validation": []}
    live.hand_over(curves)
    assert not (tmp_path / "watched").exists()
    for added in (rows(1), rows(2, 3), [], rows(4)):
        curves["training"] += added
        curves["validation"] += added[-1:]
        live.hand_over(curves)
        for name, kept in curves.items():
            write_tsv(tmp_path / "whole.tsv", kept)
            assert (tmp_path / "watched" / f"{name}.tsv").read_text() == (tmp_path / "whole.tsv").read_text()


def test_what_a_killed_training_left_is_replaced_by_what_its_checkpoint_holds(tmp_path: Path) -> None:
    LiveCurves(tmp_path).hand_over({"training": rows(1, 2, 3, 4), "validation": rows(4)})
    resumed = LiveCurves(tmp_path)
    resumed.hand_over({"training": rows(1, 2), "validation": []})
    resumed.hand_over({"training": rows(1, 2, 3), "validation": rows(3)})
    assert [row["step"] for row in read_tsv(tmp_path / "training.tsv")] == ["1", "2", "3"]
    assert [row["step"] for row in read_tsv(tmp_path / "validation.tsv")] == ["3"]
