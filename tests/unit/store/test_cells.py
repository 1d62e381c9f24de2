"""Cells that do not have their column's type: found, named in the error, and harmless to the process."""

from __future__ import annotations

import random
import re
from typing import TYPE_CHECKING

import pytest
from store_cases import make_experiment, run_foreign

from kaizen_analytics.core.errors import StoreError, StoreWarning
from kaizen_analytics.ingest.checkpoints import load_checkpoints
from kaizen_analytics.store import Store, list_experiments, save_experiment
from kaizen_analytics.store.cells import BadCell, find_bad_cells
from kaizen_analytics.store.experiments import load_result
from kaizen_analytics.store.frames import read_events

if TYPE_CHECKING:
    from collections.abc import Callable
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
        assert list(find_bad_cells(spoiled)) == [BadCell("sessions", "model", 1, is_text=True)]
    else:
        spoil(spoiled, column, value)
        assert list(find_bad_cells(spoiled)) == [BadCell("events", column, 2, is_text=value == NOT_UTF8)]


def test_a_good_store_has_no_bad_cells(spoiled: Store):
    save_experiment(spoiled, make_experiment(name="it's ünï 😀"))
    spoil(spoiled, "tokens_in", "null")
    spoil(spoiled, "payload", "'a' || char(0) || 'b'")
    assert list(find_bad_cells(spoiled)) == []


@pytest.mark.parametrize(("column", "value"), [("ts_ms", "'yesterday'"), ("tokens_in", "1.5"), ("payload", "x'00ff'")])
def test_a_read_that_meets_a_bad_cell_names_table_column_and_row(spoiled: Store, column: str, value: str):
    spoil(spoiled, column, value)
    named = f"table events, column {column}, row 2.*'kaizen-analytics doctor --deep'"
    with pytest.raises(StoreError, match=named):
        spoiled.read(f"select {column} from events")
    assert spoiled.read("select seq from events order by seq")["seq"].to_list() == [0, 1, 2]


SAYS = r"in these cells: 1 of events\.payload\. 'kaizen-analytics doctor --deep'"


PAYLOADS = "select payload from events order by seq"


def read_frame(store: Store) -> list[str]:
    return store.read(PAYLOADS)["payload"].to_list()


def read_natively(store: Store) -> list[str | None]:
    return [text for (text,) in store.native(PAYLOADS)]


def read_in_a_snapshot(store: Store) -> list[str | None]:
    with store.snapshot():
        before = store.native("select count(*) from events")
        found = read_frame(store)
        assert store.native("select count(*) from events") == before
        assert read_natively(store) == found
        return found


@pytest.mark.parametrize("how", [read_frame, read_natively, read_in_a_snapshot])
def test_bytes_that_are_not_utf8_are_replaced_and_counted_once(
    spoiled: Store, how: Callable[[Store], list[str | None]]
):
    spoil(spoiled, "payload", NOT_UTF8)
    with pytest.warns(StoreWarning, match=SAYS) as told:
        found = how(spoiled)
    assert found == ["{}", "\ufffdA", "{}"]
    assert read_frame(spoiled) == found
    assert read_natively(spoiled) == found
    assert len(told) == 1


def test_what_no_scan_finds_is_text_all_the_same(store: Store, path: Path):
    run_foreign(path, f"insert into ka_digests values ('session', 's', {NOT_UTF8})")  # has no rowid
    with pytest.warns(StoreWarning):
        assert store.native("select digest from ka_digests") == [("\ufffdA",)]


def test_a_payload_that_is_not_utf8_keeps_what_can_be_read(spoiled: Store):
    spoil(spoiled, "payload", "cast(x'7b22726f6c65223a22ff227d' as text)")
    with pytest.warns(StoreWarning, match=SAYS):
        events = read_events(spoiled, ["s"])
    assert events["message_role"].to_list() == [None, "\ufffd", None]


def test_replacing_takes_the_bytes_that_python_would_replace(store: Store, path: Path):
    rng = random.Random(20261130)
    parts = [
        b"a",
        b"\xc3\xa9",
        b"\xe2\x82\xac",
        b"\xf0\x9f\x98\x80",
        b"\xed\xa0\x80",
        b"\xff",
        b"\xc0\xaf",
        b"\xe2",
        b"\x80",
    ]
    raw = [b"".join(rng.choices(parts, k=rng.randrange(1, 9))) + b"\xfe" for _ in range(300)]
    values = ", ".join(f"('{number:03d}', cast(x'{one.hex()}' as text))" for number, one in enumerate(raw))
    run_foreign(path, f"insert into ka_session_attributes (session_id, user) values {values}")
    with pytest.warns(StoreWarning, match=r"at least 100 of ka_session_attributes\.user\."):  # all are replaced
        found = store.read("select user from ka_session_attributes order by session_id")["user"].to_list()
    assert [_shorten(text) for text in found] == [_shorten(one.decode("utf-8", "replace")) for one in raw]


def _shorten(text: str) -> str:
    """Take several replacements in a row for one; programs count them differently."""
    return re.sub("\ufffd+", "\ufffd", text)


def test_the_error_names_the_cell_of_the_column_that_was_read(spoiled: Store):
    spoil(spoiled, "payload", NOT_UTF8)
    run_foreign(spoiled.path, "update events set tokens_in = 'x' where seq = 2")
    with pytest.raises(StoreError, match="column tokens_in, row 3"):
        spoiled.read("select sum(tokens_in) from events")


@pytest.mark.parametrize(
    ("column", "value", "error", "named"),
    [
        ("ts_ms", "'yesterday'", StoreError, "column ts_ms"),
        ("payload", NOT_UTF8, StoreError, "table events, column payload, row 2"),
    ],
)
def test_a_bad_cell_inside_a_write_block_undoes_the_block(
    spoiled: Store, column: str, value: str, error: type[StoreError], named: str
):
    spoil(spoiled, column, value)

    def write() -> None:
        with spoiled.write():
            save_experiment(spoiled, make_experiment())
            spoiled.read(f"select {column} from events")

    with pytest.raises(error, match=named):
        write()
    assert list_experiments(spoiled) == []


def test_columns_that_are_not_read_do_no_harm(spoiled: Store):
    spoil(spoiled, "payload", NOT_UTF8)
    assert spoiled.read("select sum(tokens_in)::bigint as n from events").item() == 30


@pytest.mark.parametrize(("column", "value"), [("mtime_ns", "'late'"), ("tally", "'{'"), ("state", "'7'")])
def test_a_checkpoint_that_was_changed_names_its_file(store: Store, column: str, value: str):
    row = "1, '/a.jsonl', 'codex', 's', 's', 1, 1, 1, '', 1, 1, 1, '{}', '{}', '{}'"
    run_foreign(store.path, f"insert into ka_files values ({row})")
    assert list(load_checkpoints(store)) == ["/a.jsonl"]
    run_foreign(store.path, f"update ka_files set {column} = {value}")
    with pytest.raises(StoreError, match=r"ka_files of '/a\.jsonl' holds a value that cannot be read"):
        load_checkpoints(store)


def test_a_conclusion_that_is_no_object_is_refused(store: Store):
    run_foreign(store.path, "insert into ka_results values ('e1', '17', 1)")
    with pytest.raises(StoreError, match="ka_results of 'e1' holds JSON that is no object but '17'"):
        load_result(store, "e1")
