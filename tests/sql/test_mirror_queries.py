"""The queries by which the mirror reads a store: those of `sql/mirror` over its tables."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb
import polars as pl

from kaizen_analytics.store import Store

INSERT = """
    insert into events (session_id, seq, ts_ms, kind, source, payload)
    values (?, ?, 5, 'Message', 'Tail', '{}') returning 1
"""
FOLDER = Path(__file__).resolve().parents[2] / "sql" / "mirror"


def read_query(name: str) -> str:
    return (FOLDER / f"{name}.sql").read_text(encoding="utf-8")


def checks(*rows: tuple[str, int]) -> dict[str, tuple[int, int]]:
    with duckdb.connect() as connection:
        connection.register("rows", pl.DataFrame(rows, schema=["session_id", "row_check"], orient="row"))
        typed = "select session_id, row_check::ubigint as row_check from rows"
        query = f"with mirrored_events as ({typed}) {read_query('session_checks')}"
        return {session: (count, check) for session, count, check in connection.execute(query).fetchall()}


def test_session_checks_count_and_add_up_rows_in_any_order():
    assert checks(("a", 1), ("b", 5), ("a", 2)) == {"a": (2, 3), "b": (1, 5)}
    assert checks(("a", 2), ("a", 1)) == checks(("a", 1), ("a", 2))
    assert checks(("a", 2**63 - 1), ("a", 2**63 - 1), ("a", 2**63 - 1)) == {"a": (3, (3 * (2**63 - 1)) % 2**64)}


def test_session_counts_come_from_an_index(tmp_path: Path):
    with Store.open(tmp_path / "store.db", create=True) as store:
        with store.write():
            for session, seq in [("a", 0), ("a", 1), ("it's", 0)]:
                store.native(INSERT, session, seq)
        found = store.read(read_query("session_counts"))
        plan = store.native(
            "explain query plan select session_id, count(*) as n_events from events group by session_id"
        )

    assert dict(found.iter_rows()) == {"a": 2, "it's": 1}
    assert all("COVERING INDEX" in str(row[-1]) for row in plan)


def test_chosen_events_returns_the_events_of_the_sessions_asked_for(tmp_path: Path):
    with Store.open(tmp_path / "store.db", create=True) as store:
        with store.write():
            for session, seq in [("a", 0), ("a", 1), ("it's", 0), ("c", 0)]:
                store.native(INSERT, session, seq)
        found = store.read(read_query("chosen_events"), {"session_ids": json.dumps(["a", "it's", "no such"])})

    assert sorted(found.select("session_id", "seq").rows()) == [("a", 0), ("a", 1), ("it's", 0)]
