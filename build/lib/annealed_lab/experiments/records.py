"""Read what a finished experiment left behind, and check it against itself.

DVC shows a failed experiment with the numbers of its parent. Its commit does not exist, so reading commits alone is the first
guard; a record whose parameters contradict its scores, or whose scores are those of the parent commit, is refused as well.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from annealed_lab.experiments.finished import git, read_text_at
from annealed_lab.experiments.parameters_without_effect import irrelevant_parameters
from annealed_lab.experiments.sources import Source
from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import flat, value_at
from annealed_lm.reporting.tables import Columns, by_log_snr, columns, curve

PARAMS, EVALUATION, TRAINING = "params.yaml", "metrics/evaluation.json", "metrics/training.json"
VALIDATION, BY_LOG_SNR, TIMING = "plots/validation.tsv", "plots/validation_by_log_snr.tsv", "plots/timing.tsv"
QUALITY, SAMPLES = "plots/quality.tsv", "plots/samples.txt"
FILES = (PARAMS, EVALUATION, TRAINING, VALIDATION, BY_LOG_SNR, TIMING, QUALITY, SAMPLES)
TITLE = re.compile(r"\w+, (generated|control|ceiling)|baseline|real")
"""First line of a block of plots/samples.txt."""
SAID_TWICE = {
    "settings.dataset_name": "dataset_name",
    "settings.num_samples": "sample_texts.num_samples",
    "settings.eval_seeds": "sample_texts.eval_seeds",
    "settings.reference_seed": "prepare_references.seed",
    "settings.mauve_seeds": "prepare_references.mauve_seeds",
    "settings.bootstrap_samples": "prepare_references.bootstrap_samples",
}
"""Key of metrics/evaluation.json -> the parameter that it repeats; beside them all of its `sampling` repeats `sample_texts`."""


@dataclass(frozen=True)
class Curves:
    """Hold how a training went, by step.

    Attributes:
        validation: step, loss.
        by_log_snr: by label of the bin, step and loss.
        timing: step, seconds since the start of the training.
        quality: by metric, step and the metric, of the texts sampled along the training; only steps that have a value.
    """

    validation: Columns
    by_log_snr: dict[str, Columns]
    timing: Columns
    quality: dict[str, Columns]


@dataclass(frozen=True)
class Record:
    """Hold what a finished experiment left behind.

    Attributes:
        source: whose `newness` decides which of two records of the same run is kept.
        values: params.yaml, nested.
        evaluation: metrics/evaluation.json.
        training: metrics/training.json.
        samples: by title of plots/samples.txt, texts.
    """

    name: str
    source: Source
    values: dict[str, Any]
    evaluation: dict[str, Any]
    training: dict[str, float]
    curves: Curves
    samples: dict[str, list[str]]


def relevant_parameters(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters that change something in this run, by dotted key; a section that changes nothing goes as a whole."""
    unused = irrelevant_parameters(values)
    return {key: value for key, value in flat(values).items() if key not in unused and key.split(".")[0] not in unused}


def parse_table(text: str) -> list[dict[str, str]]:
    """Read rows of tab-separated values under a header. Empty cells at the end of the text were stripped with it."""
    header, *lines = (line.split("\t") for line in text.split("\n"))
    return [dict(zip(header, line + [""] * (len(header) - len(line)), strict=True)) for line in lines]


def parse_samples(text: str) -> dict[str, list[str]]:
    """Return texts by title. A blank line ends a block only where a title follows: it may be an empty text as well."""
    blocks: dict[str, list[str]] = {}
    title, previous = "", ""
    for line in text.split("\n"):
        if previous == "" and TITLE.fullmatch(line):
            if title:
                blocks[title].pop()  # the blank line between two blocks
            title = line
            blocks[title] = []
        elif title:
            blocks[title].append(line)
        previous = line
    return blocks


def read_files(name: str, source: Source) -> dict[str, str]:
    """Return the text of every file of a record by path, without white space around it.

    Raises:
        InputError: one is missing.
    """
    texts = {path: source.read(path) for path in FILES}
    missing = [path for path, text in texts.items() if text is None]
    if missing:
        raise InputError(f"{name} has no {missing[0]}: it did not finish, or is of an earlier version of the pipeline")
    return {path: text.strip() for path, text in texts.items() if text is not None}


