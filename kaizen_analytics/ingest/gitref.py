"""Workspace and start commit of a session: recorded by the agent, else inferred from the repository's history.

Every question is asked once: folders and branches repeat over thousands of sessions.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from functools import partial
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, TypeVar

from kaizen_analytics.core.errors import RepositoryError
from kaizen_analytics.core.folders import normalise_folder, slug_of, spell_alike
from kaizen_analytics.core.git import BranchHistory, Repository
from kaizen_analytics.ingest.records import Agent
from kaizen_analytics.store.location import find_workspace

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from kaizen_analytics.store import Store

_T = TypeVar("_T")

# https://host/owner/name, git@host:owner/name, ssh://git@host:22/owner/name
_REMOTE = re.compile(r"(?:\w+://)?(?:[^@/]*@)?(?P<host>[\w.-]+)(?::\d+)?[:/](?P<owner>[\w.~-]+)/.+")
_NO_HISTORY = BranchHistory(moves=(), commits=())


_WORKTREE = re.compile(r"(?P<repo>.+?)(?:/\.claude/worktrees|/?\.worktrees)/[^/]+(?:/.*)?")
"""Where Claude Code and VS Code put linked worktrees: below the repository, or beside it."""

_KEPT_APART = re.compile(r".+?/\.(?:cursor/worktrees/(?P<name>[^/]+)/|codex/worktrees/[^/]+/(?P<last>[^/]+)).*")
"""Where Cursor and Codex put them: in the home folder, under the repository's name."""


_INSTRUCTIONS = {
    Agent.CLAUDE_CODE: ("CLAUDE.md", ".claude", "AGENTS.md"),
    Agent.CODEX: ("AGENTS.md", ".codex"),
    Agent.CURSOR: (".cursor/rules", ".cursorrules", "AGENTS.md", "CLAUDE.md"),
}
"""The files and folders of a repository that each agent reads its instructions from."""

_OVERRIDES = {Agent.CLAUDE_CODE: ("CLAUDE.local.md",), Agent.CODEX: ("AGENTS.override.md",), Agent.CURSOR: ()}
"""What an agent reads beside them where it is committed."""

_IMPORT = re.compile(r"(?:^|\s)@((?:\./|\.\./)*[\w.-][\w./-]*\w)")
_CODE = re.compile(rb"^(```|~~~).*?^\1|`[^`\n]*`", re.MULTILINE | re.DOTALL)
"""Claude Code takes other files into its instructions by `@path`, outside of code."""

_MOST_IMPORTS = 5
"""So deep it follows them."""


