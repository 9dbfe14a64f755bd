"""Tables of the report: curves by name, the T schedules side by side, and the scores that a person looks at first."""

from collections.abc import Mapping, Sequence

from annealed_lm.annealing import T_SCHEDULES, DiffusionRange

Columns = dict[str, list[float]]
"""Values of a table by column name, all of one length."""
TextRows = Sequence[Mapping[str, str]]

SHOWN_STEPS = 300
"""So many points show the shape of a T schedule, however long the training."""
SHOWN_METRICS = (
    "grammatical",
    "perplexity",
    "mauve_train",
    "mauve_valid",
    "distinct",
    "seen_trigrams",
    "doubled_word",
    "memorization",
)


def columns(rows: TextRows, names: Sequence[str]) -> Columns:
    """The named columns of rows that were read from a file."""
    return {name: [float(row[name]) for row in rows] for name in names}


def by_range(rows: TextRows) -> dict[str, Columns]:
    """The curve (step, loss) of each range of t, from rows of step, t_range, loss."""
    ranges = dict.fromkeys(row["t_range"] for row in rows)
    return {name: columns([row for row in rows if row["t_range"] == name], ("step", "loss")) for name in ranges}


def compare_T_schedules(
    total_steps: int, timesteps: int, power: float, start_fraction: float, anneal_fraction: float
) -> dict[str, Columns]:
    """step and T_now of every T schedule, with the arguments of `DiffusionRange`."""
    steps = range(0, total_steps, max(total_steps // SHOWN_STEPS, 1))
    ranges = {name: DiffusionRange(name, total_steps, timesteps, power, start_fraction, anneal_fraction) for name in T_SCHEDULES}
    return {name: {"step": list(steps), "T_now": [each.max_timestep(step) for step in steps]} for name, each in ranges.items()}


def long_table(lines: Mapping[str, Columns], name: str) -> list[dict[str, str | float]]:
    """The columns of all lines under each other, with the name of the line in a column called `name`."""
    rows = []
    for label, line in lines.items():
        rows += [{name: label} | dict(zip(line, values, strict=True)) for values in zip(*line.values(), strict=True)]
    return rows


def summary(rows: Mapping[str, Mapping[str, float]]) -> str:
    """Sets of texts as lines, the metrics to look at first as columns, a dash where a set has no such metric."""
    shown = [metric for metric in SHOWN_METRICS if any(metric in row for row in rows.values())]
    width = max(map(len, rows))
    lines = [" " * width + "".join(f"{metric:>14}" for metric in shown)]
    for name, row in rows.items():
        lines.append(f"{name:{width}}" + "".join(f"{row[metric]:14.3f}" if metric in row else f"{'-':>14}" for metric in shown))
    return "\n".join(lines)
