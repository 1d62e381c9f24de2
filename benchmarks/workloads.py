"""What is measured, each in a process of its own that prints what it took inside and a digest of its answer.

    python -m benchmarks.workloads NAME STORE

Imports and process start are left out of the times printed here; the peak memory is that of the whole process.
"""

from __future__ import annotations

import hashlib
import json
import sqlite3
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.model import Metric
from kaizen_analytics.store import Store
from kaizen_analytics.store.frames import session_metrics

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
    """Every metric by the one query of this package."""
    with Store.open(path, read_only=True) as store:
        return session_metrics(store, rollup=False)


WORKLOADS: dict[str, Callable[[Path], pl.DataFrame]] = {
    function.__name__: function for function in (sqlite_each, store_query)
}


def digest(answer: pl.DataFrame) -> str:
    """Return a digest of a frame's metrics, every digit."""
    ordered = answer.select("session_id", *(metric.column for metric in SQLITE_QUERIES)).sort("session_id")
    return hashlib.blake2b(ordered.write_csv().encode(), digest_size=8).hexdigest()


def main() -> None:
    """Run the workload that the command line names."""
    name, path = sys.argv[1:]
    function, store_path = WORKLOADS[name], Path(path)
    import duckdb  # noqa: F401 - imported before the clock starts

    wall, cpu = time.perf_counter(), time.process_time()
    answer = function(store_path)
    print(
        json.dumps({"wall_s": time.perf_counter() - wall, "cpu_s": time.process_time() - cpu, "digest": digest(answer)})
    )


if __name__ == "__main__":
    main()
