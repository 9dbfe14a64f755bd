"""A comparison to read: all its tables as one Markdown or one LaTeX file, and all of it as one HTML page."""

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from tabulate import LATEX_ESCAPE_RULES, tabulate

from annealed_lab.comparison.findings import verdict
from annealed_lab.comparison.tables import (
    Table,
    full_tables,
    main_tables,
    overview_table,
    records_table,
    samples_table,
    varied,
)
from annealed_lm.reporting.tables import markdown_table

TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
    keep_trailing_newline=True,
)


TRIANGLES = {"▲": r"$\bigtriangleup$", "▼": r"$\bigtriangledown$"}
"""Signs that LaTeX does not know, as it draws them."""


def markdown(table: Table) -> str:
    """Return the table under its title."""
    return f"**{table.title}**\n\n{markdown_table(table.rows)}"


def markdown_page(comparison: Mapping[str, Any]) -> str:
    """Return all tables as Markdown, then the notes and what was left out."""
    overview = overview_table(comparison)
    parts = [f"{verdict(comparison)}\n"] + (["## Overview\n", markdown(overview)] if overview else [])
    for setting in comparison["settings"]:
        parts.append(f"## Setting: {setting['label']}\n")
        if varied(setting):
            parts.append(f"Differs in: {varied(setting)}.\n")
        if comparison["baseline"] not in setting["variants"]:
            parts.append(f"It has no {comparison['baseline']} to compare with.\n")
        for table in main_tables(setting, comparison["baseline"]):
            parts.append(markdown(table))
    for title, lines in (("Notes", comparison["notes"]), ("Left out", comparison["left_out"])):
        if lines:
            parts.append(f"## {title}\n\n" + "".join(f"- {line}\n" for line in lines))
    return "\n".join(parts)


def latex_table(table: Table, caption: str) -> str:
    """Return a floating table as wide as the text, with booktabs rules; in caption and cells every sign stands for itself."""
    alignment = ["left"] + ["right"] * (len(table.rows[0]) - 1)
    cells = tabulate(table.rows, headers="keys", tablefmt="latex_booktabs", disable_numparse=True, colalign=alignment)
    escaped = "".join(LATEX_ESCAPE_RULES.get(sign, sign) for sign in caption)
    text = (
        f"\\begin{{table}}\n\\centering\n\\caption{{{escaped}}}\n\\resizebox{{\\linewidth}}{{!}}{{%\n{cells}}}\n\\end{{table}}\n"
    )
    for sign, drawn in TRIANGLES.items():
        text = text.replace(sign, drawn)
    return text


def latex_page(comparison: Mapping[str, Any]) -> str:
    """Return all tables as LaTeX to \\input, the notes as comments."""
    needs = "% Needs \\usepackage{booktabs,graphicx} and UTF-8, with which LaTeX since 2020 knows the signs ± and × too.\n"
    parts = [needs + "".join(f"% {note}\n" for note in comparison["notes"])]
    if overview := overview_table(comparison):
        parts.append(latex_table(overview, f"{overview.title}."))
    for setting in comparison["settings"]:
        for table in main_tables(setting, comparison["baseline"]):
            parts.append(latex_table(table, f"{table.title}. Setting: {setting['label']}."))
    return "\n".join(parts)


def html_page(comparison: Mapping[str, Any], figures: Mapping[Path, str]) -> str:
    """Return one HTML file that needs nothing else: no network, no script, figures inside.

    Args:
        figures: PNG file -> what it shows.
    """
    baseline = comparison["baseline"]
    settings = [
        {
            "label": setting["label"],
            "varied": varied(setting),
            "has_baseline": baseline in setting["variants"],
            "main": main_tables(setting, baseline),
            "full": full_tables(setting, baseline),
            "samples": samples_table(setting),
        }
        for setting in comparison["settings"]
    ]
    images = [(base64.b64encode(path.read_bytes()).decode("ascii"), caption) for path, caption in figures.items()]
    return TEMPLATES.get_template("page.html.j2").render(
        comparison=comparison,
        verdict=verdict(comparison),
        overview=overview_table(comparison),
        settings=settings,
        figures=images,
        records=records_table(comparison),
    )
