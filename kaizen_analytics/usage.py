"""What was used: tokens and cost by any two keys, tools with their seconds, and the course of one session.

Nothing is counted twice: the five token columns are disjoint and only responses carry them. A response counts at its
own time and under its own model; a sub-agent's responses count with the session that started it.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.errors import ConfigError, did_you_mean
from kaizen_analytics.core.folders import folder_prefix, in_folders
from kaizen_analytics.core.model import WorkUnit
from kaizen_analytics.core.queries import Query, columns, unit_of_work
from kaizen_analytics.core.settings import check_timezone
from kaizen_analytics.core.times import CALENDAR_MS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.core.queries import Reader

TOKEN_COLUMNS = ("tokens_in", "cache_creation_tokens", "cache_read_tokens", "tokens_out", "reasoning_tokens")
"""Disjoint: input outside any cache, written to and read from a cache, output, reasoning."""
_NEW_TOKEN_COLUMNS = tuple(name for name in TOKEN_COLUMNS if name != "cache_read_tokens")
"""What the model newly processed or wrote: the columns of the metric `tokens_per_session`."""

_WINDOWS_MS = {"window": 5 * 3_600_000, "weekly_window": 7 * 86_400_000}
"""The windows after which the plans of Claude Code and Codex allow more use."""

_PERIODS = {"day": "1d", "week": "1w", "month": "1mo"}
_ATTRIBUTES = (
    "agent",
    "model",
    "workspace",
    "branch",
    "pull_request",
    "task",
    "user",
    "organisation",
    "session",
)
_COLUMN_OF = {"branch": "branch_then", "model": "model_name", "user": "user_name", "session": "session_id"}
_KEYS = (*_PERIODS, *_WINDOWS_MS, "group", *_ATTRIBUTES)
"""What usage can be grouped by."""

RESPONSES = Query(
    path="usage/responses.sql",
    schema=columns(
        text="session_id agent model_name workspace branch branch_then pull_request user_name organisation",
        whole=" ".join(("ts_ms", *TOKEN_COLUMNS, "cost_usd_e6")),
        flag="is_unreliable",
    ),
    reads={"session_roots": "staging/session_roots.sql"},
)
"""Every response of a period: when, whose, and what it used; `branch` is its session's, `branch_then` its own."""

TOOL_CALLS = Query(
    path="usage/tool_calls.sql",
    schema={**columns(text="session_id tool", whole="ts_ms", number="seconds"), "is_error": pl.Int32()},
    reads={"session_roots": "staging/session_roots.sql", "tool_results": "staging/tool_results.sql"},
)
"""Every tool call of a period, with its outcome and the seconds until its result."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which responses and calls count; None leaves nothing out. Times are milliseconds since the Unix epoch."""

    since_ms: int | None = None
    until_ms: int | None = None
    workspace: str | None = None
    agent: str | None = None

    def read(self, query: Query, reader: Reader, **parameters: object) -> pl.DataFrame:
        """Return the rows of a query in `sql/usage/`; `parameters` are those that it takes besides."""
        return query.run(
            reader,
            since_ms=self.since_ms,
            until_ms=self.until_ms,
            folder=folder_prefix(self.workspace),
            agent=self.agent,
            **parameters,
        )

    def select(self, sessions: pl.DataFrame) -> pl.DataFrame:
        """Return the sessions that started in the period, by their start."""
        conditions = [in_folders([] if self.workspace is None else [self.workspace])]
        conditions += [pl.col("started_at_ms") >= self.since_ms] if self.since_ms is not None else []
        conditions += [pl.col("started_at_ms") < self.until_ms] if self.until_ms is not None else []
        conditions += [pl.col("agent") == self.agent] if self.agent is not None else []
        return sessions.filter(*conditions).sort("started_at_ms", "session_id")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Budget:
    """What a period may cost, what it has cost, and what it will cost at the same rate. US dollars."""

    budget_usd: float
    spent_usd: float
    forecast_usd: float
    unpriced_responses: int

    @property
    def will_be_passed(self) -> bool:
        """Whether the forecast lies above the budget."""
        return self.forecast_usd > self.budget_usd


