"""Run a command of the instrument from the project's root: python src/lab.py COMMAND ...; --help lists the commands."""

import sys

from annealed_lab.cli import main

if __name__ == "__main__":
    main(sys.argv[1:])
