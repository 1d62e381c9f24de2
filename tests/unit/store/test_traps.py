"""Ways in which DuckDB's sqlite extension loses data: that each is real, and that the store does not fall into it.

The first test of a pair shows the trap with a bare connection; when it fails, the extension was mended and a rule of
`store/` may go.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import duckdb
import polars as pl
import pytest
from store_cases import ENVIRONMENT, hold, release, run_foreign, run_script, try_foreign

from kaizen_analytics.core.errors import StoreError, StoreMissingError
from kaizen_analytics.store import Store
from kaizen_analytics.store.connection import load_duckdb
from kaizen_analytics.store.sql import encode_list, quote_text

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

INSERT = "insert into ka_session_attributes (session_id, user) values (?, ?) returning session_id"
FAILING = "insert into ka_migrations values (null, null) returning 1"
COUNT = "select count(*) from ka_session_attributes"


@pytest.fixture
def bare(store: Store) -> Iterator[duckdb.DuckDBPyConnection]:
    """Return DuckDB with the store attached and none of the store's care."""
    store.close()
    with load_duckdb() as bare:
        bare.execute(f"attach {quote_text(str(store.path))} as k (type sqlite, busy_timeout 20000)")
        yield bare


def native(sql: str) -> str:
    return f"select * from sqlite_query('k', {quote_text(sql)})"


def write_all(store: Store, statements: Iterable[str]) -> None:
    with store.write():
        for statement in statements:
            store.native(statement)


def frame(*session_ids: str) -> pl.DataFrame:
    return pl.DataFrame({"session_id": session_ids})


# 1. A write that is not fetched to its end is lost.


def test_trap_a_write_that_is_not_drained_is_lost(bare: duckdb.DuckDBPyConnection, path: Path):
    values = ",".join(f"('s{number}')" for number in range(5_000))
    bare.execute(native(f"insert into ka_session_attributes (session_id) values {values} returning 1")).fetchone()
    bare.execute("select 1")
    assert run_foreign(path, COUNT) == [[0]]


def test_a_write_is_committed_when_it_returns(store: Store, path: Path):
    ids = json.dumps([f"s{number}" for number in range(5_000)])
    sql = "insert into ka_session_attributes (session_id) select value from json_each(?) where true returning 1"
    assert len(store.native(sql, ids)) == 5_000
    assert run_foreign(path, COUNT) == [[5_000]]
    assert try_foreign(path, "begin immediate")


# 2. A second SQLite library in the process drops the first one's locks.

LOCK_LOSER = """
import sqlite3, sys
from kaizen_analytics.store import Store
store = Store.open(sys.argv[1], journal_mode="DELETE")
with store.write():
    sqlite3.connect(sys.argv[1]).execute("select count(*) from experiments").connection.close()
    print("locked?", flush=True)
    sys.stdin.readline()
"""

OPEN_WATCHER = """
import sys
from pathlib import Path
opened = []
sys.addaudithook(lambda event, args: opened.append(str(args[0])) if event == "open" else None)
import polars
from store_cases import make_experiment
from kaizen_analytics.core.model import Classification
from kaizen_analytics.store import Store, list_experiments, save_experiment, tag_session
path = Path(sys.argv[1])
for read_only in (False, True):
    with Store.open(path, read_only=read_only) as store:
        if not read_only:
            save_experiment(store, make_experiment())
            tag_session(store, "exp-1", "s", Classification.CONTROL)
            with store.write():
                store.insert("ka_session_attributes", polars.DataFrame({"session_id": ["a"]}))
        list_experiments(store)
        assert store.read("select count(*) as n from experiments where id = $id", {"id": "a"})["n"].item() == 0
print([name for name in opened if name.startswith(str(path))], {"sqlite3", "pandas"} & set(sys.modules))
"""


def test_trap_another_sqlite_in_the_process_drops_the_lock(path: Path):
    Store.open(path, create=True, journal_mode="DELETE").close()
    command = [sys.executable, "-c", LOCK_LOSER, str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, env=ENVIRONMENT) as process:
        assert process.stdout.readline() == "locked?\n"
        broke_in = try_foreign(path, "begin immediate", "insert into ka_session_attributes values ('f', 'f', 'f')")
        process.communicate("\n")
    assert broke_in


def test_the_store_opens_its_file_by_no_other_means_and_imports_no_pandas(path: Path):
    Store.open(path, create=True).close()
    command = [sys.executable, "-c", OPEN_WATCHER, str(path)]
    watched = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
    assert watched.stdout.split() == ["[]", "set()"]


# 3. A scan by several threads reads several states of the file.

