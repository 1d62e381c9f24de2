"""Real git repositories for the tests of outcomes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

DAY_S = 86_400
START_S = 1_790_000_000
IDENTITY = {
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_MERGE_AUTOEDIT": "no",
}


class Repo:
    """A repository whose clock moves on by a minute with every command."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.at_s = START_S
        folder.mkdir(parents=True, exist_ok=True)
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        self.at_s += 60
        times = {"GIT_AUTHOR_DATE": f"@{self.at_s} +0000", "GIT_COMMITTER_DATE": f"@{self.at_s} +0000"}
        done = subprocess.run(
            ["git", "-C", str(self.folder), *arguments],
            env={**os.environ, **IDENTITY, **times},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"git {' '.join(arguments)}: {done.stderr or done.stdout}"
        return done.stdout.strip()

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
