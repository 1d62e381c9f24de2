"""Stable names for people, machines and organisations: equal values, equal pseudonyms, no way back.

The key is a 32-byte salt in a file that only its owner may read. Machines that share a lake share one lake key, so
that the same workspace looks the same from each of them.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from kaizen_analytics.core.errors import RedactionError

if TYPE_CHECKING:
    from pathlib import Path

KEY_BYTES = 32
_DIGITS = 10


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Pseudonyms under one key."""

    key: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise RedactionError(f"The pseudonym key has {len(self.key)} bytes; expected {KEY_BYTES}.")

    def name(self, kind: str, value: bytes, *, digits: int = _DIGITS) -> str:
        """Return hex digits for `value`, ten or as many; case does not matter, and kinds do not share pseudonyms."""
        message = kind.encode() + b"\0" + value.decode("utf-8", "replace").casefold().encode()
        return hmac.new(self.key, message, hashlib.sha256).hexdigest()[:digits]

    def exact(self, value: bytes, *, digits: int = _DIGITS) -> str:
        """Return hex digits for exactly these bytes: another case is another value."""
        return hmac.new(self.key, b"exact\0" + value, hashlib.sha256).hexdigest()[:digits]


def load_key(path: Path) -> bytes:
    """Read the 32-byte key in `path`, making it (mode 0600) where none exists.

    Raises:
        RedactionError: the file is not a regular file of 32 bytes, others may read it, or it cannot be made or read.

    >>> load_key(tmp / "a.key") == load_key(tmp / "a.key")
    True
    """
    try:
        return _create(path)
    except FileExistsError:
        return _read(path)
    except OSError as error:
        raise RedactionError(
            f"{path} cannot hold the pseudonym key: {error.strerror}. Name a writable file, or set KAIZEN_HOME.",
        ) from error


def _create(path: Path) -> bytes:
    """Write a new key; two processes that start at once agree on the one that was linked first."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() or path.is_symlink():
        raise FileExistsError(path)
    key = os.urandom(KEY_BYTES)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink()
    return key


def _read(path: Path) -> bytes:
    status = path.lstat()
    if not stat.S_ISREG(status.st_mode):
        raise RedactionError(f"{path} is no regular file; expected the {KEY_BYTES}-byte pseudonym key. Move it away.")
    if os.name == "posix" and status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise RedactionError(f"{path} has mode {mode:o}, so others may read the pseudonym key. Run: chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise RedactionError(f"{path} holds {len(key)} bytes; expected a key of {KEY_BYTES}. Restore it from a backup.")
    return key