def compute_usage(
    responses: pl.DataFrame,
    by: Sequence[str],
    *,
    timezone: str,
    groups: Mapping[str, Sequence[str]] = MappingProxyType({}),
) -> pl.DataFrame:
    """Return tokens and cost, one row per group that has a response; see `Analysis.usage` for the columns.

    Args:
        responses: Rows of `RESPONSES`.
        by: Names out of `_KEYS`. `day`, `week` (its Monday) and `month` (its first day) are dates in the time zone;
            `window` and `weekly_window` are the starts of windows of 5 hours and 7 days, times in it.
        groups: For the key `group`: the folders of each group; a folder in no group is null.

    Raises:
        ConfigError: `by` is empty or names something else or a name twice, or the time zone does not exist.

    >>> row = dict.fromkeys(RESPONSES.schema) | {"session_id": "s", "ts_ms": 1_789_344_000_000, "tokens_in": 5}
    >>> compute_usage(pl.DataFrame([row], schema=RESPONSES.schema), ["day"], timezone="Asia/Tokyo")["tokens_in"].item()
    5
    """
    check_keys(by)
    check_timezone(timezone)
    grouped = responses.with_columns(_key(name, responses, timezone, groups) for name in by)
    return (
        grouped.group_by(*by).agg(*_sums()).with_columns(_new_tokens()).select(*by, *_COLUMNS).sort(by, nulls_last=True)
    )


def compute_total(responses: pl.DataFrame) -> pl.DataFrame:
    """Return one row with the sums of `compute_usage` over all responses.

    >>> compute_total(pl.DataFrame(schema=RESPONSES.schema))["responses"].item()
    0
    """
    return responses.select(*_sums()).with_columns(_new_tokens()).select(*_COLUMNS)


def compute_tools(calls: pl.DataFrame) -> pl.DataFrame:
    """Return one row per tool, most called first; see `Analysis.tools` for the columns.

    >>> call = {"session_id": "s", "ts_ms": 0, "tool": "Read", "is_error": 0, "seconds": 0.5}
    >>> compute_tools(pl.DataFrame([call], schema=TOOL_CALLS.schema))["median_seconds"].item()
    0.5
    """
    known = pl.col("is_error").is_not_null()
    return (
        calls.group_by("tool")
        .agg(
            pl.len().cast(pl.Int64).alias("calls"),
            pl.col("session_id").n_unique().cast(pl.Int64).alias("sessions"),
            known.sum().cast(pl.Int64).alias("known_results"),
            (pl.col("is_error") == 1).sum().cast(pl.Int64).alias("failures"),
            pl.col("seconds").median().alias("median_seconds"),
            pl.col("seconds").quantile(0.95, "linear").alias("p95_seconds"),
        )
        .with_columns((pl.col("failures") / pl.col("known_results")).fill_nan(None).alias("error_share"))
        .select(
            "tool", "calls", "sessions", "known_results", "failures", "error_share", "median_seconds", "p95_seconds"
        )
        .sort("calls", "tool", descending=[True, False])
    )


def compute_budget(responses: pl.DataFrame, budget_usd: float, *, start_ms: int, end_ms: int, now_ms: int) -> _Budget:
    """Return what a period from `start_ms` to `end_ms` has cost by now, and will cost at the same rate.

    Raises:
        ConfigError: the budget is not positive, or the period has not begun.

    >>> empty = pl.DataFrame(schema=RESPONSES.schema)
    >>> compute_budget(empty, 200, start_ms=0, end_ms=10, now_ms=5).forecast_usd
    0.0
    """
    if not budget_usd > 0:
        raise ConfigError(f"The budget is {budget_usd:g}; expected a positive number of US dollars.")
    if now_ms <= start_ms:
        raise ConfigError("The budget's period has not begun; give an earlier --since.")
    within = responses.filter(pl.col("ts_ms").is_between(start_ms, min(now_ms, end_ms), closed="left"))
    spent_usd = int(within["cost_usd_e6"].sum()) / 1e6
    elapsed = min(now_ms, end_ms) - start_ms
    return _Budget(
        budget_usd=budget_usd,
        spent_usd=spent_usd,
        forecast_usd=spent_usd * (end_ms - start_ms) / elapsed,
        unpriced_responses=within["cost_usd_e6"].null_count(),
    )


def check_keys(by: Sequence[str]) -> None:
    """Raise `ConfigError` unless `by` holds different names out of `_KEYS`.

    >>> check_keys(["day", "model"])
    """
    if isinstance(by, str) or not by or len(set(by)) < len(by):
        raise ConfigError(f'Usage is grouped by {by!r}; expected different names, such as by=["day", "model"].')
    for name in by:
        if name not in _KEYS:
            raise ConfigError(f"Usage is grouped by {', '.join(_KEYS)}, not by {name!r}.{did_you_mean(name, _KEYS)}")


def _local_time(column: str | pl.Expr, timezone: str) -> pl.Expr:
    """Return the wall-clock time in a zone of a column of milliseconds since the epoch; null beyond the calendar."""
    at_ms = pl.col(column) if isinstance(column, str) else column
    known = pl.when(at_ms.is_between(CALENDAR_MS.start, CALENDAR_MS.stop, closed="left")).then(at_ms)
    moment = pl.from_epoch(known, time_unit="ms").dt.replace_time_zone("UTC")
    return moment.dt.convert_time_zone(timezone).dt.replace_time_zone(None, ambiguous="earliest")


