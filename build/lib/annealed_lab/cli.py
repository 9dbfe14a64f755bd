"""Run a command of the instrument: each is a module of `commands` with a function main(program, arguments)."""

from collections.abc import Sequence
from importlib import import_module
from typing import NamedTuple

from annealed_lm.common.errors import InputError, one_sentence_errors
from annealed_lm.config.types import nearest


class Command(NamedTuple):
    """Name the module of a command and say in one line what it does.

    Attributes:
        module: of `annealed_lab.commands`; imported only when its command is run, since torch and the models take seconds.
    """

    module: str
    summary: str


COMMANDS = {
    "baseline": Command("baseline", "commit the results of this run, which experiments are compared with"),
    "show": Command("show", "list experiments: what varied, and how their texts came out"),
    "table": Command("table", "show finished experiments in one table, beside real texts, baseline and bounds"),
    "study": Command("study", "run all experiments of a study, or those that are left of it"),
    "compare": Command("compare", "compare finished experiments over their seeds: does annealing help?"),
    "frontier": Command("frontier", "score the trained model at other sampling steps, eta and decoding strategies"),
    "test-report": Command("report_on_test_split", "score one experiment on the test split, once"),
    "generate": Command("generate", "write texts of a trained model to a file"),
    "export": Command("export", "put the trained model and its card into one folder"),
    "score": Command("score", "score any file of texts against another"),
    "bench": Command("bench", "measure how fast training, sampling, decoding and evaluation are here"),
    "gpu-report": Command("gpu_report", "measure everything that needs a GPU, in parts, within so many minutes"),
    "gpu-package": Command("gpu_package", "pack all that gpu-report needs on a machine without internet"),
    "text": Command("text", "let the next run be on texts of your own, and fit params.yaml to them"),
    "preset": Command("preset", "merge a preset into params.yaml"),
    "doctor": Command("doctor", "check what could go wrong in the next run"),
    "clean-resume": Command("clean_resume", "list interrupted trainings and remove stale ones"),
}


def usage() -> str:
    """Return what --help prints: how to call a command, and a line on each."""
    width = max(map(len, COMMANDS)) + 2
    lines = [f"  {name:{width}}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: python src/lab.py COMMAND ...", "", *lines, "", "COMMAND --help tells its options."])


def main(arguments: Sequence[str]) -> None:
    """Run the command that the first argument names with the rest; without any, or with --help, list the commands.

    Raises:
        SystemExit: what the command was given is wrong, or there is no such command.
    """
    name, *rest = arguments or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return
    with one_sentence_errors():
        if name not in COMMANDS:
            raise InputError(f"{name} is not a command{nearest(name, list(COMMANDS))}; there are {', '.join(COMMANDS)}")
        import_module(f"annealed_lab.commands.{COMMANDS[name].module}").main(f"lab.py {name}", rest)