def parse_curves(name: str, texts: Mapping[str, str]) -> Curves:
    """Return the curves that the tables among the texts of a record hold.

    Raises:
        InputError: a table is empty.
    """
    rows = {path: parse_table(text) for path, text in texts.items() if path.endswith(".tsv")}
    empty = [path for path, found in rows.items() if not found]
    if empty:
        raise InputError(f"{name} has no rows in {empty[0]}: it did not finish")
    metrics = [metric for metric in rows[QUALITY][0] if metric != "step"]
    return Curves(
        validation=columns(rows[VALIDATION], ("step", "loss")),
        by_log_snr=by_log_snr(rows[BY_LOG_SNR]),
        timing=columns(rows[TIMING], ("step", "seconds")),
        quality={metric: curve(rows[QUALITY], metric) for metric in metrics},
    )


def parse_record(name: str, source: Source) -> Record:
    """Return the record as its files give it, not yet checked against each other.

    Raises:
        InputError: a file is missing or empty.
    """
    texts = read_files(name, source)
    return Record(
        name=name,
        source=source,
        values=YAML(typ="safe", pure=True).load(texts[PARAMS]),
        evaluation=json.loads(texts[EVALUATION]),
        training=json.loads(texts[TRAINING]),
        curves=parse_curves(name, texts),
        samples=parse_samples(texts[SAMPLES]),
    )


def contradictions(record: Record) -> Iterator[str]:
    """Yield what the parameters of a record and its scores both say, but differently."""
    sampling, evaluation = record.values["sample_texts"], flat(record.evaluation)
    pairs = {f"sampling.{key}": f"sample_texts.{key}" for key in record.evaluation["sampling"] if key in sampling} | SAID_TWICE
    for repeated, key in pairs.items():
        given = value_at(record.values, key)
        if repeated in evaluation and evaluation[repeated] != given:
            yield f"{key} is {given} in {PARAMS} and {evaluation[repeated]} in {EVALUATION}"
    last, steps = record.curves.validation["step"][-1], record.values["train_diffusion"]["num_train_steps"]
    if last != steps:
        yield f"train_diffusion.num_train_steps is {steps} and {VALIDATION} ends at step {last:g}"


def has_numbers_of_parent(record: Record) -> bool:
    """Tell whether a commit changes the parameters and yet has its parent's metrics and times, byte for byte."""
    commit = record.source.commit
    if commit is None:
        return False
    for path in (EVALUATION, TRAINING, TIMING):
        blob = git("rev-parse", "--verify", "--quiet", f"{commit}^:{path}")
        if blob is None or blob != git("rev-parse", f"{commit}:{path}"):
            return False
    before = flat(YAML(typ="safe", pure=True).load(read_text_at(f"{commit}^", PARAMS)))
    relevant = relevant_parameters(record.values)
    return any(key not in before or before[key] != value for key, value in relevant.items())


def check_record(record: Record) -> None:
    """Refuse a record that cannot be what its name says.

    Raises:
        InputError: why.
    """
    missing = [key for key in ("validation_loss", "flops_per_step") if key not in record.training]
    if missing:
        raise InputError(f"{record.name} has no {missing[0]} in {TRAINING}: it is of an earlier version of the pipeline")
    relevant_parameters(record.values)
    for found in contradictions(record):
        raise InputError(f"{record.name} contradicts itself: {found}; its numbers are not those of its parameters")
    if has_numbers_of_parent(record):
        raise InputError(f"{record.name} has the numbers of its parent commit although its parameters differ: it did not finish")
    if not all(math.isfinite(loss) for loss in (record.training["validation_loss"], *record.curves.validation["loss"])):
        raise InputError(f"{record.name} diverged (a validation loss is not finite): no mean holds it, so count it by itself")


def read_record(name: str, source: Source) -> Record:
    """Return the checked record of an experiment.

    Raises:
        InputError: it is incomplete, of another version of the pipeline, contradicts itself, or diverged.
    """
    try:
        record = parse_record(name, source)
        check_record(record)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, YAMLError) as error:
        raise InputError(
            f"{name} cannot be read ({type(error).__name__}: {' '.join(str(error).split())}): its files are damaged or of "
            "another version of the pipeline"
        ) from error
    return record
