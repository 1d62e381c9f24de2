"""`Store.write`, `Store.snapshot` and what parameters may hold: all or nothing, and usable after every error."""

from __future__ import annotations

import resource
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import polars as pl
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from store_cases import ENVIRONMENT, MODES, hold, release, run_foreign, try_foreign

from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.store import Store
from kaizen_analytics.store.sql import quote_text

if TYPE_CHECKING:
    from pathlib import Path

    from kaizen_analytics.store.connection import _JournalMode
    from kaizen_analytics.store.sql import Parameter

ADD = "insert into ka_session_attributes (session_id) values (?) returning 1"
ALL = "select session_id from ka_session_attributes order by session_id"


def add(store: Store, *session_ids: str) -> None:
    """Add sessions in one block."""
    with store.write():
        for session_id in session_ids:
            store.native(ADD, session_id)


def add_then_raise(store: Store, error: BaseException) -> None:
    """Add a session, then fail inside the block."""
    with store.write():
        store.native(ADD, "a")
        raise error


# Blocks


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit()])
def test_an_exception_inside_a_block_undoes_all_of_it(store: Store, path: Path, error: BaseException):
    with pytest.raises(type(error)):
        add_then_raise(store, error)
    assert try_foreign(path, "begin immediate")
    add(store, "b")
    assert store.native(ALL) == [("b",)]


def test_a_block_reads_its_own_writes_and_hides_them_from_others(store: Store, path: Path):
    with store.write():
        store.native(ADD, "a")
        store.insert("ka_session_attributes", pl.DataFrame({"session_id": ["b"], "user": [None]}))
        assert store.native(ALL) == [("a",), ("b",)]
        assert store.read(ALL).rows() == [("a",), ("b",)]
        assert run_foreign(path, ALL) == []
    assert run_foreign(path, ALL) == [["a"], ["b"]]


def test_nested_blocks_are_one_transaction(store: Store, path: Path):
    with store.write():
        store.native(ADD, "a")
        add(store, "b")
        assert run_foreign(path, ALL) == []
    assert run_foreign(path, ALL) == [["a"], ["b"]]


def test_an_error_in_a_nested_block_undoes_the_outer_one_even_when_caught(store: Store, path: Path):
    def write() -> None:
        with store.write():
            store.native(ADD, "outer")
            with pytest.raises(ValueError, match="x"):
                add_then_raise(store, ValueError("x"))
            store.native(ADD, "after")

    with pytest.raises(StoreError, match="all of the block was rolled back"):
        write()
    assert run_foreign(path, ALL) == []
    add(store, "b")


def test_a_snapshot_inside_a_write_block_adds_nothing(store: Store):
    with store.write(), store.snapshot():
        store.native(ADD, "a")
    assert store.native(ALL) == [("a",)]


def test_a_write_block_inside_a_snapshot_is_refused(store: Store):
    with store.snapshot(), pytest.raises(StoreError, match="inside a snapshot"), store.write():
        pass
    add(store, "a")


def test_a_snapshot_does_not_see_what_others_write(store: Store, path: Path):
    with store.snapshot():
        before = store.native(ALL)
        run_foreign(path, "insert into ka_session_attributes (session_id) values ('f')")
        with store.snapshot():
            assert store.native(ALL) == before
            assert store.read(ALL).is_empty()
    assert store.native(ALL) == [("f",)]


def test_a_snapshot_ends_when_its_block_fails(store: Store, path: Path):
    with pytest.raises(StoreError, match="no such table"), store.snapshot():
        store.native("select * from nowhere")
    run_foreign(path, "insert into ka_session_attributes (session_id) values ('f')")
    assert store.native(ALL) == [("f",)]


def test_closing_inside_a_block_rolls_it_back(store: Store, path: Path):
    def write() -> None:
        with store.write():
            store.native(ADD, "a")
            store.close()

    with pytest.raises(StoreError, match="is closed"):
        write()
    assert run_foreign(path, ALL) == []


def test_a_read_only_store_refuses_to_write(store: Store, path: Path):
    with Store.open(path, read_only=True) as reader:
        with pytest.raises(StoreError, match="open read-only"):
            add(reader, "a")
        with pytest.raises(StoreError, match="readonly"):
            reader.native(ADD, "a")
        assert reader.native("select count(*) from experiments") == [("0",)]
    assert store.native(ALL) == []


