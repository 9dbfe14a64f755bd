"""Every stage on a disk that is full, or that becomes full in the midst of its output: one sentence, and no partial output."""

import os
import re
from pathlib import Path

import pytest

from annealed_lm.common.files import partials
from support.disks import small_disk
from support.projects import STAGES, attempt, commands, outs

pytestmark = pytest.mark.slow

PAGE = 4096


def pages(path: Path) -> int:
    """What a file or folder takes on a disk of pages."""
    files = [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]
    return sum(-(-each.stat().st_size // PAGE) for each in files)


def elsewhere(stage: str, disk: Path) -> list[str]:
    """The command of a stage with all that it writes on another disk."""
    (command,) = commands(stage)
    written = {str(path) for out in outs(stage) for path in (Path(out), Path(out).parent)} - {"data", "models"}
    return [str(disk / word) if word in written else word for word in command]


@pytest.mark.parametrize("room", ["none", "half"])
@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk_is_one_sentence(stage: str, room: str, finished_project: Path, tmp_path: Path) -> None:
    size = sum(pages(finished_project / out) for out in outs(stage))
    left = size // 2 if room == "half" else 0
    if room == "half" and left == 0:
        pytest.skip("its output is a page")
    command = elsewhere(stage, tmp_path / "disk")
    if "--resume" in command:
        command[command.index("--resume") + 1] = str(tmp_path / "resume")
    with small_disk(tmp_path / "disk", (left + 1) * PAGE) as disk:
        (disk / "taken").write_bytes(bytes(PAGE))
        ended = attempt(finished_project, *command)
        assert partials(disk) == []
        names = {path.name for path in disk.rglob("*") if path.is_file()}
    assert ended.returncode == 1, f"{names}: {ended.stdout[-2000:]}"
    assert "Traceback" not in ended.stdout
    (told,) = re.findall(r"^error: .*$", ended.stdout, flags=re.MULTILINE)
    assert told == ended.stdout.strip().splitlines()[-1]
    assert re.match(rf"error: the disk (is full while writing|does not take all of) {tmp_path}/disk/\S+; .* are kept$", told)


@pytest.mark.parametrize("stage", [stage for stage in STAGES if "--resume" in commands(stage)[0]])
def test_a_disk_without_room_for_checkpoints_is_one_sentence(stage: str, finished_project: Path, tmp_path: Path) -> None:
    command = elsewhere(stage, tmp_path / "outputs")
    with small_disk(tmp_path / "disk", 3 * PAGE) as disk:
        command[command.index("--resume") + 1] = str(disk)
        taken = os.open(disk / "taken", os.O_WRONLY | os.O_CREAT)
        os.write(taken, bytes(3 * PAGE))
        os.close(taken)
        ended = attempt(finished_project, *command)
        assert partials(disk) == []
    assert ended.returncode == 1
    assert "Traceback" not in ended.stdout
    assert re.search(
        rf"^error: the disk is full while writing {tmp_path}/disk/\S+; .* are kept$", ended.stdout, flags=re.MULTILINE
    )
