"""The queries of sql/lake: of a session that several stores export, the events and files of one count."""

import polars as pl

from kaizen_analytics.engines import EmbeddedEngine
from kaizen_analytics.lake.schema import TABLES, TableName
from kaizen_analytics.queries import load_sql
from kaizen_analytics.redact.frames import frame_schema


def test_events_of_the_chosen_source_count() -> None:
    rows = [("m1", "a", 0, 5), ("m2", "a", 0, 7), ("m2", "a", 1, 8), ("m1", "b", 0, 9), ("m1", "c", 0, 1)]
    events = pl.DataFrame(
        [dict(zip(("source", "session_id", "seq", "tokens_in"), row, strict=True)) for row in rows],
        schema=frame_schema(TABLES[TableName.EVENTS].projection),
    )
    chosen = pl.DataFrame({"session_id": ["a", "b"], "source": ["m2", "m1"], "number": [4, 7]})
    found = EmbeddedEngine().run(load_sql("lake/chosen_events.sql"), {"lake_events": events, "chosen_sessions": chosen})
    assert sorted(found.select("session_id", "seq", "tokens_in").rows()) == [(4, 0, 7), (4, 1, 8), (7, 0, 9)]
    assert "source" not in found.columns


def test_files_of_the_chosen_source_count() -> None:
    files = pl.DataFrame(
        {"source": ["m1", "m2", "m2", "m1"], "session_id": ["a", "a", "b", "c"], "path": ["p", "q", "r", "s"]},
        schema=frame_schema(TABLES[TableName.FILES_TOUCHED].projection),
    )
    chosen = pl.DataFrame({"session_id": ["a", "b"], "source": ["m2", "m1"], "number": [4, 7]})
    found = EmbeddedEngine().run(load_sql("lake/chosen_files.sql"), {"lake_files": files, "chosen_sessions": chosen})
    assert found.rows() == [(4, "q")]
