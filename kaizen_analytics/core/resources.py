"""Where `sql/` and `notebooks/` lie, inside the installed package or beside it in a checkout; and the cache."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

_PACKAGE = Path(__file__).resolve().parents[1]


def find_folder(name: str) -> Path:
    """Return the folder `sql` or `notebooks`.

    Raises:
        ConfigError: the installation lacks it.

    >>> find_folder("sql").name
    'sql'
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
    """Return the folder of all that can be computed again: `kaizen_analytics` in `$XDG_CACHE_HOME` or `~/.cache`.

    >>> cache_folder({}, Path("/home/dev")).as_posix()
    '/home/dev/.cache/kaizen_analytics'
    """
    given = Path(environment.get("XDG_CACHE_HOME", ""))
    base = given if given.is_absolute() else home / ".cache"
    return base / "kaizen_analytics"
