"""Every metric of every session, from the mirror alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.columnar.parts import PART_SCHEMA
from kaizen_analytics.engines import EmbeddedEngine, ParquetFiles
from kaizen_analytics.queries import SESSION_METRICS, Query, check_schema

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ROLLUPS = {
    "metrics": "staging/session_roots.sql",
    "metrics_apart": "staging/session_selves.sql",
}
"""The rollups, and the query that says with which root a session is counted."""


def compute_metrics(
    tables: Mapping[str, pl.DataFrame],
    keys: pl.DataFrame,
    parts: ParquetFiles | None,
    folder: Path,
) -> dict[str, pl.DataFrame]:
    """Return each of `ROLLUPS`: the columns of marts/session_metrics.sql, ordered by session id.

    The mart compares session ids and nothing else, so it runs on their numbers, several times faster than on text.
    """
    relations: dict[str, pl.DataFrame | ParquetFiles] = {
        "sessions": _number_sessions(tables["sessions"], keys),
        "files_touched": _number(tables["files_touched"], keys, "session_id"),
        "staged_events": parts or pl.DataFrame(schema=PART_SCHEMA),
    }
    engine = EmbeddedEngine(spill_folder=folder)
    if tables["sessions"]["parent_session_id"].is_null().all():
        # Without sub-agents there is nothing to tell apart.
        return dict.fromkeys(ROLLUPS, _compute(engine, relations, ROLLUPS["metrics_apart"], keys))
    return {name: _compute(engine, relations, roots, keys) for name, roots in ROLLUPS.items()}


def _compute(
    engine: EmbeddedEngine,
    relations: Mapping[str, pl.DataFrame | ParquetFiles],
    roots: str,
    keys: pl.DataFrame,
) -> pl.DataFrame:
    query = Query(path=SESSION_METRICS.path, schema=SESSION_METRICS.schema, reads={"session_roots": roots})
    numbered = engine.run(query.text(), relations)
    names = keys.select("session_id", number="session_key")
    named = (
        numbered.rename({"session_id": "number"})
        .join(names, on="number", how="inner", validate="1:1")
        .select(numbered.columns)
        .sort("session_id")
    )
    check_schema(SESSION_METRICS.path, named, SESSION_METRICS.schema)
    return named


def _number(frame: pl.DataFrame, keys: pl.DataFrame, column: str) -> pl.DataFrame:
    numbers = keys.select(pl.col("session_id").alias(column), "session_key")
    joined = frame.join(numbers, on=column, how="left", maintain_order="left")
    return joined.with_columns(pl.col("session_key").alias(column)).drop("session_key")


def _number_sessions(sessions: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    return _number(_number(sessions, keys, "id"), keys, "parent_session_id").drop_nulls("id")
