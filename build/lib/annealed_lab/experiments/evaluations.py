"""Read the scores of experiments from their commits, and tell which were evaluated alike and may stand in one table."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from annealed_lab.experiments.finished import LAST_COMMIT, commit_of, finished_experiments, read_text_at
from annealed_lm.common.errors import InputError
from annealed_lm.config.yaml_files import differences, flat

PARAMS, EVALUATION = "params.yaml", "metrics/evaluation.json"


def read_evaluation(commit: str) -> dict[str, Any]:
    """Return the scores of an experiment, and as `run` in a few words what was varied in it.

    Raises:
        InputError: the commit has none, or other parameters.
    """
    record: dict[str, Any] = json.loads(read_text_at(commit, EVALUATION))
    values = YAML(typ="safe", pure=True).load(read_text_at(commit, PARAMS))
    try:
        schedule = f"polynomial {values['power']:g}" if values["T_schedule"] == "polynomial" else values["T_schedule"]
        return record | {"run": f"T_schedule {schedule}, {values['optimizer']}, seed {values['random_seed']}"}
    except KeyError as error:
        raise InputError(
            f"commit {commit[:12]} has no {error.args[0]} in {PARAMS}: it is not the result of an experiment of this version"
        ) from error


def difference(one: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """Return in words the first setting in which two evaluations differ; None if they were evaluated alike."""
    keys = differences(one["settings"], other["settings"])
    if not keys:
        return None
    section, _, name = keys[0].rpartition(".")
    if name == "sha256":
        return f"the weights of the judge of {section}, as where it was trained on another machine"
    if name == "fingerprint":
        return "the texts of the corpus"
    first, second = (flat(each["settings"]).get(keys[0], "absent") for each in (one, other))
    return f"{keys[0]}: {first} and {second}"


def named_evaluations(names: Sequence[str]) -> dict[str, Any]:
    """Return the evaluations of the named experiments, branches or commits.

    Raises:
        InputError: one has none, or two were evaluated differently.
    """
    evaluations = {name: read_evaluation(commit_of(name)) for name in names}
    first, *others = evaluations
    for name in others:
        if found := difference(evaluations[first], evaluations[name]):
            raise InputError(
                f"{first} and {name} were evaluated differently ({found}), so their numbers cannot stand in one table: name "
                "experiments of equal settings"
            )
    return evaluations


def all_evaluations() -> tuple[dict[str, Any], list[str]]:
    """Return the evaluations of the last commit and of every finished experiment that was evaluated like it, and for every other
    experiment a sentence that says why it is left out. An experiment called HEAD has its commit beside its name.

    Where no experiment was evaluated like the last commit, as on another machine than that of its results, the newest experiment
    stands in its place.

    Raises:
        InputError: the last commit has none.
    """
    last = read_evaluation(commit_of(LAST_COMMIT))
    finished, left_out = {}, []
    for called, commit in finished_experiments().items():
        name = called if called != LAST_COMMIT else f"{called} (experiment {commit[:7]})"
        try:
            finished[name] = read_evaluation(commit)
        except InputError as error:
            left_out.append(str(error))
    measure, compared = LAST_COMMIT, last
    if finished and all(difference(last, evaluation) for evaluation in finished.values()):
        measure, compared = list(finished.items())[-1]
    evaluations = {}
    for name, evaluation in ({LAST_COMMIT: last} | finished).items():
        if found := difference(compared, evaluation):
            left_out.append(f"{name} was evaluated differently from {measure} ({found})")
        elif name != LAST_COMMIT and evaluation == last:
            left_out.append(f"{name} has the numbers of {LAST_COMMIT}")
        else:
            evaluations[name] = evaluation
    return evaluations, left_out
