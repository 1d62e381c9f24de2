"""Where `sql/` and `notebooks/` lie, inside the installed package or beside it in a checkout; and the cache."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = Path(__file__).resolve().parent


def find_folder(name: str) -> Path:
    """Return the folder `sql` or `notebooks`.

    Raises:
        ConfigError: the installation lacks it.
    """
    for parent in (_PACKAGE, _PACKAGE.parent):
        folder = parent / name
        if folder.is_dir():
            return folder
    raise ConfigError(
        f"This installation lacks the folder {name!r} (looked in {_PACKAGE} and beside it); install "
        "kaizen_analytics again.",
    )


def cache_folder(environment: Mapping[str, str], home: Path) -> Path:
    """Return the folder of all that can be computed again: `kaizen_analytics` in `$XDG_CACHE_HOME` or `~/.cache`."""
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    base = given if given.is_absolute() else home / ".cache"
    return base / "kaizen_analytics"


def name_in_cache(path: Path) -> str:
    """Return the name by which the cache keeps something of a file; symbolic links to a file share it."""
    return hashlib.blake2b(os.fsencode(path.resolve()), digest_size=12).hexdigest()
