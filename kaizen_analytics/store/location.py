"""Where a store lies: `--store`, else `$KAIZEN_STORE`, else the workspace's file under `$KAIZEN_HOME`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Location:
    """A store's file, and the one workspace whose sessions it takes (None: all workspaces)."""

    path: Path
    workspace: Path | None


def locate_store(explicit: Path | None, *, environment: Mapping[str, str], folder: Path, home: Path) -> Location:
    """Find the store that a command means.

    Args:
        explicit: The value of `--store`, if given.
        environment: The process environment (`KAIZEN_STORE`, `KAIZEN_HOME`).
        folder: Where the command runs; the repository around it is the workspace.
        home: The user's home folder.

    Raises:
        ConfigError: nothing names a store and `folder` is not inside a git repository.
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
    kaizen_home = Path(environment.get("KAIZEN_HOME") or home / ".kaizen").expanduser()
    return Location(kaizen_home / "projects" / slug(workspace) / "kaizen.db", workspace)


def find_workspace(folder: Path) -> Path | None:
    """Return the root of the repository around `folder` (a linked worktree counts as its own), or None."""
    resolved = folder.resolve()
    return next((place for place in (resolved, *resolved.parents) if (place / ".git").exists()), None)


def slug(workspace: Path) -> str:
    """Return kaizen-cli's name for a workspace: its canonical path with `/` as `-`."""
    return str(workspace.resolve()).replace("\\", "-").replace("/", "-")
