"""Where a store is: `--store`, else `$KAIZEN_STORE`, else the workspace's file under `$KAIZEN_HOME`."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.core.settings import find_home
from kaizen_analytics.store.connection import Store

if TYPE_CHECKING:
    from collections.abc import Mapping

_FILES_AT = re.compile(r"^\s*worktree\s*=\s*(\S.*)$", re.MULTILINE)
_STORE_NAME = "analytics.db"
KAIZEN_NAME = "kaizen.db"
"""The file of kaizen-cli, beside the store of the same workspace."""


class Location(NamedTuple):
    """A store's file, and the one workspace whose sessions it takes (None: all workspaces)."""

    path: Path
    workspace: Path | None

    @property
    def former_path(self) -> Path | None:
        """Where former versions kept the store of the workspace; None for a store that was named."""
        return None if self.workspace is None else self.path.parent.with_name(f"-{self.path.parent.name}") / KAIZEN_NAME


def locate_store(explicit: Path | None, *, environment: Mapping[str, str], folder: Path, home: Path) -> Location:
    """Find the store that a command means.

    Args:
        explicit: The value of `--store`, if given.
        folder: Where the command runs; the repository around it is the workspace.

    Raises:
        ConfigError: nothing names a store and `folder` is not inside a git repository.

    >>> locate_store(None, environment={"KAIZEN_STORE": "team.db"}, folder=tmp, home=tmp).path.name
    'team.db'
    """
    if explicit is not None:
        return Location(explicit, None)
    if environment.get("KAIZEN_STORE"):
        return Location(Path(environment["KAIZEN_STORE"]).expanduser(), None)
    workspace = find_workspace(folder)
    if workspace is None:
        raise ConfigError(
            f"{folder} is not inside a git repository, so it has no store of its own. "
            "Name one with --store PATH or the environment variable KAIZEN_STORE.",
        )
    return Location(find_home(environment, home) / "projects" / _slug(workspace) / _STORE_NAME, workspace)


def find_workspace(folder: Path) -> Path | None:
    """Return the main working tree of the repository around `folder`, or None.

    A linked worktree belongs to its main working tree. One of a bare repository, which has none, is its own.

    >>> (tmp / "repo" / ".git").mkdir(parents=True)
    >>> find_workspace(tmp / "repo" / "src") == (tmp / "repo").resolve()
    True
    """
    try:
        resolved = folder.resolve()
    except (OSError, ValueError):
        return None  # a name that no file system takes
    root = next((place for place in (resolved, *resolved.parents) if _has_git(place)), None)
    return root and (_main_tree(root / ".git") or root)


def _has_git(folder: Path) -> bool:
    try:
        return (folder / ".git").exists()
    except OSError:
        return False  # a name that no file system takes


def _main_tree(link: Path) -> Path | None:
    """Return the main working tree that the `.git` file of a linked worktree leads to."""
    if not link.is_file():
        return None
    try:
        own = link.parent / _read_text(link).removeprefix("gitdir:").strip()
        common = (own / _read_text(own / "commondir")).resolve()
        if common.name == ".git":
            return common.parent if common.is_dir() else None
        # The repository of a submodule lies in that of the whole; its configuration says where its files are.
        told = _FILES_AT.search(_read_text(common / "config"))
        return (common / told[1]).resolve() if told else None
    except (OSError, ValueError):
        return None  # a submodule, or a repository that is gone


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace").strip()


def _slug(workspace: Path) -> str:
    """Return kaizen-cli's name for a workspace: its canonical path without the leading `/`, every other one as `-`."""
    name = os.fsencode(workspace.resolve()).decode(errors="replace")  # a byte that is no UTF-8 becomes U+FFFD
    return name.replace("\\", "-").replace("/", "-").removeprefix("-")


def move_former_store(location: Location) -> Path | None:
    """Move a store from where former versions kept it, once; return where it was, or None if there is none to move.

    Raises:
        StoreError: it cannot be opened, or another program has it open.

    >>> move_former_store(Location(tmp / "team.db", None))
    """
    former = location.former_path
    if former is None or location.path.exists() or not former.exists():
        return None
    # In this mode nothing of the store is in a file beside it.
    Store.open(former, journal_mode="DELETE", ours=True).close()
    location.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    former.rename(location.path)
    spool = former.with_name(f"{former.stem}.exposures.jsonl")
    if spool.exists():
        spool.rename(location.path.with_name(f"{location.path.stem}.exposures.jsonl"))
    return former
