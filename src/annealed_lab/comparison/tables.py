"""The tables of a comparison, and what stands in their cells."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from annealed_lab.comparison.findings import EQUAL, NOT_TOLD_APART, ONE_PAIR, judgement, main_keys, sign
from annealed_lab.comparison.seed_statistics import COMPARED, LOSS, metric_key
from annealed_lab.comparison.variant_groups import shown

MAIN = ("grammatical", "perplexity_corpus", "mauve_train", "mauve_valid", "mauve_lm_train", "diversity", "memorization")
TESTED = ("perplexity_corpus", "mauve_train", "mauve_lm_train")
"""Metrics whose differences are shown beside those of the validation loss and of the quality metric."""
OVERVIEW = (
    "Beside {} at the same seeds: differences, ▲ better and ▼ worse where Holm's p finds them at the level of 0.05, and steps to "
    "the baseline's end"
)


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        rows: one dict of equal keys a row; the keys are the header.
    """

    title: str
    rows: list[dict[str, str]]


def number(value: float) -> str:
    """Write four significant digits, without an exponent where that can be: 12345 and 0.001234."""
    text = f"{value:.4g}"
    return f"{value:.0f}" if "e+" in text and abs(value) < 1e7 else text


def plus_minus(entry: Mapping[str, float]) -> str:
    """Write a mean and half its interval, if it has one."""
    return f"{number(entry['mean'])} ± {(entry['high'] - entry['low']) / 2:.2g}" if "low" in entry else number(entry["mean"])


def mean_cell(entry: Mapping[str, Any]) -> str:
    share = f" [{entry['share']['mean']:.2f}]" if "share" in entry else ""
    return plus_minus(entry) + share


def p_cell(entry: Mapping[str, float], name: str) -> str:
    value = entry.get(name)
    if value is None:
        return "–"
    return "< 0.0001" if value < 1e-4 else f"{value:.2g}"


def difference_cell(entry: Mapping[str, Any], metric: str) -> str:
    """Write a difference and its interval, after the sign of better or worse."""
    if entry.get("equal"):
        return EQUAL
    interval = f" [{entry['low']:+.3g}, {entry['high']:+.3g}]" if "low" in entry else ""
    return f"{sign(entry, metric)}{entry['mean']:+.3g}{interval}"


def median_cell(entry: Mapping[str, Any], name: str) -> str:
    found = entry[name]
    return f"{'> ' if found['above'] else ''}{number(found['median'])}"


def metric_of(key: str) -> str:
    """Return the metric of a key, without its strategy."""
    return key.split(" (")[0]


def spoken(key: str) -> str:
    """Return a metric as a header calls it."""
    return "validation loss" if key == LOSS else key


def keys_of(setting: Mapping[str, Any], metrics: Sequence[str]) -> dict[str, str]:
    """Return key of a metric -> how a header calls it: with the strategy only if there are several."""
    strategies = setting["strategies"]
    names = {
        metric_key(metric, strategy): metric if len(strategies) == 1 else metric_key(metric, strategy)
        for strategy in strategies
        for metric in metrics
    }
    return {LOSS: spoken(LOSS)} | {key: name for key, name in names.items() if key in setting["metrics"]}


def metrics_table(setting: Mapping[str, Any], metrics: Sequence[str] = MAIN) -> Table:
    """Set out variants x metrics: mean ± half the interval, and the share between control and ceiling in brackets."""
    keys = keys_of(setting, metrics)
    rows = []
    for label, entry in setting["variants"].items():
        cells = {
            name: mean_cell(setting["metrics"][key][label]) if label in setting["metrics"][key] else "–"
            for key, name in keys.items()
        }
        rows.append({"variant": label, "seeds": str(len(entry["seeds"])), **cells})
    for bound in ("control", "ceiling"):
        values = {name: setting["bounds"].get(key, {}).get(bound) for key, name in keys.items()}
        cells = {name: "–" if value is None else number(value) for name, value in values.items()}
        rows.append({"variant": f"({bound})", "seeds": "", **cells})
    return Table("Metrics: mean ± half the 95 % interval over seeds [share between control and ceiling]", rows)


def tested_metrics(setting: Mapping[str, Any]) -> list[str]:
    """Return the quality metric and `TESTED`."""
    return list(dict.fromkeys(metric for metric in (setting["quality_metric"], *TESTED) if metric is not None))


def differences_table(setting: Mapping[str, Any], baseline: str, metrics: Sequence[str]) -> Table | None:
    """Set out paired differences from the baseline, a row for each metric and variant; None if nothing is paired."""
    rows = [
        {
            "variant": label,
            "metric": name,
            "pairs": str(entry["n"]),
            f"difference from {baseline} [95 % interval]": difference_cell(entry, metric_of(key)),
            "p": p_cell(entry, "p"),
            "p (Holm)": p_cell(entry, "p_holm"),
            "p (flips)": p_cell(entry, "p_flip"),
            "detectable": f"{entry['detectable']:.3g}" if "detectable" in entry else "–",
        }
        for key, name in keys_of(setting, metrics).items()
        for label, entry in setting["differences"].get(key, {}).items()
    ]
    title = f"Paired differences from {baseline} over common seeds (one seed: no interval, no p)"
    return Table(title, rows) if rows else None


