"""Pack all that gpu-report needs on a machine without internet into one archive: code, tests, prepared texts, Python packages.

On the other machine: tar xzf OUT, cd annealed_lm_gpu, make gpu-report. What it needs there is Python with torch and numpy, and
the packages of requirements-gpu.txt, which travel where --python says for which Python.

Reads: the checkout and data/prepared; with --python, packages through pip. Writes: the archive.
Example: python src/lab.py gpu-package outputs/gpu_package.tar.gz --python 3.12
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from annealed_lab.gpu_report.package import make_package
from annealed_lm.common.errors import InputError, tell


def main(program: str, arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser(program, description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, metavar="OUT", help="the archive, .tar.gz")
    parser.add_argument("--python", help="version of the other machine's Python, such as 3.12: the packages for it travel too")
    args = parser.parse_args(arguments)
    if not args.out.name.endswith(".tar.gz"):
        raise InputError(f"{args.out} should end in .tar.gz")
    if args.python is not None and re.fullmatch(r"3\.\d+", args.python) is None:
        raise InputError(f"--python {args.python}: it should be a version such as 3.12")
    manifest = make_package(Path(), args.out, args.python)
    size = args.out.stat().st_size / 2**20
    tell(f"{args.out}: {size:.1f} MiB, {len(manifest['files'])} files, commit {manifest['commit']}")