@pytest.mark.parametrize(
    "statement",
    [
        "select nonsense",
        "",
        "commit",
        "create table x (a)",
        "insert into ka_migrations values (null, null) returning 1",
    ],
)
def test_the_store_is_usable_after_an_error(store: Store, statement: str):
    with pytest.raises(StoreError):
        store.native(statement)
    with pytest.raises(StoreError):
        store.read("select nonsense")
    add(store, "a")
    assert store.read(ALL).rows() == [("a",)]


def test_the_extension_cannot_reach_other_files_through_duckdb(store: Store, tmp_path: Path):
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(StoreError, match=r"disabled|Permission"):
        store.read(f"select * from read_csv('{tmp_path}/secret.csv')")
    with pytest.raises(StoreError, match="locked"):
        store.read("set enable_external_access = true")


# Threads


def test_threads_share_a_store(store: Store):
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: add(store, f"{number}a", f"{number}b"), range(40)))
    assert store.native("select count(*) from ka_session_attributes") == [("80",)]


def test_a_thread_waits_for_another_ones_block(store: Store):
    inside, answers = threading.Event(), []

    def read() -> None:
        inside.wait(10)
        answers.append(store.native(ALL))

    reader = threading.Thread(target=read)
    reader.start()
    with store.write():
        store.native(ADD, "a")
        inside.set()
        reader.join(0.2)
        assert answers == []
        store.native(ADD, "b")
    reader.join(20)
    assert answers == [[("a",), ("b",)]]


def test_closing_waits_for_another_threads_block(store: Store, path: Path):
    with store.write():
        closer = threading.Thread(target=store.close)
        closer.start()
        closer.join(0.2)
        store.native(ADD, "a")
    closer.join(20)
    assert run_foreign(path, ALL) == [["a"]]


# Interruption and full disks


# In a process of its own, and told to mind SIGINT: what a shell starts in the background ignores it.
INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
from kaizen_analytics.store import Store
store = Store.open(Path(sys.argv[1]))
store.native("select 1")
signal.signal(signal.SIGINT, signal.default_int_handler)
threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
try:
    store.{call}
except KeyboardInterrupt:
    print("interrupted", flush=True)
sys.stdin.readline()
print(store.native("select 1"))
"""


@pytest.mark.parametrize(
    "call",
    [
        'native("insert into ka_session_attributes (session_id) values (?) returning 1", "a")',
        'read("select count(*) from range(10000000) a, range(100000) b where a.range * b.range % 7 = 3")',
    ],
    ids=["waiting for a lock", "in a long read"],
)
def test_an_interrupt_is_an_interrupt(store: Store, path: Path, call: str):
    store.close()
    command = [sys.executable, "-c", INTERRUPTED.replace("{call}", call), str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": ENVIRONMENT}
    with hold(path, "begin immediate") as other, subprocess.Popen(command, **pipes) as process:
        try:
            assert process.stdout.readline() == "interrupted\n"
            release(other)
            assert process.communicate("\n", timeout=60)[0] == "[('1',)]\n"
        finally:
            process.kill()


DISK_FILLER = """
import resource, sys
from pathlib import Path
import polars
from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.store import Store
path = Path(sys.argv[1])
store = Store.open(path, journal_mode=sys.argv[2])
limit = path.stat().st_size + 50_000
soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
rows = polars.DataFrame({"session_id": [f"{number:0>100}" for number in range(5_000)]})
for count in (5_000, 20, 5_000):
    try:
        with store.write():
            store.insert("ka_session_attributes", rows.head(count).with_columns(polars.col("session_id") + str(count)))
        print("stored", count)
    except StoreError as error:
        print("refused", error)
resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
with store.write():
    store.insert("ka_session_attributes", polars.DataFrame({"session_id": ["last"]}))
