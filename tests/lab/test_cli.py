"""The command line: what names a command, and how a wrong name ends."""

import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

from annealed_lab import cli, commands
from annealed_lm.common.errors import InputError

SOURCE = Path(__file__).parents[2] / "src"


def put_in_place_of_table(monkeypatch: pytest.MonkeyPatch, end: BaseException | None = None) -> list[tuple[str, list[str]]]:
    """Let the command table only note what it is called with, and end so."""
    calls = []

    def main(program: str, arguments: Sequence[str]) -> None:
        calls.append((program, list(arguments)))
        if end is not None:
            raise end

    monkeypatch.setattr(cli, "import_module", lambda name: {"annealed_lab.commands.table": SimpleNamespace(main=main)}[name])
    return calls


def test_every_module_of_commands_is_a_command_and_listed(capsys: pytest.CaptureFixture[str]) -> None:
    (folder,) = commands.__path__
    modules = {path.stem for path in Path(folder).glob("*.py")} - {"__init__"}
    assert {command.module for command in cli.COMMANDS.values()} == modules
    cli.main([])
    lines = capsys.readouterr().out.splitlines()
    for name, command in cli.COMMANDS.items():
        assert [line.split(maxsplit=1) for line in lines if line.startswith(f"  {name} ")] == [[name, command.summary]]
        assert len(command.summary) < 80


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_says_how_to_call_a_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    assert ended.value.code == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert printed.startswith(f"usage: lab.py {name} ")
    documented = import_module(f"annealed_lab.commands.{cli.COMMANDS[name].module}").__doc__
    assert documented is not None
    assert " ".join(documented.split("\n\n")[0].split()) in printed
    for part in ("Reads: ", "Writes: ", f"Example: python src/lab.py {name}"):
        assert part in printed


def test_a_command_gets_its_name_and_the_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = put_in_place_of_table(monkeypatch)
    cli.main(["table", "--out", "a file"])
    assert calls == [("lab.py table", ["--out", "a file"])]


def test_another_name_ends_in_one_sentence_with_the_nearest_and_all() -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["tabel", "--help"])
    names = ", ".join(cli.COMMANDS)
    assert ended.value.code == f"error: tabel is not a command (did you mean table?); there are {names}"  # so the status is 1


@pytest.mark.parametrize(("end", "shown"), [(KeyboardInterrupt(), SystemExit), (ValueError("a bug"), ValueError)])
def test_ctrl_c_and_bugs_end_a_command_as_they_end_a_stage(
    end: BaseException, shown: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_place_of_table(monkeypatch, end)
    with pytest.raises(shown):
        cli.main(["table"])


def test_what_the_user_can_mend_ends_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place_of_table(monkeypatch, InputError("the table has three legs: give it a fourth"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["table"])
    assert ended.value.code == "error: the table has three legs: give it a fourth"


def test_commands_are_listed_anywhere_and_without_the_model_libraries(tmp_path: Path) -> None:
    listed = subprocess.run(
        [sys.executable, SOURCE / "lab.py", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "clean-resume" in listed.stdout
    code = "import sys; from annealed_lab.cli import main; main([]); assert not {'torch', 'transformers'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=SOURCE, capture_output=True, check=True)
