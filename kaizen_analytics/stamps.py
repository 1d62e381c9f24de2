"""Whether a store's files changed, from `stat` alone: the check behind every use of the mirror and of kept hashes.

Every commit of any program writes to the database file or to its `-wal` file, so size, inode, modification and change
time of both tell that something was committed. They may change without a change of content (a checkpoint, `chmod`);
the mirror then compares contents and finds nothing. What they cannot tell is a write within the same tick of the
clock as the write before; `settle_fingerprint` waits that tick out, and gives no fingerprint where it cannot.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

Fingerprint = tuple[int, ...]

TICK_NS = 20_000_000
"""Longer than one tick (1 to 10 ms) of the clock that stamps files on Linux, macOS and Windows."""

_SECOND_NS = 1_000_000_000
_ATTEMPTS = 5


def read_fingerprint(path: Path) -> Fingerprint:
    """Return what `stat` says of the database and its WAL; an empty WAL counts as none.

    Raises:
        FileNotFoundError: the database is gone.
    """
    wal = path.with_name(path.name + "-wal")
    try:
        wal_facts = _facts(wal)
    except FileNotFoundError:
        wal_facts = ()
    return _facts(path) + (wal_facts if wal_facts and wal_facts[0] else ())


def settle_fingerprint(
    path: Path,
    *,
    clock_ns: Callable[[], int] = time.time_ns,
    sleep: Callable[[float], None] = time.sleep,
) -> Fingerprint | None:
    """Return a fingerprint that every later write will change, or None while there is no such moment.

    None means that the next use must compare contents again: somebody writes all the time, or the file system stamps
    files with whole seconds only and the last write is that young.
    """
    for _ in range(_ATTEMPTS):
        fingerprint = read_fingerprint(path)
        age_ns = clock_ns() - max(fingerprint[2::4])
        if age_ns > 3 * _SECOND_NS:
            return fingerprint
        if all(stamp % _SECOND_NS == 0 for stamp in fingerprint[2::4]):
            return None
        sleep(TICK_NS / _SECOND_NS)
        if read_fingerprint(path) == fingerprint:
            return fingerprint
    return None


def _facts(path: Path) -> Fingerprint:
    facts = path.stat()
    return facts.st_size, facts.st_ino, facts.st_mtime_ns, facts.st_ctime_ns
