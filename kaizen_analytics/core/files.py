"""Files that appear whole or not at all, in the folder that was meant: what is put in its place meanwhile gets nothing.

A folder is opened once, and what follows happens inside of it by its descriptor. A path would be looked up anew at
every step, and somebody who may write beside the folder could put a link in its place in between.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import time
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ABANDONED_S = 600
_DRAFT = ".kaizen-draft-"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY
_HELD: ContextVar[dict[Path, int]] = ContextVar("held", default={})  # noqa: B039 - never changed, only replaced


@contextmanager
def hold_folder(folder: Path) -> Iterator[None]:
    """Let what is written into `folder` or below it in this block go into the folder as it is now.

    Raises:
        OSError: at the end of the block, another folder or a link stood in its place.

    >>> with hold_folder(tmp):
    ...     write_file(tmp / "a.md", b"whole")
    >>> (tmp / "a.md").read_bytes()
    b'whole'
    """
    with open_folder(folder) as descriptor:
        token = _HELD.set({**_HELD.get(), folder.absolute(): descriptor})
        try:
            yield
        finally:
            _HELD.reset(token)


@contextmanager
def open_folder(folder: Path) -> Iterator[int]:
    """Open a folder, below one that is held without following links, and give its descriptor.

    Raises:
        OSError: it is no folder; or at the end of the block, another folder or a link stood in its place.

    >>> with open_folder(tmp) as descriptor:
    ...     os.listdir(descriptor)
    []
    """
    path = folder.absolute()
    held, descriptor = max(
        ((held, number) for held, number in _HELD.get().items() if path.is_relative_to(held)),
        key=lambda pair: len(pair[0].parts),
        default=(None, None),
    )
    opened = os.open(path, _FOLDER) if descriptor is None else os.dup(descriptor)
    try:
        for part in path.relative_to(held).parts if held else ():
            above = opened
            opened = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=above)
            os.close(above)
        yield opened
        if not _is_at(path, opened):
            raise OSError(errno.ESTALE, "another folder was put in its place meanwhile", str(folder))
    finally:
        os.close(opened)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def write_file(path: Path, data: bytes) -> None:
    """Write `data` so that `path` holds all of it or what it held before, also after a power cut.

    Only its owner can read the file. A link at `path` is replaced, not followed. What a killed process left beside it
    goes once it is ten minutes old.

    Raises:
        OSError: the folder cannot be written, or another was put in its place meanwhile.

    >>> write_file(tmp / "report.md", b"whole")
    >>> (tmp / "report.md").read_bytes()
    b'whole'
    """
    prefix = f"{_DRAFT}{hashlib.sha256(os.fsencode(path.name)).hexdigest()[:12]}-"
    draft = f"{prefix}{secrets.token_hex(4)}"
    with open_folder(path.parent) as folder:
        _remove_abandoned(folder, prefix)
        try:
            with os.fdopen(create_file(folder, draft), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(draft, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft, dir_fd=folder)
            raise
        os.fsync(folder)


def create_file(folder: int, name: str) -> int:
    """Create a file that only its owner can read in an open folder, and return its descriptor.

    Raises:
        OSError: something of this name is there, or nothing can be written.

    >>> with open_folder(tmp) as folder:
    ...     os.close(create_file(folder, "a.key"))
    """
    return os.open(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=folder)


def _remove_abandoned(folder: int, prefix: str) -> None:
    for name in os.listdir(folder):
        if name.startswith(prefix):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime > _ABANDONED_S:
                    os.unlink(name, dir_fd=folder)
