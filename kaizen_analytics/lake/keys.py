"""The key that the machines of a lake share, and the identity of the store that exports."""

from __future__ import annotations

import platform
from typing import TYPE_CHECKING

from kaizen_analytics.errors import ConfigError
from kaizen_analytics.redact.pseudonyms import Pseudonyms, load_key

if TYPE_CHECKING:
    from pathlib import Path

LAKE_KEY = "lake.key"
"""Name of the default key file below `$KAIZEN_HOME`."""

_MACHINE_KEY = "machine.key"
_CHECK_DIGITS = 20


def load_lake_key(path: Path) -> bytes:
    """Read the key of a lake.

    Raises:
        ConfigError: there is no such file; the message says how to make or copy one.
        RedactionError: it is no key, or others may read it.
    """
    if not path.exists():
        raise ConfigError(
            f"There is no lake key at {path}. All machines of a lake share one, so that a workspace is the same from "
            f"each of them. On the first machine: kaizen-analytics export lake --make-key --lake-key {path}. On the "
            f"others: copy that file from the first (scp -p), then chmod 600 {path}.",
        )
    return load_key(path)


def make_lake_key(path: Path) -> bytes:
    """Make a new key, mode 0600.

    Raises:
        ConfigError: a file lies there already; replacing a key would make every session look new.
        RedactionError: the file cannot be written.
    """
    if path.exists() or path.is_symlink():
        raise ConfigError(f"{path} exists; a lake keeps its key. Name another file, or use this one.")
    return load_key(path)


def check_of_key(key: bytes) -> str:
    """Return what a lake shows of its key, to tell a wrong one from the right one."""
    return Pseudonyms(key).exact(b"lake key", digits=_CHECK_DIGITS)


def identify_store(home: Path, store_path: Path) -> str:
    """Return a text that only this store on this machine has; it leaves as a stand-in.

    Args:
        home: The folder that holds the secret of this machine, made on first use.
        store_path: The store.
    """
    secret = load_key(home / _MACHINE_KEY).hex()
    return f"{secret} {platform.node()} {store_path.resolve()}"