"""


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_stores_nothing_of_a_block(path: Path, mode: _JournalMode):
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    Store.open(path, create=True, journal_mode=mode).close()
    command = [sys.executable, "-c", DISK_FILLER, str(path), mode]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    first, second, third = done.stdout.splitlines()
    assert "Nothing of this step was stored" in first
    assert second == "stored 20"
    assert "Nothing of this step was stored" in third
    assert run_foreign(path, "select count(*) from ka_session_attributes") == [[21]]
    assert run_foreign(path, "pragma integrity_check") == [["ok"]]


# Parameters


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(st.one_of(st.text(), st.none(), st.integers(-(2**63), 2**63 - 1)))
@example("a\0b")
@example("\0" * 5_000)
@example("it's \\ $1 ?1 {} -- /*")
@example(-(2**63))
def test_parameters_come_back_as_they_were(store: Store, value: str | int | None):
    assert store.native("select ?1", value) == [(None if value is None else str(value),)]
    assert store.read("select $a as a, $b as b", {"a": value, "b": 1}).row(0) == (value, 1)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=5))
def test_floats_reach_sqlite_exactly(store: Store, values: list[float]):
    if not store.native("select 1 from sqlite_master where name = 'numbers'"):
        run_foreign(store.path, "create table numbers (n REAL)")
    with store.write():
        store.native("delete from numbers returning 1")
        for value in values:
            store.native("insert into numbers values (?) returning 1", value)
    assert store.read("select n from numbers order by rowid")["n"].to_list() == values


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf"), 2**63, -(2**63) - 1, 10**30])
def test_numbers_that_sqlite_would_change_are_refused(store: Store, value: float):
    with pytest.raises(StoreError, match=r"64-bit|finite"):
        store.native("select ?1", value)


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb"])
def test_a_lone_surrogate_is_refused(store: Store, text: str):
    with pytest.raises(StoreError, match="lone surrogate"):
        store.native("select ?1", text)
    with pytest.raises(StoreError, match="lone surrogate"):
        store.read("select $text as answer", {"text": text})
    assert store.native("select 1") == [("1",)]


@pytest.mark.parametrize(
    ("value", "kind"), [(True, "integer"), (1, "integer"), (-0.0, "real"), ("", "text"), (None, "null")]
)
def test_parameters_keep_their_type(store: Store, value: Parameter, kind: str):
    assert store.native("select typeof(?)", value) == [(kind,)]


@given(st.text())
def test_quoted_text_is_one_literal(text: str):
    quoted = quote_text(text)
    assert quoted[0] == quoted[-1] == "'"
    assert "'" not in quoted[1:-1].replace("''", "")
    assert quoted[1:-1].replace("''", "'") == text


def test_a_frame_that_breaks_the_schema_is_refused_whole(store: Store):
    with pytest.raises(StoreError, match="UNIQUE"), store.write():
        store.insert("ka_session_attributes", pl.DataFrame({"session_id": ["a", "b", "a"]}))
    with pytest.raises(StoreError, match="nonsense"), store.write():
        store.insert("ka_session_attributes", pl.DataFrame({"session_id": ["a"], "nonsense": [1]}))
    with pytest.raises(StoreError, match="out of range"), store.write():
        store.insert(
            "ka_migrations",
            pl.DataFrame(
                {"version": [2**64 - 1], "applied_at_ms": [0]}, schema={"version": pl.UInt64, "applied_at_ms": pl.Int64}
            ),
        )
    assert store.native(ALL) == []


def test_an_insert_fills_in_sqlites_defaults(store: Store):
    event = {"session_id": ["s"], "seq": [0], "ts_ms": [1], "kind": ["Message"], "source": ["Tail"], "payload": ["{}"]}
    session = {
        "id": ["s"],
        "agent": ["a"],
        "workspace": ["/w"],
        "started_at_ms": [1],
        "status": ["Done"],
        "trace_path": ["t"],
    }
    with store.write():
        assert store.insert("events", pl.DataFrame(event)) == 1
        assert store.insert("sessions", pl.DataFrame(session)) == 1
    assert store.native("select id, ts_exact, tokens_in from events") == [("1", "0", None)]
    assert store.native("select repo_binding_source from sessions") == [("",)]


def test_a_big_frame_comes_back_whole(store: Store):
    names = pl.DataFrame({"session_id": [f"s{number:06}" for number in range(60_000)]})
    with store.write():
        assert store.insert("ka_session_attributes", names) == 60_000
    assert store.read(ALL).equals(names)
