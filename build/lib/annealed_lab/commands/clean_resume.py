"""List what interrupted trainings left under .resume, and remove what is stale.

Stale is what is not in use and is either older than --days or of other code: what its stage imports is not what it imports in
this checkout, which can therefore never resume it. What no training left there is not touched.

Reads: .resume and the code in src. Writes: nothing; it removes folders of .resume.
Example: python src/lab.py clean-resume --dry-run
"""

import argparse
import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from annealed_lm.common.errors import InputError
from annealed_lm.reporting.tables import markdown_table
from annealed_lm.training.checkpoints import LOCK, CheckpointStore, FolderInUseError
from annealed_lm.training.descriptions import Code, TrainingDescription, code_digests

SOURCE = Path(__file__).parents[2]
DAY = 24 * 60 * 60
"""Seconds."""


def file_stats(folder: Path) -> Iterator[os.stat_result]:
    """Yield the stats of the files that are there; a training in use makes and removes some at any time."""
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                yield (Path(parent) / name).stat()
            except FileNotFoundError:
                continue


def code_by_stage(folders: Sequence[Path]) -> dict[str, Code]:
    """Return what the stages of these trainings import in this checkout; nothing of a stage that it does not have."""
    found = (TrainingDescription.read(folder) for folder in folders)
    scripts = {each.stage: SOURCE / f"{each.stage}.py" for each in found if each is not None}
    return {stage: code_digests(script) if script.exists() else {} for stage, script in scripts.items()}


def remove_stale(store: CheckpointStore, age_days: float, days: float, code: Mapping[str, Code], dry_run: bool) -> str:
    """Remove the folder if it is stale; what became of it. `code` by stage."""
    try:
        with store.locked():
            description = store.description()
            ingredients = None if description is None else description.ingredients
            if description is not None and ingredients is not None and ingredients.code != code.get(description.stage):
                reason = "of other code"
            elif age_days >= days:
                reason = f"older than {days:g} days"
            else:
                return "kept" if ingredients is not None else "kept, of unknown code"
            if dry_run:
                return f"would be removed: {reason}"
            shutil.rmtree(store.folder)
            return f"removed: {reason}"
    except FolderInUseError:
        return "in use"
    except InputError as error:
        return str(error)


def row(folder: Path, days: float, code: Mapping[str, Code], dry_run: bool) -> dict[str, str]:
    """Deal with one folder; its line of the list."""
    store = CheckpointStore(folder)
    stats = [*file_stats(folder)]
    age_days = (time.time() - max((each.st_mtime for each in stats), default=folder.stat().st_mtime)) / DAY
    size = sum(each.st_size for each in stats)
    description = store.description()
    return {
        "folder": folder.name,
        "stage": "?" if description is None else description.stage,
        "trains": "?" if description is None else description.trains,
        "steps": store.progress(),
        "days old": f"{age_days:.1f}",
        "MB": f"{size / 1e6:.1f}",
        "state": remove_stale(store, age_days, days, code, dry_run),
    }


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--resume", type=Path, default=Path(".resume"), help="folder (%(default)s)")
    parser.add_argument(
        "--days", type=float, default=14, help="of age from which on a training is stale (%(default)s); 0: all not in use are"
    )
    parser.add_argument("--dry-run", action="store_true", help="only list")
    args = parser.parse_args(arguments)
    if not args.days >= 0:
        raise InputError(f"--days = {args.days:g} should be 0 or more")

    folders = sorted(path.parent for path in args.resume.glob(f"*/{LOCK}"))
    if not folders:
        print(f"{args.resume} holds no interrupted training")
        return
    code = code_by_stage(folders)
    print(markdown_table([row(folder, args.days, code, args.dry_run) for folder in folders]), end="")
