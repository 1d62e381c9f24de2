"""What is measured, each in a process of its own that prints what it took inside and a digest of its answer.

    python -m benchmarks.workloads NAME STORE

Imports and process start are left out of the times printed here; the peak memory is that of the whole process.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.model import Metric

if TYPE_CHECKING:
    from collections.abc import Callable

_USAGE = "coalesce(tokens_in, tokens_out, reasoning_tokens, cache_creation_tokens, cache_read_tokens) is not null"
_TOKENS = ("tokens_in", "cache_creation_tokens", "tokens_out", "reasoning_tokens")
_NEW = " + ".join(f"ifnull(sum({column}), 0)" for column in _TOKENS)
_KNOWN = " or ".join(f"max({column}) is not null" for column in _TOKENS)
_INPUT = "ifnull(sum(tokens_in), 0) + ifnull(sum(cache_creation_tokens), 0) + ifnull(sum(cache_read_tokens), 0)"
_COST = f"case when max({_USAGE}) = 1 and sum({_USAGE} and cost_usd_e6 is null) = 0 then sum(cost_usd_e6) / 1e6 end"
_PROMPTS = (
    "case when sum(kind = 'Message' and (json_extract(payload, '$.prompt') = 1 or "
    f"({_USAGE} and json_extract(payload, '$.role') = 'assistant'))) > 0 then "
    "sum(kind = 'Message' and ifnull(json_extract(payload, '$.prompt'), 0) = 1) end"
)
_EVENTS = "select session_id, {value} from events group by session_id"

# What a program without columns does: one query for each metric over the table, sub-agents apart.
SQLITE_QUERIES: dict[Metric, str] = {
    Metric.TOKENS_PER_SESSION: _EVENTS.format(value=f"case when {_KNOWN} then {_NEW} end"),
    Metric.TOTAL_TOKENS_PER_SESSION: _EVENTS.format(
        value=f"case when {_KNOWN} or max(cache_read_tokens) is not null "
        f"then {_NEW} + ifnull(sum(cache_read_tokens), 0) end"
    ),
    Metric.COST_PER_SESSION: _EVENTS.format(value=_COST),
    Metric.SUCCESS_RATE: _EVENTS.format(value="sum(kind = 'Error') = 0"),
    Metric.TOOL_LOOPS: "select session_id, sum(ifnull(tool = before, 0)) from (select session_id, tool, lag(tool) over "
    "(partition by session_id order by ts_ms, seq) as before from events where kind = 'ToolCall') group by session_id",
    Metric.DURATION_MINUTES: "select id, (ended_at_ms - started_at_ms) / 6e4 from sessions",
    Metric.ACTIVE_MINUTES: "select session_id, sum(min(gap_ms, 300000)) / 6e4 from (select session_id, ts_ms - "
    "lag(ts_ms) over (partition by session_id order by ts_ms) as gap_ms from events where ts_exact = 1) "
    "where gap_ms is not null group by session_id",
    Metric.FILES_PER_SESSION: "select s.id, count(distinct f.path) from sessions as s left join files_touched as f on "
    "f.session_id = s.id group by s.id",
    Metric.SUCCESS_RATE_BY_PROMPT: f"select session_id, case when prompts > 0 then max(1.0 - cast(errors as real) / "
    "prompts, 0.0) end from ("
    f"select session_id, {_PROMPTS} as prompts, sum(kind = 'Error') as errors from events group by session_id)",
    Metric.COST_BY_PROMPT: f"select session_id, cost / nullif(prompts, 0) from (select session_id, {_PROMPTS} as "
    f"prompts, {_COST} as cost from events group by session_id)",
    Metric.TOOL_ERROR_RATE: "select session_id, avg(failed) from (select session_id, case when kind = 'ToolResult' "
    "then json_extract(payload, '$.is_error') end as failed from events) group by session_id",
    Metric.CACHE_HIT_RATE: _EVENTS.format(value=f"cast(sum(cache_read_tokens) as real) / nullif({_INPUT}, 0)"),
    Metric.PROMPTS_PER_SESSION: _EVENTS.format(value=_PROMPTS),
}


def sqlite_each(path: Path) -> pl.DataFrame:
    """Every metric by a SQLite query of its own."""
    connection = sqlite3.connect(path)
    frame = pl.DataFrame(connection.execute("select id from sessions").fetchall(), schema=["session_id"], orient="row")
    for metric, sql in SQLITE_QUERIES.items():
        rows = connection.execute(sql).fetchall()
        column = pl.DataFrame(rows, schema={"session_id": pl.String, metric.column: pl.Float64}, orient="row")
        frame = frame.join(column, on="session_id", how="left")
    connection.close()
    return frame


def store_query(path: Path) -> pl.DataFrame:
    """Every metric in one query on the store itself, without the mirror."""
    from kaizen_analytics.queries import SESSION_METRICS_APART
    from kaizen_analytics.store import Store

    with Store.open(path, read_only=True) as store:
        return SESSION_METRICS_APART.run(store)


def mirror_build(path: Path) -> None:
    """The mirror from nothing."""
    from kaizen_analytics.columnar import refresh

    refresh(path, anew=True)


def mirror_refresh(path: Path) -> None:
    """The mirror after a change of the store."""
    from kaizen_analytics.columnar import refresh

    refresh(path)


def mirror_compare(path: Path) -> None:
    """A comparison of every event, after a change that touched none."""
    from kaizen_analytics.columnar import refresh

    os.utime(path)
    refresh(path, compare_whole=True)


def mirror_metrics(path: Path) -> pl.DataFrame:
    """Every metric from the events of the mirror."""
    from kaizen_analytics.columnar import session_metrics
    from kaizen_analytics.engines import EmbeddedEngine

    return session_metrics(path, rollup=False, engine=EmbeddedEngine())


def mirror_rollup(path: Path) -> pl.DataFrame:
    """Every metric from the rollup of the mirror."""
    from kaizen_analytics.columnar import session_metrics

    return session_metrics(path, rollup=False)


def mirror_scan(path: Path) -> None:
    """The engine of the metrics reads every column of the mirror's events once: what they cost it at least."""
    from kaizen_analytics.columnar import read_mirror
    from kaizen_analytics.engines import EmbeddedEngine, ParquetFiles

    # A condition on a row, or the engine would answer from what the files say of their columns.
    sql = "select max(columns(*)) from (select * from staged_events where seq >= 0)"
    read_mirror(path, lambda mirror: EmbeddedEngine().run(sql, {"staged_events": ParquetFiles(tuple(mirror.parts()))}))


