"""The hash of what a report is made from: by content, read again only when something was written."""

import hashlib
import json
import os
import sqlite3
from pathlib import Path

import pytest

from kaizen_analytics.reports import fingerprint
from kaizen_analytics.reports.fingerprint import hash_input, hash_root


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    return tmp_path / "kept"


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read whole, in order."""
    names: list[str] = []
    hash_file = fingerprint._hash_file
    monkeypatch.setattr(fingerprint, "_hash_file", lambda path: names.append(path.name) or hash_file(path))
    return names


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_read_once_while_nobody_writes(tmp_path: Path, kept: Path, read: list[str]) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"content")

    first, second = hash_input(path, kept), hash_input(path, kept)

    assert first == second == [sha256(b"content"), sha256(b"")]
    assert read == ["store.db", "store.db-wal"]


def test_every_write_is_seen_at_once(tmp_path: Path, kept: Path) -> None:
    path = tmp_path / "store.db"
    for number in range(30):
        path.write_bytes(f"{number:04}".encode())
        assert hash_input(path, kept)[0] == sha256(f"{number:04}".encode())


def test_a_write_that_hides_its_time_is_seen(tmp_path: Path, kept: Path) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"old")
    facts = path.stat()
    hash_input(path, kept)

    path.write_bytes(b"new")
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))

    assert hash_input(path, kept)[0] == sha256(b"new")


def test_a_commit_to_the_write_ahead_log_is_seen(tmp_path: Path, kept: Path) -> None:
    path = tmp_path / "store.db"
    connection = sqlite3.connect(path)
    connection.execute("pragma journal_mode = wal")
    connection.execute("create table numbers (number integer)")
    connection.commit()
    before = hash_input(path, kept)

    connection.execute("insert into numbers values (1)")
    connection.commit()

    assert hash_input(path, kept) != before
    connection.close()


@pytest.mark.parametrize("note", [b"", b"[]", b"{}", b'{"stat": 1, "hashes": 2}', b"\xff"])
def test_a_damaged_note_is_written_anew(tmp_path: Path, kept: Path, read: list[str], note: bytes) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"content")
    hash_input(path, kept)
    (damaged,) = kept.iterdir()
    damaged.write_bytes(note)

    assert hash_input(path, kept)[0] == sha256(b"content")

    assert json.loads(damaged.read_bytes())["hashes"][0] == sha256(b"content")
    assert len(read) == 4


def test_hashes_that_cannot_be_kept_are_computed_again(tmp_path: Path, kept: Path, read: list[str]) -> None:
    path = tmp_path / "store.db"
    path.write_bytes(b"content")
    kept.write_text("a file where the folder should be")

    assert hash_input(path, kept) == hash_input(path, kept)

    assert len(read) == 4


def test_hashes_lie_in_the_cache_folder(tmp_path: Path) -> None:
    assert hash_root({}, tmp_path) == tmp_path / ".cache" / "kaizen_analytics" / "hashes"
    assert hash_root({"XDG_CACHE_HOME": "/cache"}, tmp_path) == Path("/cache/kaizen_analytics/hashes")
