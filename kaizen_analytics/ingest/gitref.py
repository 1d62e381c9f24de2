"""Workspace and start commit of a session: recorded by the agent, else inferred from the repository's history.

Every question is asked once: folders and branches repeat over thousands of sessions.
"""

from __future__ import annotations

import re
from pathlib import Path

from kaizen_analytics.errors import RepositoryError
from kaizen_analytics.git import BranchHistory, Repository
from kaizen_analytics.store.location import find_workspace

# https://host/owner/name, git@host:owner/name, ssh://git@host:22/owner/name
_REMOTE = re.compile(r"(?:\w+://)?(?:[^@/]*@)?(?P<host>[\w.-]+)(?::\d+)?[:/](?P<owner>[\w.~-]+)/.+")
_NO_HISTORY = BranchHistory(moves=(), commits=())


class Places:
    """Answers about folders and branches of this machine. `problems` names repositories that git could not read."""

    def __init__(self) -> None:
        self.problems: set[str] = set()
        self._workspaces: dict[str, str] = {}
        self._histories: dict[tuple[str, str], BranchHistory] = {}

    def workspace_of(self, cwd: str | None) -> str:
        """Return the root of the repository around a folder; the folder itself where this machine has none there."""
        if cwd is None:
            return ""
        if cwd not in self._workspaces:
            folder = Path(cwd)
            root = find_workspace(folder) if folder.is_absolute() else None
            self._workspaces[cwd] = cwd if root is None else str(root)
        return self._workspaces[cwd]

    def commit_at(self, workspace: str, branch: str | None, at_ms: int) -> str | None:
        """Return the commit that a branch of a workspace pointed at, at a time; None where history does not tell."""
        key = (workspace, branch or "HEAD")
        if key not in self._histories:
            self._histories[key] = self._read(*key)
        return self._histories[key].commit_at(at_ms)

    def people_of(self, workspace: str) -> tuple[str | None, str | None]:
        """Return the user and the organisation of a workspace: git's user.email, and the owner of its origin."""
        folder = Path(workspace)
        if not folder.is_absolute() or not (folder / ".git").exists():
            return None, None
        try:
            repository = Repository(folder)
            user, origin = (repository.read_setting(name) for name in ("user.email", "remote.origin.url"))
        except RepositoryError as error:
            self.problems.add(str(error))
            return None, None
        return user, owner_of(origin or "")

    def _read(self, workspace: str, branch: str) -> BranchHistory:
        folder = Path(workspace)
        if not folder.is_absolute() or not (folder / ".git").exists():
            return _NO_HISTORY
        try:
            return Repository(folder).read_branch_history(branch)
        except RepositoryError as error:
            self.problems.add(str(error))
            return _NO_HISTORY


def owner_of(remote: str) -> str | None:
    """Return host and owner of a remote's address, such as `forge.example/team`; None for a local path."""
    match = None if remote.startswith(("/", ".", "file:")) else _REMOTE.fullmatch(remote)
    return f"{match['host']}/{match['owner']}".lower() if match else None
