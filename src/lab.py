"""Run a tool of the project: python src/lab.py COMMAND ..., from the project's root; --help lists the commands."""

from annealed_lab.cli import main

if __name__ == "__main__":
    main()
