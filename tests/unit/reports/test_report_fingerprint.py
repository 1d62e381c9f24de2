"""The hash of what a report is made from."""

import sqlite3
from pathlib import Path

from kaizen_analytics.reports.publication import compute_fingerprint


def fingerprint(path: Path, source: bytes = b"notebook", formats: tuple[str, ...] = ("html",), **given: str) -> str:
    return compute_fingerprint(source, given, [path], formats, {"python": "3"})


def test_everything_that_shapes_a_report_changes_the_hash(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"content")
    found = [fingerprint(path), fingerprint(path, b"other"), fingerprint(path, id="7"), fingerprint(path, formats=())]
    path.write_bytes(b"changed")
    found.append(fingerprint(path))
    assert len(set(found)) == 5
    assert found[-1] == fingerprint(path)
    assert fingerprint(path, formats=("html", "md")) == fingerprint(path, formats=("md", "html"))


def test_a_commit_to_the_write_ahead_log_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table numbers (number integer)")
    connection.commit()
    before = fingerprint(path)

    connection.execute("insert into numbers values (1)")
    connection.commit()

    assert fingerprint(path) != before
    connection.close()


def test_an_empty_write_ahead_log_counts_as_none(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"content")
    before = fingerprint(path)
    (tmp_path / "store.db-wal").write_bytes(b"")
    assert fingerprint(path) == before
