"""The queries of sql/lake: of a session that several stores export, the events and files of one count."""

import polars as pl

from kaizen_analytics.core.settings import load_sql
from kaizen_analytics.exports.columns import LAKE_TABLES, LakeTable
from kaizen_analytics.exports.engines import EmbeddedEngine
from kaizen_analytics.store.frames import _EVENT_SCHEMA


def test_events_of_the_chosen_source_count() -> None:
    rows = [("m1", "a", 0, 5), ("m2", "a", 0, 7), ("m2", "a", 1, 8), ("m1", "b", 0, 9), ("m1", "c", 0, 1)]
    events = pl.DataFrame(
        [dict(zip(("source", "session_id", "seq", "tokens_in"), row, strict=True)) for row in rows],
        schema=LAKE_TABLES[LakeTable.EVENTS].schema,
    )
    chosen = pl.DataFrame({"session_id": ["a", "b"], "source": ["m2", "m1"], "number": [4, 7]})
    found = EmbeddedEngine().run(load_sql("lake/chosen_events.sql"), {"lake_events": events, "chosen_sessions": chosen})
    assert sorted(found.select("session_id", "seq", "tokens_in").rows()) == [(4, 0, 7), (4, 1, 8), (7, 0, 9)]
    assert "source" not in found.columns


def test_files_of_the_chosen_source_count() -> None:
    files = pl.DataFrame(
        {"source": ["m1", "m2", "m2", "m1"], "session_id": ["a", "a", "b", "c"], "path": ["p", "q", "r", "s"]},
        schema=LAKE_TABLES[LakeTable.FILES_TOUCHED].schema,
    )
    chosen = pl.DataFrame({"session_id": ["a", "b"], "source": ["m2", "m1"], "number": [4, 7]})
    found = EmbeddedEngine().run(load_sql("lake/chosen_files.sql"), {"lake_files": files, "chosen_sessions": chosen})
    assert found.rows() == [(4, "q")]


EVENT = dict.fromkeys(_EVENT_SCHEMA)


def checks(*rows: dict[str, object]) -> dict[str, tuple[int, int]]:
    events = pl.DataFrame([{**EVENT, **row} for row in rows], schema=_EVENT_SCHEMA)
    found = EmbeddedEngine().run(load_sql("lake/session_checks.sql"), {"staged_events": events})
    return {session: (count, check) for session, count, check in found.iter_rows()}


def test_session_checks_see_every_cell_and_no_order() -> None:
    one, two = {"session_id": "a", "seq": 0, "tokens_in": 1}, {"session_id": "a", "seq": 1, "tokens_in": 2}
    assert checks(one, two) == checks(two, one)
    assert checks(one, two)["a"][0] == 2
    swapped = checks({**one, "tokens_in": 2}, {**two, "tokens_in": 1})
    assert swapped["a"] != checks(one, two)["a"]
    changed = [checks({**one, name: 7}) for name in ("ts_ms", "tokens_out", "is_error")]
    assert len({check["a"] for check in [checks(one), *changed]}) == 4
