"""The command line of the instrument: one command with sub-commands, each of which is a module of `commands`."""

import sys
from importlib import import_module
from typing import NamedTuple

from annealed_lm.common.errors import one_sentence_errors


class Command(NamedTuple):
    """Attributes: `module` of `annealed_lab.commands`, imported only when it is asked for; `summary`, one line."""

    module: str
    summary: str


COMMANDS = {
    "table": Command("table", "finished experiments, baseline, real texts, control and ceiling in one table"),
    "study": Command("study", "run all experiments of a study, on this machine or on a cluster"),
    "compare": Command("compare", "does annealing help? finished experiments compared over their seeds"),
    "frontier": Command("frontier", "the model of the workspace at other sampling steps, eta and decoding strategies"),
    "test-report": Command("report_on_test_split", "one experiment on the test split, once"),
    "generate": Command("generate", "labelled synthetic texts of a class-conditional model"),
    "score": Command("score", "score any file of texts against another"),
    "bench": Command("bench", "how fast training, sampling, decoding and evaluation are here"),
    "preset": Command("preset", "merge a preset into params.yaml"),
    "doctor": Command("doctor", "what could go wrong in the next run"),
    "clean-resume": Command("clean_resume", "list interrupted trainings, remove stale ones"),
}


def usage() -> str:
    lines = [f"  {name:14}{command.summary}" for name, command in COMMANDS.items()]
    return "\n".join(["usage: python src/lab.py COMMAND ...   (COMMAND --help says more)", "", *lines])


def main() -> None:
    """Run the command that the arguments name."""
    name, *arguments = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print(usage())
        return
    if name not in COMMANDS:
        raise SystemExit(f"{name} is not a command\n{usage()}")
    with one_sentence_errors():
        import_module(f"annealed_lab.commands.{COMMANDS[name].module}").main(f"lab.py {name}", arguments)