def polars_scan(path: Path) -> None:
    """Polars reads every column of the mirror's events once."""
    from kaizen_analytics.columnar import read_mirror

    read_mirror(
        path,
        lambda mirror: pl.scan_parquet(mirror.parts(), glob=False).select(pl.all().max()).collect(engine="streaming"),
    )


WORKLOADS: dict[str, Callable[[Path], pl.DataFrame | None]] = {
    function.__name__: function
    for function in (
        sqlite_each,
        store_query,
        mirror_build,
        mirror_refresh,
        mirror_compare,
        mirror_metrics,
        mirror_rollup,
        mirror_scan,
        polars_scan,
    )
}


@functools.singledispatch
def digest(answer: object) -> str | None:
    """Return a digest of a frame's metrics, every digit, or None for no frame."""
    return None if answer is None else str(answer)


@digest.register
def _(answer: pl.DataFrame) -> str:
    ordered = answer.select("session_id", *(metric.column for metric in Metric)).sort("session_id")
    return hashlib.blake2b(ordered.write_csv().encode(), digest_size=8).hexdigest()


def main() -> None:
    """Run the workload that the command line names."""
    name, path = sys.argv[1:]
    function, store_path = WORKLOADS[name], Path(path)
    import duckdb  # noqa: F401 - imported before the clock starts, as is what these import late
    import pyarrow.parquet  # noqa: F401

    import kaizen_analytics.columnar.build
    import kaizen_analytics.engines  # noqa: F401

    wall, cpu = time.perf_counter(), time.process_time()
    answer = function(store_path)
    print(
        json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "digest": digest(answer)})
    )


if __name__ == "__main__":
    main()