BALANCED = """
insert into events (session_id, seq, ts_ms, kind, source, payload, tokens_in)
    with recursive numbers (n) as (select 0 union all select n + 1 from numbers where n < 299999)
    select 's', n, 0, 'Message', 'Tail', '{}', 10 from numbers;
"""
SHIFTER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
print("shifting", flush=True)
for number in range(10**9):
    db.execute("begin immediate")
    db.execute("update events set tokens_in = 10 - ? where session_id = 's' and seq = 1", [number % 7])
    db.execute("update events set tokens_in = 10 + ? where session_id = 's' and seq = 299998", [number % 7])
    db.execute("commit")
"""
TOTAL = "select sum(tokens_in)::bigint as total from {}events"


@pytest.mark.slow
def test_trap_a_parallel_scan_is_torn_and_ours_sees_one_state(path: Path):
    Store.open(path, create=True).close()
    run_script(path, BALANCED)
    command = [sys.executable, "-c", SHIFTER, str(path)]
    first = "select tokens_in from events where session_id = 's' and seq = 1"
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as shifter:
        assert shifter.stdout.readline() == "shifting\n"
        with load_duckdb() as bare:
            bare.execute("set threads = 4")
            bare.execute(f"attach {quote_text(str(path))} as k (type sqlite, busy_timeout 20000)")
            torn: set[object] = set()
            while len(torn) < 2:
                torn.add(bare.execute(TOTAL.format("k.")).fetchone())
        with Store.open(path) as store:
            totals = {store.read(TOTAL.format("")).item() for _ in range(3)}
            moving = {store.native(first)[0] for _ in range(100)}
            with store.snapshot():
                totals.add(store.read(TOTAL.format("")).item())
                still = {store.native(first)[0] for _ in range(100)}
        shifter.kill()
    assert totals == {3_000_000}
    assert len(moving) > 1
    assert len(still) == 1


# 4. A plain insert does not wait for a lock.


def test_trap_a_plain_insert_does_not_wait(bare: duckdb.DuckDBPyConnection, path: Path):
    with hold(path, "begin immediate"), pytest.raises(duckdb.Error, match="database is locked"):
        bare.execute("insert into k.ka_session_attributes (session_id) values ('a')")


@pytest.mark.slow
def test_a_write_block_waits_for_the_lock_before_it_reads(store: Store, path: Path):
    with hold(path, "begin immediate") as other:
        threading.Timer(0.7, release, [other]).start()
        with store.write():
            store.read("select * from ka_session_attributes")
            store.insert("ka_session_attributes", frame("a"))
    assert run_foreign(path, COUNT) == [[1]]


def test_an_insert_outside_a_write_block_is_refused(store: Store):
    with pytest.raises(StoreError, match=r"inside a Store\.write block"):
        store.insert("ka_session_attributes", frame("a"))


# 5. Attaching a file that does not exist makes an empty one.


def test_trap_attaching_a_missing_file_creates_it(tmp_path: Path):
    missing = tmp_path / "missing.db"
    with load_duckdb() as bare:
        bare.execute(f"attach '{missing}' as k (type sqlite)")
        bare.execute(native("pragma user_version"))
    assert missing.exists()


@pytest.mark.parametrize("read_only", [False, True])
def test_a_missing_store_is_an_error_and_stays_missing(tmp_path: Path, *, read_only: bool):
    missing = tmp_path / "folder" / "missing.db"
    with pytest.raises(StoreMissingError, match=f"kaizen-analytics init --store {missing}"):
        Store.open(missing, read_only=read_only)
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_vanishes_while_open_is_not_made_anew(store: Store, path: Path):
    path.unlink()
    with pytest.raises(StoreMissingError, match="No store at"):
        store.native("select 1")
    with pytest.raises(StoreMissingError), store.write():
        pass
    assert not path.exists()


# 6. A failed transaction that stays open blocks everybody else.


def test_trap_an_open_transaction_blocks_other_programs(bare: duckdb.DuckDBPyConnection, path: Path):
    bare.execute("begin")
    bare.execute(native("update ka_migrations set version = version where 0 returning 1")).fetchall()
    with pytest.raises(duckdb.Error):
        bare.execute(native(FAILING)).fetchall()
    assert not try_foreign(path, "begin immediate")


def test_a_failed_write_block_lets_others_write_at_once(store: Store, path: Path):
    with pytest.raises(StoreError, match="NOT NULL"):
        write_all(store, ("insert into ka_session_attributes values ('a', 'b', 'c') returning 1", FAILING))
    assert try_foreign(path, "begin immediate")
    assert run_foreign(path, COUNT) == [[0]]


# 7. A commit that fails keeps its locks.


def test_trap_a_failed_commit_keeps_its_locks(store: Store, path: Path):
    store.close()
    run_foreign(path, "pragma journal_mode = delete")
    with load_duckdb() as bare:
        bare.execute(f"attach {quote_text(str(path))} as k (type sqlite, busy_timeout 50)")
        with hold(path, "begin", "select * from ka_migrations"), pytest.raises(duckdb.Error, match="locked"):
            bare.execute(native("insert into ka_migrations values (99, 0) returning 1")).fetchall()
        assert not try_foreign(path, "begin immediate")


@pytest.mark.parametrize("write", [Store.native, lambda store, sql: write_all(store, [sql])])
def test_after_a_failed_commit_the_store_is_free_and_usable(
    path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Store, str], object]
):
    monkeypatch.setattr("kaizen_analytics.store.connection._BUSY_TIMEOUT_MS", 100)
    with Store.open(path, create=True, journal_mode="DELETE") as store:
        with hold(path, "begin", "select * from experiments"), pytest.raises(StoreError, match="held its lock"):
            write(store, "insert into ka_session_attributes values ('a', 'b', 'c') returning 1")
        assert try_foreign(path, "begin immediate")
        assert store.native(COUNT) == [("0",)]
        assert store.native(INSERT, "b", "u") == [("b",)]
    assert run_foreign(path, "select session_id from ka_session_attributes") == [["b"]]


# 8. After a failed statement a commit reports success and rolls back.


def test_trap_a_commit_after_an_error_says_nothing(bare: duckdb.DuckDBPyConnection, path: Path):
    bare.execute("begin")
    bare.execute(native("insert into ka_session_attributes values ('a', 'b', 'c') returning 1")).fetchall()
    with pytest.raises(duckdb.Error):
        bare.execute(native("insert into ka_session_attributes values ('a', 'b', 'c') returning 1")).fetchall()
    bare.execute("commit")
    assert run_foreign(path, COUNT) == [[0]]


def test_a_block_whose_error_was_swallowed_does_not_report_success(store: Store, path: Path):
    def write_and_swallow() -> None:
        with store.write():
            store.native(INSERT, "a", "u")
            with pytest.raises(StoreError, match="UNIQUE"):
                store.native(INSERT, "a", "u")

    with pytest.raises(StoreError, match="all of the block was rolled back"):
        write_and_swallow()
    assert run_foreign(path, COUNT) == [[0]]


# 9. DuckDB hands invalid UTF-8 on.


def test_trap_invalid_utf8_reaches_arrow(bare: duckdb.DuckDBPyConnection, path: Path):
    run_foreign(path, "insert into ka_session_attributes (session_id) values (cast(x'ff41' as text))")
    table = bare.execute("select session_id from k.ka_session_attributes").to_arrow_table()
    assert table.column(0).chunk(0).buffers()[2].to_pybytes()[:2] == b"\xffA"


# 10. SQLite cuts a JSON text at U+0000, and keeps NaN as NULL.


def test_trap_sqlite_cuts_json_text_at_nul(store: Store):
    assert store.native("select value from json_each(?)", json.dumps(["a\0b"])) == [("a",)]


@pytest.mark.parametrize("values", [["a\0b"], [["x", "\0"]], ["\\\0"]])
def test_a_list_with_nul_is_refused(values: list[object]):
    with pytest.raises(StoreError, match=r"U\+0000"):
        encode_list(values)


@pytest.mark.parametrize("values", [[], ["a", 1, None, 1.5], ["\\u0000"], ["\\\\u0000"], ['"', "ü😀"]])
def test_a_list_reaches_sqlite_unchanged(store: Store, values: list[object]):
    rows = store.native("select json_group_array(value) from json_each(?)", encode_list(values))
    assert json.loads(rows[0][0]) == values


def test_trap_duckdb_stores_nan_as_null(bare: duckdb.DuckDBPyConnection):
    found = bare.execute(
        "select * from sqlite_query('k', 'select typeof(?1) as t', params=row('nan'::double))"
    ).fetchone()
    assert found == ("null",)


# 12. To bind a parameter, DuckDB imports pandas where that is installed; parameters are literals instead.


def test_a_missing_parameter_may_stand_beside_a_number(store: Store):
    query = "select n from range(3) as r(n) where $since_ms is null or n >= $since_ms order by n"
    assert store.read(query, {"since_ms": None})["n"].to_list() == [0, 1, 2]
    assert store.read(query, {"since_ms": 2})["n"].to_list() == [2]


def test_a_parameter_of_another_type_is_refused(store: Store):
    with pytest.raises(StoreError, match="list"):
        store.read("select $a", {"a": [1]})


# 13. While one thread scans a table, DuckDB's other threads are busy waiting for it.


def test_a_store_reads_on_one_thread(store: Store):
    assert store.read("select current_setting('threads') as n")["n"].item() == 1
