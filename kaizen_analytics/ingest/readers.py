"""Processes that read files ahead of the one that stores them: reading is more than half of the work of a first ingest.

A reader is this package in a process of its own, between two pipes: slices of files go in, works come out. It holds no
store, and ends with its input, so that none outlives the ingest. What it cannot read, the one that stores reads again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import subprocess
import sys
from collections import deque
from queue import SimpleQueue
from threading import Semaphore, Thread
from typing import TYPE_CHECKING, Self

from kaizen_analytics.ingest.discover import Source, cut
from kaizen_analytics.ingest.reading import FAULTS, Work, read_source

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from kaizen_analytics.ingest.checkpoints import Checkpoint

    _Slice = dict[Source, Checkpoint | None]

_LEAST_BYTES = 64 * 1024 * 1024  # with less to read, another process takes longer to start than it saves
_SMALL_BYTES = 32 * 1024  # of a file: what is less is read faster than handed over
_MOST_BYTES = 32 * 1024 * 1024  # of a file, lest two processes hold what it says; and of what is read out of turn
_SLICE_BYTES, _SLICE_FILES = 4 * 1024 * 1024, 100
_MOST_WAITING = 16  # slices, which bounds the memory where reading is faster than storing
_MOST_READERS = 3  # more would wait for the one that stores


class Readers:
    """The readers of some files. Few bytes, small files and a single processor get none."""

    def __init__(self, sources: Iterable[Source], rows: Mapping[str, Checkpoint]) -> None:
        chosen = [one for one in sources if not one.is_database and _SMALL_BYTES <= one.size_bytes <= _MOST_BYTES]
        processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        enough = sys.executable and sum(source.size_bytes for source in chosen) >= _LEAST_BYTES
        self._processes: list[subprocess.Popen[bytes]] = []
        with contextlib.suppress(OSError):  # the system gives no process
            for _ in range(min(processors - 1, _MOST_READERS) if enough else 0):
                self._processes.append(_start())
        self._rows = {str(one.path): rows.get(str(one.path)) for one in chosen if self._processes}
        cuts = cut(chosen, _SLICE_BYTES, _SLICE_FILES)
        self._slices = iter([{one: rows.get(str(one.path)) for one in found} for found in cuts])
        self._answers: SimpleQueue[dict[str, Work | None]] = SimpleQueue()
        self._room = Semaphore(_MOST_WAITING)
        self._read: dict[str, Work | None] = {}
        self._threads = [Thread(target=self._feed, args=[one], daemon=True) for one in self._processes]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._slices = iter([])
        for process, thread in zip(self._processes, self._threads, strict=True):
            process.kill()
            self._room.release()
            thread.join()
            process.communicate()

    def take(self, source: Source, row: Checkpoint | None) -> Work | None:
        """Return what was read of a file; None where nobody did, or its checkpoint is another one by now."""
        path = str(source.path)
        while path in self._rows and path not in self._read:
            self._fetch()
        work = self._read.pop(path, None)
        if self._rows.pop(path, None) is not row or work is None:
            return None
        work.row = row
        return work

    def _fetch(self) -> None:
        """Take what a reader has read; where none is ready, read the next slice meanwhile."""
        held = sum(work.size_bytes for work in self._read.values() if work is not None)
        own = next(self._slices, None) if held < _MOST_BYTES and self._answers.empty() else None
        if own is None:  # nothing is held while a file is awaited that nobody was given: there will be an answer
            self._read |= self._answers.get()
            self._room.release()
        else:
            self._read |= _read_all(own)

    def _feed(self, process: subprocess.Popen[bytes]) -> None:
        """Keep a reader busy: it has its next slice before it has answered for the last one."""
        given: deque[_Slice] = deque()
        try:
            while process.stdin and process.stdout:
                while len(given) < 2 and self._room.acquire(blocking=not given):
                    found = next(self._slices, None)
                    if found is None:
                        self._room.release()
                        break
                    given.append(found)
                    pickle.dump(found, process.stdin, -1)
                    process.stdin.flush()
                if not given:
                    return
                self._answers.put(pickle.load(process.stdout))  # noqa: S301 - of this program itself
                given.popleft()
        except (OSError, EOFError, pickle.UnpicklingError):
            pass  # it ended
        finally:
            for found in given:
                self._answers.put({str(source.path): None for source in found})


def serve() -> None:
    """Answer the slices on the standard input with works on the standard output, until the former ends.

    >>> serve()  # doctest: +SKIP
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    answers: SimpleQueue[bytes] = SimpleQueue()
    Thread(target=_write_all, args=[answers], daemon=True).start()
    with contextlib.suppress(EOFError):
        while True:
            answers.put(pickle.dumps(_read_all(pickle.load(sys.stdin.buffer)), -1))  # noqa: S301 - of this program


def _write_all(answers: SimpleQueue[bytes]) -> None:
    """Write answers while the next slice is read: the one that stores may be too busy to take them."""
    with contextlib.suppress(OSError):  # it is gone, and so is the input
        while True:
            sys.stdout.buffer.write(answers.get())
            sys.stdout.buffer.flush()


def _read_all(found: _Slice) -> dict[str, Work | None]:
    works: dict[str, Work | None] = {str(source.path): None for source in found}
    for source, row in found.items():
        with contextlib.suppress(OSError, *FAULTS):
            works[str(source.path)] = read_source(source, row)
    return works


def _start() -> subprocess.Popen[bytes]:
    start = "from kaizen_analytics.ingest import readers; readers.serve()"  # what it reads forms no circles to collect
    code = f"import gc, sys; gc.disable(); sys.path[:] = {sys.path}; {start}"
    return subprocess.Popen(  # noqa: S603 - this program itself
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        creationflags=0x08000000 if sys.platform == "win32" else 0,  # without a window
    )  # fmt: skip
