"""Cells that do not have their column's type: found, named in the error, and harmless to the process."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from store_cases import make_experiment, run_foreign

from kaizen_analytics.errors import StoreError
from kaizen_analytics.store import Store, list_experiments, save_experiment
from kaizen_analytics.store.cells import BadCell, find_bad_cells

if TYPE_CHECKING:
    from pathlib import Path

NOT_UTF8 = "cast(x'ff41' as text)"


@pytest.fixture
def spoiled(store: Store, path: Path) -> Store:
    """Return a store with three events, of which the second is about to be spoiled."""
    for seq in range(3):
        event = f"values ('s', {seq}, 5, 'Message', 'Tail', '{{}}', 10)"
        run_foreign(path, f"insert into events (session_id, seq, ts_ms, kind, source, payload, tokens_in) {event}")
    return store


def spoil(store: Store, column: str, value: str) -> None:
    run_foreign(store.path, f"update events set {column} = {value} where seq = 1")


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("ts_ms", "'yesterday'"),
        ("tokens_in", "1.5"),
        ("tokens_in", "x'01'"),
        ("payload", NOT_UTF8),
        ("payload", "x'00ff'"),
        ("model", NOT_UTF8),
    ],
)
def test_a_bad_cell_is_found(spoiled: Store, column: str, value: str):
    if column == "model":
        session = f"('s', 'a', {value}, '/w', 1, 'Done', 't')"
        columns = "(id, agent, model, workspace, started_at_ms, status, trace_path)"
        run_foreign(spoiled.path, f"insert into sessions {columns} values {session}")
        assert list(find_bad_cells(spoiled)) == [BadCell("sessions", "model", 1)]
    else:
        spoil(spoiled, column, value)
        assert list(find_bad_cells(spoiled)) == [BadCell("events", column, 2)]


def test_a_good_store_has_no_bad_cells(spoiled: Store):
    save_experiment(spoiled, make_experiment(name="it's ünï 😀"))
    spoil(spoiled, "tokens_in", "null")
    spoil(spoiled, "payload", "'a' || char(0) || 'b'")
    assert list(find_bad_cells(spoiled)) == []


@pytest.mark.parametrize(
    ("column", "value"), [("ts_ms", "'yesterday'"), ("tokens_in", "1.5"), ("payload", NOT_UTF8), ("payload", "x'00ff'")]
)
def test_a_read_that_meets_a_bad_cell_names_table_column_and_row(spoiled: Store, column: str, value: str):
    spoil(spoiled, column, value)
    named = f"table events, column {column}, row 2.*'kaizen-analytics doctor'"
    with pytest.raises(StoreError, match=named):
        spoiled.read(f"select {column} from events")
    with pytest.raises(StoreError, match=named):
        list(spoiled.read_batches(f"select {column} from events", rows=1_000))
    assert spoiled.read("select seq from events order by seq")["seq"].to_list() == [0, 1, 2]


def test_a_native_read_that_meets_text_that_is_not_utf8_names_it(spoiled: Store):
    spoil(spoiled, "payload", NOT_UTF8)
    with pytest.raises(StoreError, match="table events, column payload, row 2"):
        spoiled.native("select payload from events")


def test_the_error_names_the_cell_of_the_column_that_was_read(spoiled: Store):
    spoil(spoiled, "payload", NOT_UTF8)
    run_foreign(spoiled.path, "update events set tokens_in = 'x' where seq = 2")
    with pytest.raises(StoreError, match="column tokens_in, row 3"):
        spoiled.read("select sum(tokens_in) from events")


def test_a_bad_cell_inside_a_write_block_undoes_the_block(spoiled: Store):
    spoil(spoiled, "ts_ms", "'yesterday'")

    def write() -> None:
        with spoiled.write():
            save_experiment(spoiled, make_experiment())
            spoiled.read("select ts_ms from events")

    with pytest.raises(StoreError, match="column ts_ms"):
        write()
    assert list_experiments(spoiled) == []


def test_columns_that_are_not_read_do_no_harm(spoiled: Store):
    spoil(spoiled, "payload", NOT_UTF8)
    assert spoiled.read("select sum(tokens_in)::bigint as n from events").item() == 30
