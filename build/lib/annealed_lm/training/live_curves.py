"""The curves of a training as tables that grow while it runs, for watching; the stage's outputs are the record."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from annealed_lm.common.files import tsv_line, write_tsv

SHOWN = ("training", "validation")


class LiveCurves:
    """Write the rows of the curves to <curve>.tsv in a folder, once and in the order of the steps.

    The first rows begin the table anew, so one that a killed training left is replaced by what its checkpoint brought back.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.written = dict.fromkeys(SHOWN, 0)

    def hand_over(self, curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Write the rows of `curves` that are new since the last call."""
        for name, written in self.written.items():
            rows = curves[name]
            path = self.folder / f"{name}.tsv"
            if not written and rows:
                write_tsv(path, rows)
            elif len(rows) > written:
                with path.open("a", encoding="utf-8") as file:
                    file.writelines(tsv_line(row.values()) for row in rows[written:])
            self.written[name] = len(rows)