def compute_timeline(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events of one session with what it had used by then; see `Analysis.timeline` for the columns.

    >>> row = {"ts_ms": 0, "kind": "Message", "tool": None, "is_prompt": 0, "is_error": 0, "cost_usd_e6": 500_000}
    >>> row |= {"seq": 0} | dict.fromkeys(_NEW_TOKEN_COLUMNS, 10)
    >>> compute_timeline(pl.DataFrame([row, row | {"seq": 1, "ts_ms": 60_000}]))["cost_usd_so_far"].to_list()
    [0.5, 1.0]
    """
    ordered = events.sort("seq")
    cost_usd = pl.col("cost_usd_e6") / 1e6
    return ordered.select(
        "seq",
        ((pl.col("ts_ms") - pl.col("ts_ms").min()) / 60_000).alias("minute"),
        "kind",
        "tool",
        (pl.col("is_prompt") == 1).fill_null(value=False).alias("is_prompt"),
        (pl.col("is_error") == 1).alias("is_error"),
        _new_tokens(),
        cost_usd.alias("cost_usd"),
        _new_tokens().fill_null(0).cum_sum().alias("new_tokens_so_far"),
        cost_usd.fill_null(0.0).cum_sum().alias("cost_usd_so_far"),
    )


_COLUMNS = (
    "sessions",
    "responses",
    "unpriced_responses",
    "unreliable_responses",
    *TOKEN_COLUMNS,
    "new_tokens",
    "cost_usd",
    "priced_share",
)


def _sums() -> tuple[pl.Expr, ...]:
    tokens = pl.sum_horizontal(pl.col(name).fill_null(0) for name in TOKEN_COLUMNS)
    priced = tokens.filter(pl.col("cost_usd_e6").is_not_null()).sum() / tokens.sum()
    return (
        pl.col("session_id").n_unique().cast(pl.Int64).alias("sessions"),
        pl.len().cast(pl.Int64).alias("responses"),
        pl.col("cost_usd_e6").is_null().sum().cast(pl.Int64).alias("unpriced_responses"),
        pl.col("is_unreliable").sum().cast(pl.Int64).alias("unreliable_responses"),
        *(known_sum(name).alias(name) for name in TOKEN_COLUMNS),
        (known_sum("cost_usd_e6") / 1e6).alias("cost_usd"),
        priced.fill_nan(None).alias("priced_share"),
    )


def _new_tokens() -> pl.Expr:
    new = pl.sum_horizontal(pl.col(name).fill_null(0) for name in _NEW_TOKEN_COLUMNS)
    return (
        pl.when(pl.any_horizontal(pl.col(name).is_not_null() for name in _NEW_TOKEN_COLUMNS))
        .then(new)
        .alias("new_tokens")
    )


def _key(name: str, responses: pl.DataFrame, timezone: str, groups: Mapping[str, Sequence[str]]) -> pl.Expr:
    if name in _WINDOWS_MS:
        starts = _window_starts(responses["ts_ms"], _WINDOWS_MS[name])
        start = pl.col("ts_ms").replace_strict(starts, return_dtype=pl.Int64)
        return _local_time(start, timezone).alias(name)
    if name == "group":
        inside = (pl.when(in_folders(folders)).then(pl.lit(group)) for group, folders in groups.items())
        return pl.coalesce(*inside, pl.lit(None, dtype=pl.String)).alias(name)
    if name == "task":
        return unit_of_work(WorkUnit.TASK).alias(name)
    if name in _ATTRIBUTES:
        return pl.col(_COLUMN_OF.get(name, name)).alias(name)
    return _local_time("ts_ms", timezone).dt.truncate(_PERIODS[name]).dt.date().alias(name)


def _window_starts(times: pl.Series, length_ms: int) -> dict[int, int]:
    """Return the start of the window of each time: the full hour of its first response."""
    starts: dict[int, int] = {}
    start = -length_ms
    for ts_ms in times.unique().sort():
        if ts_ms - start >= length_ms:
            start = ts_ms // 3_600_000 * 3_600_000
        starts[ts_ms] = start
    return starts


def known_sum(name: str) -> pl.Expr:
    """Return the sum of a column that is null, not 0, where no value is known.

    >>> pl.DataFrame({"a": [1, None], "b": [None, None]}).select(known_sum("a"), known_sum("b")).row(0)
    (1, None)
    """
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum())
