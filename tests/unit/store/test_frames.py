"""What analysis reads of a store: staged events by session, metrics, and what a snapshot remembers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from rows import write_rows

from kaizen_analytics.core.errors import StoreError
from kaizen_analytics.store import Store
from kaizen_analytics.store.frames import _EVENT_SCHEMA, read_events, read_sessions, session_metrics

if TYPE_CHECKING:
    from pathlib import Path


def event(session_id: str, seq: int, **columns: object) -> dict[str, object]:
    return {"session_id": session_id, "seq": seq, "ts_ms": seq * 1_000, "tokens_in": 10 * seq + 1, **columns}


def write(store: Store, parents: dict[str, str | None], events: list[dict[str, object]]) -> None:
    sessions = [{"id": name, "agent": "codex", "parent_session_id": parent} for name, parent in parents.items()]
    write_rows(store, sessions, events)


def test_events_of_sessions_are_those_asked_for_by_the_index(store: Store) -> None:
    write(store, {"a": None, "it's": None, "c": None}, [event(name, n) for name in ("a", "it's", "c") for n in (0, 1)])

    found = read_events(store, ["a", "it's", "no such"]).sort("session_id", "seq")
    rest = read_events(store).filter(pl.col("session_id") == "c")
    plan = store.native(
        "explain query plan select session_id from events where session_id in (select value from json_each(?))", '["a"]'
    )

    assert found.select("session_id", "seq", "tokens_in").rows() == [
        ("a", 0, 1), ("a", 1, 11), ("it's", 0, 1), ("it's", 1, 11),
    ]  # fmt: skip
    assert rest["tokens_in"].sort().to_list() == [1, 11]
    assert dict(found.schema) == dict(rest.schema) == _EVENT_SCHEMA
    assert any("USING" in str(row[-1]) and "INDEX" in str(row[-1]) for row in plan), plan  # events_of_sessions.sql


def test_metrics_count_sub_agents_with_their_root_or_apart(store: Store) -> None:
    write(store, {"b": None, "agent": "b"}, [event("b", 0), event("agent", 1)])

    assert session_metrics(store).select("session_id", "tokens_per_session").rows() == [("b", 12.0)]
    apart = session_metrics(store, rollup=False)
    assert apart.select("session_id", "tokens_per_session").rows() == [("agent", 11.0), ("b", 1.0)]
    assert read_sessions(store)["parent_session_id"].to_list() == ["b", None]


def test_a_snapshot_remembers_the_metrics_and_the_next_one_sees_what_was_written(store: Store) -> None:
    write(store, {"a": None}, [event("a", 0)])

    with store.snapshot():
        first = session_metrics(store)
        assert session_metrics(store) is first
        assert_frame_equal(session_metrics(store, rollup=False), first)
    write(store, {"a": None}, [event("a", 0), event("a", 1)])
    with store.snapshot():
        assert session_metrics(store)["tokens_per_session"].to_list() == [12.0]


def test_inside_a_write_block_the_metrics_are_those_of_the_block(store: Store) -> None:
    write(store, {"a": None}, [event("a", 0)])

    with store.write():
        assert session_metrics(store)["tokens_per_session"].to_list() == [1.0]
        write(store, {"a": None}, [event("a", 0), event("a", 1)])
        assert session_metrics(store)["tokens_per_session"].to_list() == [12.0]


def test_a_bad_cell_is_an_error_that_names_it(path: Path, store: Store) -> None:
    write(store, {"a": None}, [event("a", 0)])
    store.native("update events set tokens_in = 'many' returning 1")

    with pytest.raises(StoreError, match="table events, column tokens_in"):
        session_metrics(store)
    assert path.exists()