class Places:
    """Answers about folders and branches of this machine. `problems` names repositories that git could not read.

    Args:
        known: The workspaces of folders as they are stored, for folders that are gone by now.
        asked: The one workspace that is asked for.
    """

    def __init__(self, known: Mapping[str, str] | None = None, asked: str | None = None) -> None:
        self.problems: set[str] = set()
        self._known = dict(known or {})
        self._roots = sorted({*self._known.values(), *([asked] if asked else [])})
        self._workspaces: dict[str, str] = {}
        self._spelled = {spell_alike(root): root for root in reversed(self._roots)}
        self._instructions: dict[tuple[str, str, Agent, str | None], str | None] = {}
        self._imported: dict[str, tuple[str, ...]] = {}
        self._histories: dict[tuple[str, str], BranchHistory] = {}

    def workspace_of(self, cwd: str | None) -> str:
        """Return the main working tree of the repository around a folder; the folder itself where there is none.

        A worktree that was removed belongs to the repository that it belonged to, as far as its place, or what is
        stored already, tells.
        """
        if cwd is None:
            return ""
        if cwd not in self._workspaces:
            found = self._find(normalise_folder(cwd))
            self._workspaces[cwd] = self._spelled.setdefault(spell_alike(found), found)
        return self._workspaces[cwd]

    def _find(self, cwd: str) -> str:
        folder = Path(cwd)
        if folder.is_absolute() and _exists(folder) and (root := find_workspace(folder)):
            return str(root)  # a folder that is none may be what is left of a worktree
        if "/" not in cwd:  # Cursor's name for a folder, where no path in the transcript tells which it is
            return next((root for root in self._roots if slug_of(root) == slug_of(cwd)), cwd)
        if cwd in self._known:
            return self._known[cwd]
        if match := _WORKTREE.fullmatch(cwd):
            return str(_root_of(match["repo"]) or match["repo"])
        if match := _KEPT_APART.fullmatch(cwd):
            named = match["name"] or match["last"]
            same = [root for root in self._roots if root.rpartition("/")[2] == named]
            if len(same) == 1:
                return same[0]
        return str(_root_of(cwd) or cwd)

    def commit_at(self, workspace: str, branch: str | None, at_ms: int) -> str | None:
        """Return the commit that a branch of a workspace pointed at, at a time; None where history does not tell."""
        key = (workspace, branch or "HEAD")
        if key not in self._histories:
            found = self._ask(workspace, lambda one: one.read_branch_history(key[1]))
            self._histories[key] = found or _NO_HISTORY
        return self._histories[key].commit_at(at_ms)

    def instructions_at(self, workspace: str, commit: str | None, agent: Agent, cwd: str | None) -> str | None:
        """Return a fingerprint of the instruction files that an agent finds at a commit; None without any.

        These are the files of the root and of the folders from there to the session's. The fingerprint begins with
        `git-`: it is inferred from the repository, not recorded by the agent.
        """
        key = (workspace, commit or "", agent, cwd)
        if key not in self._instructions:
            self._instructions[key] = self._read_instructions(*key)
        return self._instructions[key]

    def _read_instructions(self, workspace: str, commit: str, agent: Agent, cwd: str | None) -> str | None:
        if not commit:
            return None
        folders = _folders_between(workspace, cwd)
        always, override = _INSTRUCTIONS[agent], _OVERRIDES[agent]
        paths = (*always, *override, *(f"{folder}/{name}" for folder in folders for name in (*always, *override)))
        ids = self._ask(workspace, lambda one: one.object_ids(commit, paths))
        if not ids or not any(ids):
            return None
        found = [*map(str, ids[: len(always)])]
        found += [f"{path} {one}" for path, one in [*zip(paths, ids, strict=True)][len(always) :] if one]
        if agent is Agent.CLAUDE_CODE:
            files = {path: one for path, one in zip(paths, ids, strict=True) if one and path.endswith(".md")}
            found += [f"{path} {one}" for path, one in self._imports(workspace, commit, files).items()]
        return "git-" + hashlib.sha256(" ".join(found).encode()).hexdigest()[:16]

    def _imports(self, workspace: str, commit: str, files: dict[str, str]) -> dict[str, str]:
        """Return the files of a commit that some files take in by `@path`, and those that they take in in turn."""
        found: dict[str, str] = {}
        for _ in range(_MOST_IMPORTS):
            unread = [one for one in files.values() if one not in self._imported]
            texts = self._ask(workspace, partial(Repository.read_blobs, ids=unread)) if unread else None
            for one, text in zip(unread, texts or (), strict=False):
                told = _IMPORT.findall(_CODE.sub(b"", text).decode(errors="replace"))
                self._imported[one] = tuple(dict.fromkeys(told))
            named = {
                posixpath.normpath(posixpath.join(posixpath.dirname(path), name))
                for path, one in files.items()
                for name in self._imported.get(one, ())
            }
            paths = sorted(name for name in named - found.keys() if not name.startswith(("..", "/", "~")))
            if not paths:
                break
            ids = self._ask(workspace, partial(Repository.object_ids, commit=commit, paths=paths))
            files = {path: one for path, one in zip(paths, ids or (), strict=False) if one}
            found |= files
        return found

    def people_of(self, workspace: str) -> tuple[str | None, str | None]:
        """Return the user and the organisation of a workspace: git's user.email, and the owner of its origin."""
        names = ("user.email", "remote.origin.url")
        user, origin = self._ask(workspace, lambda one: [one.read_setting(name) for name in names]) or (None, None)
        return user, _owner_of(origin or "")

    def _ask(self, workspace: str, question: Callable[[Repository], _T]) -> _T | None:
        """Return what the repository of a workspace answers; None where there is none, or git cannot read it."""
        folder = Path(workspace)
        if not folder.is_absolute() or not _exists(folder / ".git"):
            return None
        try:
            return question(Repository(folder))
        except RepositoryError as error:
            self.problems.add(str(error))
            return None


def load_places(store: Store, asked: str | None) -> Places:
    """Return a `Places` that knows the workspace of every folder in a store, and the one that is asked for.

    >>> load_places(store, None).problems
    set()
    """
    rows = store.native(
        "select distinct coalesce(p.cwd, s.workspace), s.workspace from sessions s"
        " left join ka_places p on p.session_id = s.id and p.seq = 0 where s.workspace like '%/%'"
    )
    return Places({str(cwd): str(workspace) for cwd, workspace in rows}, asked)


def _folders_between(workspace: str, cwd: str | None) -> tuple[str, ...]:
    """Return the folders below a workspace that lead to a session's folder, relative to the workspace.

    >>> _folders_between("/repo", "/repo/web/src"), _folders_between("/repo", "/elsewhere")
    (('web', 'web/src'), ())
    """
    folder = PurePosixPath(normalise_folder(cwd)) if cwd else None
    if folder is None or not folder.is_relative_to(workspace):
        return ()
    return tuple(accumulate(folder.relative_to(workspace).parts, "{}/{}".format))


def _root_of(cwd: str) -> Path | None:
    folder = Path(cwd)
    return find_workspace(folder) if folder.is_absolute() else None


def _exists(folder: Path) -> bool:
    try:
        return folder.exists()
    except (OSError, ValueError):
        return False  # a name that no file system takes


def _owner_of(remote: str) -> str | None:
    """Return host and owner of a remote's address, such as `forge.example/team`; None for a local path.

    >>> _owner_of("git@forge.example:Team/app.git"), _owner_of("/srv/app.git")
    ('forge.example/team', None)
    """
    match = None if remote.startswith(("/", ".", "file:")) else _REMOTE.fullmatch(remote)
    return f"{match['host']}/{match['owner']}".lower() if match else None
