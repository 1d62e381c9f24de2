"""Real git repositories for the tests of outcomes."""

from __future__ import annotations

from pathlib import Path

from experiment_cases import git, make_repository

DAY_S = 86_400
START_S = 1_790_000_000


class Repo:
    """A repository whose clock moves on by a minute with every command."""

    def __init__(self, folder: Path) -> None:
        self.folder = make_repository(folder)
        self.at_s = START_S

    def git(self, *arguments: str) -> str:
        self.at_s += 60
        return git(self.folder, *arguments, at_s=self.at_s)

    def write(self, path: str, *lines: str) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")

    def commit(self, message: str, **files: list[str]) -> str:
        """Write files (`a_py` is a.py), commit everything and return the id."""
        for name, lines in files.items():
            self.write(name.replace("_", "."), *lines)
        self.git("add", "-A")
        self.git("commit", "-q", "--allow-empty", "-m", message)
        return self.head()

    def head(self) -> str:
        return self.git("rev-parse", "HEAD")

    def branch(self, name: str) -> None:
        self.git("checkout", "-q", "-b", name)

    def checkout(self, name: str) -> None:
        self.git("checkout", "-q", name)
