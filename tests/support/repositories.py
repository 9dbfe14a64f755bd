"""Git repositories of tests, with an identity whatever git is told elsewhere."""

import os
import subprocess

IDENTITY = ("-c", "user.name=a", "-c", "user.email=a@localhost")


def git(*arguments: str, minute: int = 0) -> str:
    """Run git in the current folder, at a minute of one fixed hour; return what it prints."""
    date = f"2024-01-01T00:{minute:02}:00 +0000"
    environment = os.environ | {"GIT_COMMITTER_DATE": date, "GIT_AUTHOR_DATE": date, "GIT_CONFIG_GLOBAL": os.devnull}
    command = ["git", *IDENTITY, *arguments]
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", env=environment).stdout.strip()


def start_repository() -> None:
    """Make the current folder a repository without commits, on a branch main."""
    git("init", "--quiet", "--initial-branch", "main")


def commit_all(message: str, minute: int = 0) -> str:
    """Commit all files of the current folder, changed or not; return the commit."""
    git("add", "--all")
    git("commit", "--quiet", "--allow-empty", "--message", message, minute=minute)
    return git("rev-parse", "HEAD")


def keep_as_experiment(name: str, branch: str) -> str:
    """Keep the last commit as DVC keeps an experiment on a commit of the branch, to which the branch returns; return it."""
    made = git("rev-parse", "HEAD")
    git("update-ref", f"refs/exps/{branch[:2]}/{branch[2:]}/{name}", made)
    git("reset", "--quiet", "--hard", branch)
    return made
