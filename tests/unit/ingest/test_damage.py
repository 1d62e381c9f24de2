"""What happens to a store whose bytes are damaged: found by `doctor --deep`, undone by a backup."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from ingest_lines import answer, lines, prompt

from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.ingest.pipeline import run_ingest
from kaizen_analytics.ingest.rows import EVENT_COLUMNS, SESSION_COLUMNS
from kaizen_analytics.store import Store
from kaizen_analytics.store.checks import run_deep_checks
from kaizen_analytics.store.connection import copy_file

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = "(session_id, user) select 's' || value, 'ada' from json_each('[1, 2, 3]') where true returning 1"

READ = """
import hashlib, json, sqlite3, sys
for path in json.load(sys.stdin):
    try:
        with sqlite3.connect(path) as connection:
            connection.text_factory = bytes
            rows = [connection.execute(f"select * from {table}").fetchall() for table in ("sessions", "events")]
        print(hashlib.sha256(repr(rows).encode()).hexdigest())
    except sqlite3.Error:
        print("unreadable")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a store; its transcripts lie beside it."""
    top = tmp_path_factory.mktemp("made")
    folder = top / ".claude" / "projects" / "-repo-demo"
    folder.mkdir(parents=True)
    for number in range(20):
        name = f"s{number}"
        turns = [
            record
            for turn in range(10)
            for record in (
                prompt(f"{name}p{turn}", 2 * turn, f"please do step {turn} of {number}", session=name),
                answer(f"{name}a{turn}", 2 * turn + 1, f"{name}r{turn}", session=name),
            )
        ]
        (folder / f"{name}.jsonl").write_bytes(lines(*turns))
    with Store.open(top / "made.db", create=True) as store:
        run_ingest(store, [top], environment={})
    return top / "made.db"


@pytest.fixture
def path(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made, tmp_path / "copied.db"))


def find_damage(path: Path) -> list[str]:
    try:
        with Store.open(path, ours=True) as store:
            results = run_deep_checks(store, SESSION_COLUMNS, EVENT_COLUMNS)
    except StoreError as error:
        return [str(error)]
    return [result.name for result in results if not result.passed]


def read_elsewhere(paths: list[Path]) -> list[str]:
    """Return a hash of the sessions and events of each store, read by another SQLite in another process."""
    done = subprocess.run(
        [sys.executable, "-c", READ], input=json.dumps([str(path) for path in paths]), capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    return done.stdout.split()


def flip(path: Path, offset: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        [byte] = file.read(1)
        file.seek(offset)
        file.write(bytes([byte ^ 1 << bit]))


def test_a_store_that_nobody_damaged_passes(path: Path):
    assert find_damage(path) == []


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::kaizen_analytics.core.errors.StoreWarning")
def test_a_flipped_bit_that_changes_a_value_is_found(path: Path, tmp_path: Path):
    rng, copies = random.Random(20261130), []
    size = path.stat().st_size
    for number in range(250):
        copies.append(Path(shutil.copy(path, tmp_path / f"copy-{number}.db")))
        flip(copies[-1], rng.randrange(size), rng.randrange(8))
    [whole, *read] = read_elsewhere([path, *copies])
    changed = [copy for copy, found in zip(copies, read, strict=True) if found != whole]
    assert len(changed) >= 20
    assert [copy.name for copy in changed[:10] if not find_damage(copy)] == []


@pytest.mark.filterwarnings("ignore::kaizen_analytics.core.errors.StoreWarning")
@pytest.mark.parametrize("bit", [0, 5, 7])
def test_every_bit_of_a_text_counts(path: Path, bit: int):
    offset = path.read_bytes().index(b"please do step 3 of 7")
    flip(path, offset, bit)
    assert "digests" in find_damage(path)


@pytest.mark.parametrize("table", ["sessions", "events"])
def test_a_row_that_is_gone_is_found(path: Path, table: str):
    with Store.open(path) as store:
        column = "id" if table == "sessions" else "session_id"
        store.native(f"delete from {table} where {column} = 's7' returning 1")
    assert find_damage(path) == ["digests"]


def test_sessions_without_a_digest_are_counted(path: Path):
    with Store.open(path) as store:
        store.native("delete from ka_digests where id in ('s1', 's2') returning 1")
        results = {result.name: result.rows for result in run_deep_checks(store, SESSION_COLUMNS, EVENT_COLUMNS)}
    assert results == {"pages": 0, "cells": 0, "digests": 0, "without_digest": 2}


def test_a_session_that_grows_gets_a_new_digest(made: Path, path: Path):
    file = made.parent / ".claude" / "projects" / "-repo-demo" / "s3.jsonl"
    with file.open("ab") as opened:
        opened.write(lines(prompt("later", 100, "one more", session="s3")))
    with Store.open(path) as store:
        assert run_ingest(store, [made.parent], environment={}).new_events == 1
    assert find_damage(path) == []


# Copies


def test_a_copy_is_a_store_of_its_own(path: Path, tmp_path: Path):
    copy = tmp_path / "it's a cöpy.db"
    copy_file(path, copy)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert find_damage(copy) == []
    assert read_elsewhere([copy]) == read_elsewhere([path])
    assert sorted(file.name for file in tmp_path.glob(".*")) == []


def test_a_copy_of_a_store_in_use_holds_what_was_committed(path: Path, tmp_path: Path):
    insert = "insert into ka_session_attributes " + SCHEMA
    with Store.open(path) as store:
        store.native(insert)
        with store.write():
            store.native("delete from ka_session_attributes returning 1")
            copy_file(path, tmp_path / "copy.db")
    with Store.open(tmp_path / "copy.db") as copy:
        assert copy.native("select count(*) from ka_session_attributes") == [("3",)]


@pytest.mark.parametrize("make", [Path.touch, Path.mkdir, lambda path: path.symlink_to("elsewhere")])
def test_a_copy_replaces_nothing(path: Path, tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / "there")
    with pytest.raises(StoreError, match="exists; a copy never replaces a file"):
        copy_file(path, tmp_path / "there")
    assert not (tmp_path / "elsewhere").exists()


def test_a_store_that_is_damaged_gives_no_copy(path: Path, tmp_path: Path):
    os.truncate(path, path.stat().st_size - 8_192)
    with pytest.raises(StoreError, match=r"damaged|truncated|malformed"):
        copy_file(path, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    assert list(tmp_path.glob(".*")) == []
