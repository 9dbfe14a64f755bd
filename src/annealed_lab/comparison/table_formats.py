"""A table of text as Markdown, LaTeX (booktabs) and HTML, whatever signs stand in it."""

import html
from collections.abc import Mapping
from dataclasses import dataclass

from annealed_lm.reporting.tables import markdown_table

LATEX_SPECIAL = str.maketrans(
    {
        "\\": r"\textbackslash{}",
        "&": r"\&",
        "%": r"\%",
        "$": r"\$",
        "#": r"\#",
        "_": r"\_",
        "{": r"\{",
        "}": r"\}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "±": r"$\pm$",
        "×": r"$\times$",
        "–": "--",
        "−": "$-$",
    }
)


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        rows: one dict of equal keys a row; the keys are the header.
    """

    title: str
    rows: list[dict[str, str]]


def markdown(table: Table) -> str:
    """The table under its title."""
    return f"**{table.title}**\n\n{markdown_table([escape_markdown(row) for row in table.rows])}"


def escape_markdown(row: Mapping[str, str]) -> dict[str, str]:
    """A bar would end a cell."""
    return {key.replace("|", r"\|"): value.replace("|", r"\|") for key, value in row.items()}


def escape_latex(text: str) -> str:
    return text.translate(LATEX_SPECIAL)


def latex_table(table: Table, caption: str) -> str:
    """A floating table as wide as the text, with booktabs rules."""
    lines = [
        " & ".join(map(escape_latex, cells)) + r" \\" for cells in (list(table.rows[0]), *(row.values() for row in table.rows))
    ]
    columns = "l" + "r" * (len(table.rows[0]) - 1)
    body = "\n".join([r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"])
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{escape_latex(caption)}}}\n"
        f"\\resizebox{{\\linewidth}}{{!}}{{%\n\\begin{{tabular}}{{{columns}}}\n{body}\n\\end{{tabular}}}}\n"
        "\\end{table}\n"
    )


def html_table(table: Table, kind: str = "numbers") -> str:
    """A table in a box of its own, of the class `kind`, that scrolls where the page is narrow."""
    header = "".join(f"<th scope='col'>{html.escape(name)}</th>" for name in table.rows[0])
    lines = []
    for row in table.rows:
        first, *others = row.values()
        cells = "".join(f"<td>{html.escape(cell)}</td>" for cell in others)
        lines.append(f"<tr><th scope='row'>{html.escape(first)}</th>{cells}</tr>\n")
    caption = f"<p class='caption'>{html.escape(table.title)}</p>"
    return f"{caption}\n<div class='scroll {kind}'><table>\n<tr>{header}</tr>\n{''.join(lines)}</table></div>\n"
