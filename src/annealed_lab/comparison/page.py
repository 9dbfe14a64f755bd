"""A comparison as one HTML file that needs nothing else: no network, no script, figures inside."""

import base64
import html
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from annealed_lab.comparison.table_formats import Table, html_table
from annealed_lab.comparison.tables import full_tables, main_tables, overview_table, varied

STYLE = """
:root { color-scheme: light; }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 80rem; color: #1a1a1a; background: #fff;
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; }
h2 { font-size: 1.3rem; margin-top: 2.5rem; border-top: 1px solid #ccc; padding-top: 1rem; }
h3 { font-size: 1.05rem; margin-top: 1.8rem; }
nav ul { padding: 0; display: flex; flex-wrap: wrap; gap: .4rem .6rem; list-style: none; }
nav a { display: block; padding: .2rem .7rem; border: 1px solid #bbb; border-radius: 1rem; text-decoration: none; }
a { color: #0b4f8a; }
.scroll { overflow-x: auto; border: 1px solid #ddd; margin-bottom: 1rem; }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums; width: 100%; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid #e6e6e6; }
th { font-weight: 600; }
tr > :first-child { text-align: left; position: sticky; left: 0; background: #fff; }
tr:first-child th { background: #f3f3f3; }
.samples td, .samples th { white-space: normal; text-align: left; vertical-align: top; min-width: 14rem; }
.words td, .words th { white-space: normal; text-align: left; min-width: 6rem; }
.samples tr > :first-child { min-width: 2.5rem; }
.caption { margin: 1rem 0 .3rem; font-weight: 600; }
figure { margin: 0 0 1.5rem; }
figure img { display: block; min-width: 44rem; width: 100%; max-width: 75rem; height: auto; }
figcaption { font-size: .9rem; padding: .3rem 0; }
summary { cursor: pointer; padding: .3rem 0; }
code { overflow-wrap: anywhere; }
"""


def page(comparison: Mapping[str, Any], figures: Mapping[Path, str]) -> str:
    """The whole page.

    Args:
        figures: PNG file -> what it shows.
    """
    settings = "".join(
        section(number, each, comparison["baseline"]) for number, each in enumerate(comparison["settings"], start=1)
    )
    links = [("figures", "figures")]
    links += [(f"setting-{number}", each["label"]) for number, each in enumerate(comparison["settings"], start=1)]
    links += [("notes", "notes"), ("left-out", "left out"), ("records", "experiments")]
    table = overview_table(comparison)
    overview = html_table(table, "words") if table else ""
    chooser = "".join(f"<li><a href='#{anchor}'>{html.escape(name)}</a></li>" for anchor, name in links)
    return (
        "<!DOCTYPE html>\n<html lang='en'>\n<head>\n<meta charset='utf-8'>\n"
        "<meta name='viewport' content='width=device-width, initial-scale=1'>\n"
        f"<title>Comparison with {html.escape(comparison['baseline'])}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>Does annealing help? {len(comparison['variants'])} variants, baseline {html.escape(comparison['baseline'])}</h1>\n"
        f"<nav aria-label='parts of this page'><ul>{chooser}</ul></nav>\n{overview}"
        f"<h2 id='figures'>Figures of all settings</h2>\n{''.join(map(figure, figures, figures.values()))}{settings}"
        f"<h2 id='notes'>What the numbers mean, and what they do not</h2>\n{listed(comparison['notes'])}"
        f"<h2 id='left-out'>Left out</h2>\n{listed(comparison['left_out'] or ['Nothing.'])}"
        f"<h2 id='records'>Experiments</h2>\n{records(comparison)}</body>\n</html>\n"
    )


def listed(lines: list[str]) -> str:
    return "<ul>" + "".join(f"<li>{html.escape(line)}</li>\n" for line in lines) + "</ul>\n"


def section(number: int, setting: Mapping[str, Any], baseline: str) -> str:
    """One setting: what it is, its tables, every metric on request, texts side by side."""
    told = f"<p>Differs from the other settings in: {html.escape(varied(setting))}.</p>\n" if varied(setting) else ""
    missing = "" if baseline in setting["variants"] else f"<p>It has no {html.escape(baseline)} to compare with.</p>\n"
    return (
        f"<h2 id='setting-{number}'>Setting: {html.escape(setting['label'])}</h2>\n{told}{missing}"
        f"{''.join(map(html_table, main_tables(setting, baseline)))}"
        f"<details><summary>Every metric</summary>\n{''.join(map(html_table, full_tables(setting, baseline)))}</details>\n"
        f"{samples(setting)}"
    )


def samples(setting: Mapping[str, Any]) -> str:
    """Texts of every variant side by side: a row is one sample number."""
    shown = setting["samples"]
    texts = shown["texts"]
    if not texts:
        return ""
    rows = []
    for number in range(max(map(len, texts.values()))):
        cells = {label: found[number] or "(empty)" if number < len(found) else "" for label, found in texts.items()}
        rows.append({"": str(number + 1), **cells})
    title = (
        f"The first texts of training seed {shown['seed']}, {shown['strategy']} decoding; the texts of a row start from the same "
        "noise, those in brackets are the references'"
    )
    return f"<h3>Samples side by side</h3>\n{html_table(Table(title, rows), 'samples')}"


def figure(path: Path, caption: str) -> str:
    """A PNG inside the page, in a box that scrolls where the page is narrower than it can be read."""
    data = base64.b64encode(path.read_bytes()).decode("ascii")
    text = html.escape(caption)
    image = f"<img alt='{text}' src='data:image/png;base64,{data}'>"
    return f"<figure><div class='scroll'>{image}</div><figcaption>{text}</figcaption></figure>\n"


def records(comparison: Mapping[str, Any]) -> str:
    """Which experiments stand behind each variant of each setting."""
    rows = [
        {
            "setting": setting["label"],
            "variant": label,
            "seed": str(seed),
            "experiment": name,
            "commit": (commit or "folder")[:12],
        }
        for setting in comparison["settings"]
        for label, entry in setting["variants"].items()
        for seed, name, commit in zip(entry["seeds"], entry["records"], entry["commits"], strict=True)
    ]
    table = html_table(Table("The records that were compared", rows), "words")
    return f"<details><summary>{len(rows)} records</summary>\n{table}</details>\n"
