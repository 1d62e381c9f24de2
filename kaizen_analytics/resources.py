"""Where `sql/` and `notebooks/` lie: inside the installed package, or beside it in a checkout."""

from __future__ import annotations

from pathlib import Path

from kaizen_analytics.errors import ConfigError

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
