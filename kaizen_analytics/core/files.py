"""Files that appear whole or not at all, in the folder that was meant: what is put in its place meanwhile gets nothing.

A folder is opened once, and what follows happens inside of it by its descriptor. A path would be looked up anew at
every step, and somebody who may write beside the folder could put a link in its place in between. Windows has no such
descriptors: there a folder is named by its path, and one that was exchanged is noticed at the end.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import shutil
import stat
import time
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_ABANDONED_S = 600
_DRAFT = ".kaizen-draft-"
_HAS_DESCRIPTORS = os.open in os.supports_dir_fd
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_HELD: ContextVar[dict[Path, int]] = ContextVar("held", default={})  # noqa: B039 - never changed, only replaced


@dataclass(frozen=True, slots=True)
class Folder:
    """An open folder (`open_folder`); names are of what lies in it. Every method raises `OSError` as `os` does."""

    path: Path
    descriptor: int | None
    """None on Windows."""

    def within(self, name: str) -> str:
        """Return what `os` takes for a name, beside the descriptor."""
        return name if self.descriptor is not None else str(self.path / name)

    def create(self, name: str) -> int:
        """Create a file that only its owner can read, and return its descriptor."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK | getattr(os, "O_BINARY", 0)
        return os.open(self.within(name), flags, 0o600, dir_fd=self.descriptor)

    def make_folder(self, name: str) -> None:
        """Create a folder that only its owner can read."""
        os.mkdir(self.within(name), 0o700, dir_fd=self.descriptor)

    def names(self) -> list[str]:
        """Return the names of what lies in the folder."""
        return sorted(os.listdir(self.path if self.descriptor is None else self.descriptor))  # noqa: PTH208

    def stat(self, name: str) -> os.stat_result:
        """Return the facts of a file or folder; a link is not followed."""
        return os.stat(self.within(name), dir_fd=self.descriptor, follow_symlinks=False)

    def move(self, name: str, new: str, to: Folder | None = None) -> None:
        """Give a file or folder another name, here or in another open folder, in the place of a file of that name."""
        to = to or self
        if to.descriptor is None:  # Windows replaces files, and no links to folders
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISLNK(to.stat(new).st_mode):
                    to.remove(new)
        os.replace(self.within(name), to.within(new), src_dir_fd=self.descriptor, dst_dir_fd=to.descriptor)

    def link(self, name: str, new: str) -> None:
        """Give a file a second name, which nothing may have yet."""
        os.link(self.within(name), self.within(new), src_dir_fd=self.descriptor, dst_dir_fd=self.descriptor)

    def point(self, name: str, target: str) -> None:
        """Make `name` a link to a folder."""
        os.symlink(target, self.within(name), target_is_directory=True, dir_fd=self.descriptor)

    def remove(self, name: str) -> None:
        """Delete a file, or a folder with all that lies in it."""
        if stat.S_ISDIR(self.stat(name).st_mode):
            shutil.rmtree(self.within(name), dir_fd=self.descriptor)
        else:
            os.unlink(self.within(name), dir_fd=self.descriptor)

    def sync(self) -> None:
        """Let the names in the folder outlive a power cut."""
        if self.descriptor is not None:
            os.fsync(self.descriptor)


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
    with open_folder(folder) as opened:
        held = {} if opened.descriptor is None else {folder.absolute(): opened.descriptor}
        token = _HELD.set({**_HELD.get(), **held})
        try:
            yield
        finally:
            _HELD.reset(token)


@contextmanager
def open_folder(folder: Path) -> Iterator[Folder]:
    """Open a folder; below one that is held no links are followed.

    Raises:
        OSError: it is no folder; or at the end of the block, another folder or a link stood in its place.

    >>> with open_folder(tmp) as opened:
    ...     opened.names()
    []
    """
    path = folder.absolute()
    descriptor = _open_descriptor(path) if _HAS_DESCRIPTORS else None
    try:
        before = path.stat() if descriptor is None else os.fstat(descriptor)
        yield Folder(path, descriptor)
        if not _is_at(path, before):
            raise OSError(errno.ESTALE, "another folder was put in its place meanwhile", str(folder))
    finally:
        if descriptor is not None:
            os.close(descriptor)


def _open_descriptor(path: Path) -> int:
    """Open a folder, below one that is held step by step and without following links."""
    held, descriptor = max(
        ((held, number) for held, number in _HELD.get().items() if path.is_relative_to(held)),
        key=lambda pair: len(pair[0].parts),
        default=(None, None),
    )
    opened = os.open(path, _FOLDER) if descriptor is None else os.dup(descriptor)
    for part in path.relative_to(held).parts if held else ():
        above = opened
        try:
            opened = os.open(part, _FOLDER | _NO_LINK, dir_fd=above)
        finally:
            os.close(above)
    return opened


def _is_at(path: Path, before: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.stat(), before)
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
            with os.fdopen(folder.create(draft), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            folder.move(draft, path.name)
        except OSError:
            with contextlib.suppress(FileNotFoundError):
                folder.remove(draft)
            raise
        folder.sync()


def _remove_abandoned(folder: Folder, prefix: str) -> None:
    for name in folder.names():
        if name.startswith(prefix):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - folder.stat(name).st_mtime > _ABANDONED_S:
                    folder.remove(name)
