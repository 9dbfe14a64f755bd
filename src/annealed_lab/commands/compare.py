"""Does annealing help? Finished experiments by variant of the timestep distribution, over their training seeds: means, paired
differences from a baseline, steps to its quality, as JSON, tables (Markdown, LaTeX), figures and one HTML page.

An experiment that did not finish, or whose numbers are not those of its parameters, is left out and named.
"""

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from annealed_lab.comparison.compare import BASELINE, compare
from annealed_lab.comparison.curves import DIRECTIONS
from annealed_lab.comparison.figures import curves_figure, differences_figure, log_snr_figure, means_figure, steps_figure
from annealed_lab.comparison.pages import html_page, latex_page, markdown_page
from annealed_lab.comparison.variant_groups import Member, member
from annealed_lab.experiments.finished import commit_of, finished_experiments
from annealed_lab.experiments.records import PARAMS, CommitSource, FolderSource, Source, read_record
from annealed_lm.common.errors import InputError
from annealed_lm.common.files import write_json, write_text
from annealed_lm.reporting.plots import save_png

FIGURES = {
    "means": (means_figure, "Mean and 95 % interval of each variant"),
    "differences": (differences_figure, "Paired differences from the baseline"),
    "steps_to_target": (steps_figure, "Steps to the quality that the baseline ends with"),
    "curves": (curves_figure, "Validation loss and quality of the samples along the training"),
    "log_snr": (log_snr_figure, "Validation loss by noise level, relative to the baseline"),
}
"""File name -> what draws it, and what it shows."""


def folder_sources(folders: list[Path]) -> Iterator[tuple[str, Source, bool]]:
    """Name, source, and whether it was named itself: folders that hold a record, and those in a folder that does not.

    Raises:
        InputError: a folder is missing, or neither it nor any folder in it holds a record.
    """
    for folder in folders:
        if (folder / PARAMS).is_file():
            yield str(folder), FolderSource(folder), True
            continue
        children = sorted(path for path in folder.glob("*/") if not path.name.startswith("."))
        if not any((child / PARAMS).is_file() for child in children):
            raise InputError(f"{folder} holds no experiment: it, or folders in it, should have {PARAMS}, metrics/ and plots/")
        yield from ((str(child), FolderSource(child), False) for child in children)


def experiment_sources(names: list[str], prefixes: list[str], everything: bool) -> Iterator[tuple[str, Source, bool]]:
    """The same of experiments that git keeps.

    Raises:
        InputError: there is no experiment of a name or prefix.
    """
    finished = finished_experiments()
    for prefix in prefixes:
        if not any(name.startswith(prefix) for name in finished):
            raise InputError(f"no finished experiment has a name that begins with {prefix!r}; dvc exp list names them")
    chosen = {name: commit for name, commit in finished.items() if everything or name.startswith(tuple(prefixes))}
    for name in names:
        chosen.pop(name, None)
        yield name, CommitSource(commit_of(name)), True
    yield from ((name, CommitSource(commit), False) for name, commit in chosen.items())


def read_members(sources: Iterator[tuple[str, Source, bool]]) -> tuple[list[Member], list[str]]:
    """The records, and a sentence for each that is left out.

    Raises:
        InputError: one that was named itself is not what a comparison needs.
    """
    members, left_out = [], []
    for name, source, named in sources:
        try:
            members.append(member(read_record(name, source)))
        except InputError as error:
            if named:
                raise
            left_out.append(str(error))
    return members, left_out


def write_figures(comparison: dict[str, Any], folder: Path) -> dict[Path, str]:
    """Draw what there is to draw; path -> what it shows."""
    written = {}
    for name, (draw, caption) in FIGURES.items():
        path, figure = folder / f"{name}.png", draw(comparison)
        if figure is None:
            path.unlink(missing_ok=True)  # of an earlier comparison
        else:
            save_png(figure, path)
            written[path] = caption
    return written


def parse_arguments(program: str, arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(program, description=__doc__)
    parser.add_argument("--experiments", nargs="+", default=[], help="names, branches or commits; they have to be complete")
    parser.add_argument("--prefix", nargs="+", default=[], help="finished experiments whose names begin so")
    parser.add_argument("--folders", nargs="+", type=Path, default=[], help="folders of one experiment, or of such folders")
    parser.add_argument("--baseline", default=BASELINE, help="label of the variant to compare with (%(default)s)")
    parser.add_argument("--quality-metric", choices=[name for name in DIRECTIONS if name != "validation_loss"])
    parser.add_argument("--out-json", type=Path, default=Path("metrics/comparison.json"))
    parser.add_argument("--out-tables", type=Path, default=Path("plots/comparison"), help="folder (%(default)s)")
    parser.add_argument("--out-figures", type=Path, default=Path("plots/comparison"), help="folder (%(default)s)")
    parser.add_argument("--out-page", type=Path, default=Path("plots/comparison/report.html"))
    return parser.parse_args(arguments)


def main(program: str, arguments: Sequence[str]) -> None:
    args = parse_arguments(program, arguments)
    everything = not (args.experiments or args.prefix or args.folders)
    of_git = list(experiment_sources(args.experiments, args.prefix, everything))
    members, left_out = read_members(iter([*of_git, *folder_sources(args.folders)]))
    comparison = compare(members, args.baseline, args.quality_metric, left_out)

    write_json(args.out_json, comparison)
    tables = markdown_page(comparison)
    write_text(args.out_tables / "comparison.md", tables)
    write_text(args.out_tables / "comparison.tex", latex_page(comparison))
    write_text(args.out_page, html_page(comparison, write_figures(comparison, args.out_figures)))
    print(tables)
    print(f"The page to read: {args.out_page}")