def steps_table(setting: Mapping[str, Any], baseline: str) -> Table | None:
    """Set out steps, FLOP and seconds to the quality that the baseline ends with; None without a baseline."""
    rows = [
        {
            "variant": label,
            "target": f"{spoken(key)} of {baseline}",
            "reached": f"{entry['reached']} of {entry['n']}",
            "median steps": median_cell(entry, "step"),
            f"ratio to {baseline}": median_cell(entry, "ratio"),
            "TFLOP": median_cell(entry, "teraflops"),
            "seconds": median_cell(entry, "seconds"),
        }
        for key, found in setting["steps_to_target"].items()
        for label, entry in found.items()
    ]
    return (
        Table(f"Training until a run is as good as {baseline} of its seed at its end, medians over seeds", rows) if rows else None
    )


def finding(entry: Mapping[str, Any], metric: str) -> str:
    """Say what a paired test found: better or worse, or what difference it could have found."""
    judged = judgement(entry, metric)
    if judged == EQUAL:
        return EQUAL
    if judged == ONE_PAIR:
        return f"{entry['mean']:+.3g}, one pair"
    if judged == NOT_TOLD_APART:
        detectable = f" (detectable {entry['detectable']:.2g})" if "detectable" in entry else ""
        return f"{entry['mean']:+.2g} {judged}{detectable}"
    return f"{sign(entry, metric)}{entry['mean']:+.3g} {judged}"


def overview_row(setting: Mapping[str, Any], label: str) -> dict[str, str]:
    """Set out one variant under one setting: loss and quality, and the steps to both."""
    row = {"variant": label, "setting": setting["label"]}
    for metric, key in main_keys(setting).items():
        entry = setting["differences"].get(key, {}).get(label)
        steps = setting["steps_to_target"].get(metric, {}).get(label)
        name, prefix = ("validation loss", "") if metric == LOSS else ("quality", f"{metric} ")
        row[name] = "–" if entry is None else prefix + finding(entry, metric)
        row[f"steps ({name})"] = "–" if steps is None else f"{median_cell(steps, 'ratio')} ×"
    return row


def overview_table(comparison: Mapping[str, Any]) -> Table | None:
    """Set out every variant under every setting beside the baseline; None if nothing is beside it."""
    rows = [
        overview_row(setting, label)
        for label in comparison["variants"]
        for setting in comparison["settings"]
        if label != comparison["baseline"] and label in setting["variants"] and setting["differences"]
    ]
    names = list(dict.fromkeys(name for row in rows for name in row))
    return (
        Table(OVERVIEW.format(comparison["baseline"]), [{name: row.get(name, "–") for name in names} for row in rows])
        if rows
        else None
    )


def main_tables(setting: Mapping[str, Any], baseline: str) -> list[Table]:
    """Return the tables that a reader wants of a setting, in this order."""
    tables = [
        metrics_table(setting),
        differences_table(setting, baseline, tested_metrics(setting)),
        steps_table(setting, baseline),
    ]
    return [table for table in tables if table is not None]


def full_tables(setting: Mapping[str, Any], baseline: str) -> list[Table]:
    """Return the tables with every metric that was compared."""
    tables = [metrics_table(setting, COMPARED), differences_table(setting, baseline, COMPARED)]
    return [table for table in tables if table is not None]


def varied(setting: Mapping[str, Any]) -> str:
    """Name the parameters that are not the same in all settings; nothing where the label says it all."""
    if all(name.rsplit(".", 1)[-1] in setting["label"] for name in setting["parameters"]):
        return ""
    return ", ".join(f"{name} {shown(value)}" for name, value in setting["parameters"].items())


def samples_table(setting: Mapping[str, Any]) -> Table | None:
    """Return texts of every variant side by side, a row for each sample number; None without texts."""
    shown_texts = setting["samples"]
    texts = shown_texts["texts"]
    rows = []
    for index in range(max(map(len, texts.values()), default=0)):
        cells = {label: found[index] or "(empty)" if index < len(found) else "" for label, found in texts.items()}
        rows.append({"": str(index + 1), **cells})
    title = (
        f"The first texts of training seed {shown_texts['seed']}, {shown_texts['strategy']} decoding; the texts of a row start "
        "from the same noise, those in brackets are the references'"
    )
    return Table(title, rows) if rows else None


def records_table(comparison: Mapping[str, Any]) -> Table:
    """Name the experiments that stand behind each variant of each setting."""
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
    return Table("The records that were compared", rows)
