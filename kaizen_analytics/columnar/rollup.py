"""Every metric of every session, from the mirror alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.columnar.parts import PART_SCHEMA
from kaizen_analytics.queries import SESSION_METRICS, check_schema, load_sql

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from kaizen_analytics.engines import Engine, ParquetFiles

_TOGETHER, _APART = "metrics", "metrics_apart"

ROLLUPS = {_TOGETHER: "staging/session_roots.sql", _APART: "staging/session_selves.sql"}
"""The rollups, and the query that says with which root a session is counted."""

SHARD_EVENTS = 2_000_000
"""About how many events one query works on; it holds a few hundred MB for them."""


INPUTS = ("sessions", "files_touched", "keys")
"""The tables that a rollup depends on, besides the events that `keys` leads to."""

_UPDATED_SHARE = 0.3
_LINEAGE = ("id", "parent_session_id")


def compute_rollups(
    engine: Engine,
    tables: Mapping[str, pl.DataFrame],
    parts: ParquetFiles | None,
    former: Mapping[str, pl.DataFrame] | None,
) -> dict[str, pl.DataFrame]:
    """Return each of `ROLLUPS`.

    Args:
        engine: Where the mart runs.
        tables: The tables `INPUTS`.
        parts: The events, None for none.
        former: The same tables and the rollups of the former state; only what differs is computed again.
    """

    def compute(roots: pl.DataFrame) -> pl.DataFrame:
        return compute_metrics(engine, tables, parts, roots)

    def compute_trees(roots: pl.DataFrame) -> pl.DataFrame:
        """Compute the roots that have sub-agents; the others are in `apart`, where the same row is theirs."""
        has_agents = pl.len().over("root_id") > 1
        alone = apart.filter(pl.col("session_id").is_in(roots.filter(~has_agents)["root_id"].implode()))
        trees = roots.filter(has_agents)
        return alone if trees.is_empty() else pl.concat([alone, compute(trees)]).sort("session_id")

    if former is None:
        apart = compute(find_roots(_APART, tables["sessions"]))
        return {_APART: apart, _TOGETHER: compute_trees(find_roots(_TOGETHER, tables["sessions"]))}
    changed = find_changed(former, tables)
    apart = _update(former, tables, changed, _APART, compute)
    return {_APART: apart, _TOGETHER: _update(former, tables, changed, _TOGETHER, compute_trees)}


def find_changed(former: Mapping[str, pl.DataFrame], tables: Mapping[str, pl.DataFrame]) -> pl.Series:
    """Return the ids of the sessions with a row in `INPUTS` that is new, gone or different.

    A session whose events changed has another number in `keys`.
    """
    ids = [find_differing(former[name], tables[name]).to_series(0).rename("id") for name in INPUTS]
    return pl.concat(ids).unique()


def find_differing(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that only one of two frames has."""

    def only_in(left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
        return left.join(right, on=left.columns, how="anti", nulls_equal=True)

    return pl.concat([only_in(one, other), only_in(other, one)])


def _update(
    former: Mapping[str, pl.DataFrame],
    tables: Mapping[str, pl.DataFrame],
    changed: pl.Series,
    rollup: str,
    compute: Callable[[pl.DataFrame], pl.DataFrame],
) -> pl.DataFrame:
    """Return a rollup: the former rows, but for the roots that a changed session belongs or belonged to."""
    if changed.is_empty():
        return former[rollup]
    before = after = find_roots(rollup, tables["sessions"])
    if not former["sessions"].select(_LINEAGE).equals(tables["sessions"].select(_LINEAGE)):
        before = find_roots(rollup, former["sessions"])
    moved = pl.concat([find_differing(before, after)["session_id"], changed.rename("session_id")])
    both = pl.concat([before, after])
    stale = both.filter(pl.col("session_id").is_in(moved.implode()))["root_id"].unique()
    if stale.len() > after["root_id"].n_unique() * _UPDATED_SHARE:
        return compute(after)
    kept = former[rollup].filter(~pl.col("session_id").is_in(stale.implode()))
    computed = compute(after.filter(pl.col("root_id").is_in(stale.implode())))
    return pl.concat([kept, computed]).sort("session_id")


def compute_metrics(
    engine: Engine,
    tables: Mapping[str, pl.DataFrame],
    parts: ParquetFiles | None,
    roots: pl.DataFrame,
) -> pl.DataFrame:
    """Return the metrics of the roots in `roots`: the columns of marts/session_metrics.sql, ordered by session id.

    The mart compares session ids and nothing else, so it runs on their numbers, several times faster than on text.

    Args:
        engine: Where the mart runs.
        tables: The tables `INPUTS`.
        parts: The events, None for none.
        roots: What `find_roots` returned, or all rows of some of its roots.
    """
    keys = tables["keys"]
    relations: dict[str, pl.DataFrame | ParquetFiles] = {
        "sessions": _number_sessions(tables["sessions"], keys),
        "files_touched": _number(tables["files_touched"], keys, "session_id"),
        "staged_events": parts or pl.DataFrame(schema=PART_SCHEMA),
    }
    numbered_roots = _number(_number(roots, keys, "session_id"), keys, "root_id")
    mart = load_sql(SESSION_METRICS.path)
    shards = [engine.run(mart, {**relations, "session_roots": shard}) for shard in split_roots(numbered_roots, keys)]
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


def find_roots(rollup: str, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the root that each session is counted with in a rollup: `session_id`, `root_id`."""
    # Staging queries follow parents recursively, which not every engine can; sessions are few.
    from kaizen_analytics.engines import EmbeddedEngine

    return EmbeddedEngine().run(load_sql(ROLLUPS[rollup]), {"sessions": sessions.drop_nulls("id")})


def _number(frame: pl.DataFrame, keys: pl.DataFrame, column: str) -> pl.DataFrame:
    numbers = keys.select(pl.col("session_id").alias(column), "session_key")
    joined = frame.join(numbers, on=column, how="left", maintain_order="left")
    return joined.with_columns(pl.col("session_key").alias(column)).drop("session_key")


def _number_sessions(sessions: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    return _number(_number(sessions, keys, "id"), keys, "parent_session_id").drop_nulls("id")
