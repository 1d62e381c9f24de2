"""Every metric of every session, from the mirror alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.columnar.parts import PART_SCHEMA
from kaizen_analytics.queries import SESSION_METRICS, check_schema, load_sql

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from kaizen_analytics.engines import Engine, ParquetFiles

ROLLUPS = {
    "metrics": "staging/session_roots.sql",
    "metrics_apart": "staging/session_selves.sql",
}
"""The rollups, and the query that says with which root a session is counted."""

SHARD_EVENTS = 2_000_000
"""About how many events one query works on; it holds a few hundred MB for them."""


def compute_rollups(
    engine: Engine,
    tables: Mapping[str, pl.DataFrame],
    keys: pl.DataFrame,
    parts: ParquetFiles | None,
) -> dict[str, pl.DataFrame]:
    """Return each of `ROLLUPS`."""
    if tables["sessions"]["parent_session_id"].is_null().all():
        # Without sub-agents there is nothing to tell apart.
        return dict.fromkeys(ROLLUPS, compute_metrics(engine, tables, keys, parts, "metrics_apart"))
    return {name: compute_metrics(engine, tables, keys, parts, name) for name in ROLLUPS}


def compute_metrics(
    engine: Engine,
    tables: Mapping[str, pl.DataFrame],
    keys: pl.DataFrame,
    parts: ParquetFiles | None,
    rollup: str,
) -> pl.DataFrame:
    """Return one of `ROLLUPS`: the columns of marts/session_metrics.sql, ordered by session id.

    The mart compares session ids and nothing else, so it runs on their numbers, several times faster than on text.
    """
    relations: dict[str, pl.DataFrame | ParquetFiles] = {
        "sessions": _number_sessions(tables["sessions"], keys),
        "files_touched": _number(tables["files_touched"], keys, "session_id"),
        "staged_events": parts or pl.DataFrame(schema=PART_SCHEMA),
    }
    roots = _local_roots(rollup, relations)
    mart = load_sql(SESSION_METRICS.path)
    shards = [engine.run(mart, {**relations, "session_roots": shard}) for shard in split_roots(roots, keys)]
    numbered = pl.concat(shards).rename({"session_id": "number"})
    names = keys.select("session_id", number="session_key")
    named = numbered.join(names, on="number", how="inner", validate="1:1").select(shards[0].columns)
    check_schema(SESSION_METRICS.path, named, SESSION_METRICS.schema)
    return named.sort("session_id")


def split_roots(roots: pl.DataFrame, keys: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Yield the rows of `session_roots` in shards of about `SHARD_EVENTS` events; a root is never divided.

    The mart reaches everything through `session_roots`, so a shard of it is a shard of the result.
    """
    sizes = keys.select(session_id="session_key", events="events")
    sized = roots.join(sizes, on="session_id", how="left", maintain_order="left").sort("root_id", maintain_order=True)
    shard = (pl.col("events").cum_sum() - pl.col("events")).max().over("root_id") // SHARD_EVENTS
    parts = sized.with_columns(shard.alias("shard")).partition_by("shard", include_key=False, maintain_order=True)
    for part in parts or [sized]:
        yield part.select("session_id", "root_id")


def _local_roots(rollup: str, relations: Mapping[str, pl.DataFrame | ParquetFiles]) -> pl.DataFrame:
    # Staging queries follow parents recursively, which not every engine can; sessions are few.
    from kaizen_analytics.engines import EmbeddedEngine

    return EmbeddedEngine().run(load_sql(ROLLUPS[rollup]), {"sessions": relations["sessions"]})


def _number(frame: pl.DataFrame, keys: pl.DataFrame, column: str) -> pl.DataFrame:
    numbers = keys.select(pl.col("session_id").alias(column), "session_key")
    joined = frame.join(numbers, on=column, how="left", maintain_order="left")
    return joined.with_columns(pl.col("session_key").alias(column)).drop("session_key")


def _number_sessions(sessions: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    return _number(_number(sessions, keys, "id"), keys, "parent_session_id").drop_nulls("id")
