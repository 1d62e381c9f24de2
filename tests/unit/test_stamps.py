"""What `stat` tells of a store, and when it can be relied on."""

import os
from pathlib import Path

from kaizen_analytics.stamps import TICK_NS, read_fingerprint, settle_fingerprint

SECOND_NS = 1_000_000_000


def write(path: Path, text: str, *, mtime_ns: int | None = None) -> Path:
    path.write_text(text)
    if mtime_ns is not None:
        os.utime(path, ns=(mtime_ns, mtime_ns))
    return path


def test_an_empty_wal_counts_as_none(tmp_path: Path) -> None:
    path = write(tmp_path / "k.db", "x")
    before = read_fingerprint(path)
    wal = write(tmp_path / "k.db-wal", "")
    assert read_fingerprint(path) == before
    wal.write_text("frames")
    assert read_fingerprint(path) != before


def test_a_write_that_keeps_size_and_time_shows_in_the_change_time(tmp_path: Path) -> None:
    path = write(tmp_path / "k.db", "x", mtime_ns=SECOND_NS + 1)
    before = read_fingerprint(path)
    write(path, "y", mtime_ns=SECOND_NS + 1)
    assert read_fingerprint(path) != before


def test_an_old_file_settles_without_waiting(tmp_path: Path) -> None:
    path = write(tmp_path / "k.db", "x", mtime_ns=7)
    assert settle_fingerprint(path, clock_ns=lambda: 10 * SECOND_NS, sleep=never) == read_fingerprint(path)


def test_a_young_file_settles_after_a_tick(tmp_path: Path) -> None:
    path = write(tmp_path / "k.db", "x", mtime_ns=10 * SECOND_NS + 7)
    waits: list[float] = []
    settled = settle_fingerprint(path, clock_ns=lambda: 10 * SECOND_NS + 8, sleep=waits.append)
    assert settled == read_fingerprint(path)
    assert waits == [TICK_NS / SECOND_NS]


def test_a_file_that_changes_all_the_time_does_not_settle(tmp_path: Path) -> None:
    path = write(tmp_path / "k.db", "x", mtime_ns=10 * SECOND_NS + 7)
    grow = iter(range(1_000))

    def sleep(_: float) -> None:
        write(path, "x" * (2 + next(grow)), mtime_ns=10 * SECOND_NS + 7)

    assert settle_fingerprint(path, clock_ns=lambda: 10 * SECOND_NS + 8, sleep=sleep) is None


def test_a_young_file_with_whole_seconds_does_not_settle(tmp_path: Path) -> None:
    path = write(tmp_path / "k.db", "x", mtime_ns=10 * SECOND_NS)
    assert settle_fingerprint(path, clock_ns=lambda: 11 * SECOND_NS, sleep=never) is None


def test_a_clock_that_was_set_back_only_costs_a_tick(tmp_path: Path) -> None:
    path = write(tmp_path / "k.db", "x", mtime_ns=10 * SECOND_NS + 7)
    assert settle_fingerprint(path, clock_ns=lambda: 0, sleep=lambda _: None) == read_fingerprint(path)


def never(_: float) -> None:
    raise AssertionError("waited")
