"""Compare finished experiments: does annealing help?

Variants of the timestep distribution are compared over their training seeds: means, paired differences from a baseline, steps to
its quality, as JSON, tables (Markdown, LaTeX), figures and one HTML page.

An experiment that did not finish, or whose numbers are not those of its parameters, is left out and named.

Reads: the commits of finished experiments, or folders of their files. Writes: outputs/comparison, or where the options say.
Example: python src/lab.py compare --prefix restaurants-
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from annealed_lab.comparison.compare import BASELINE, PREFERRED_QUALITY, compare
from annealed_lab.comparison.curves import DIRECTIONS
from annealed_lab.comparison.figures import curves_figure, differences_figure, log_snr_figure, means_figure, steps_figure
from annealed_lab.comparison.pages import html_page, latex_page, markdown_page
from annealed_lab.comparison.variant_groups import Member, member
from annealed_lab.experiments.records import read_record
from annealed_lab.experiments.sources import Candidate, commit_candidates, folder_candidates
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import write_json, write_text
from annealed_lm.reporting.plots import NO_STAMP, save_figure

FIGURES = {
    "means": (means_figure, "Mean and 95 % interval of each variant"),
    "differences": (differences_figure, "Paired differences from the baseline"),
    "steps_to_target": (steps_figure, "Steps to the quality that the baseline ends with"),
    "curves": (curves_figure, "Validation loss and quality of the samples along the training"),
    "log_snr": (log_snr_figure, "Validation loss by noise level, relative to the baseline"),
}
"""File name -> what draws it, and what it shows."""
QUALITY_METRICS = [name for name in DIRECTIONS if name != "validation_loss"]


def read_members(candidates: Iterable[Candidate]) -> tuple[list[Member], list[str]]:
    """Return the records of the candidates, and for every one that is left out a sentence that says why.

    Raises:
        InputError: one that is required is not what a comparison needs.
    """
    members, left_out = [], []
    for candidate in candidates:
        try:
            members.append(member(read_record(candidate.name, candidate.source)))
        except InputError as error:
            if candidate.required:
                raise
            left_out.append(str(error))
    return members, left_out


def write_figures(comparison: dict[str, Any], folder: Path) -> dict[Path, str]:
    """Draw what there is to draw into `folder`, as PNG and PDF; return by path of the PNG what it shows."""
    written = {}
    for name, (draw, caption) in FIGURES.items():
        figure = draw(comparison)
        if figure is None:
            for form in NO_STAMP:
                (folder / f"{name}.{form}").unlink(missing_ok=True)  # of an earlier comparison
        else:
            save_figure(figure, folder / name)
            written[folder / f"{name}.png"] = caption
    return written


def parse_arguments(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    preferred = f"the first of {', '.join(PREFERRED_QUALITY)} that all records of a setting have"
    parser.add_argument("--experiments", nargs="+", default=[], help="names, branches or commits; they have to be complete")
    parser.add_argument(
        "--prefix", nargs="+", default=[], help="finished experiments whose names begin so (without any choice, all)"
    )
    parser.add_argument("--folders", nargs="+", type=Path, default=[], help="folders of one experiment, or of such folders")
    parser.add_argument("--baseline", default=BASELINE, help="label of the variant to compare with (%(default)s)")
    parser.add_argument("--quality-metric", choices=QUALITY_METRICS, help=f"to reach ({preferred})")
    parser.add_argument("--out-json", type=Path, default=Path("outputs/comparison/comparison.json"), help="file (%(default)s)")
    parser.add_argument("--out-tables", type=Path, default=Path("outputs/comparison"), help="folder (%(default)s)")
    parser.add_argument("--out-figures", type=Path, default=Path("outputs/comparison"), help="folder (%(default)s)")
    parser.add_argument("--out-page", type=Path, default=Path("outputs/comparison/report.html"), help="file (%(default)s)")
    return parser.parse_args(arguments)


def main(program: str, arguments: Sequence[str]) -> None:
    args = parse_arguments(program, arguments)
    everything = not (args.experiments or args.prefix or args.folders)
    candidates = [*commit_candidates(args.experiments, args.prefix, everything), *folder_candidates(args.folders)]
    members, left_out = read_members(candidates)
    comparison = compare(members, args.baseline, args.quality_metric, left_out)

    write_json(args.out_json, comparison)
    tables = markdown_page(comparison)
    write_text(args.out_tables / "comparison.md", tables)
    write_text(args.out_tables / "comparison.tex", latex_page(comparison))
    write_text(args.out_page, html_page(comparison, write_figures(comparison, args.out_figures)))
    print(tables)
    print(f"The page to read: {args.out_page}")
