"""What was used, added up from events: tokens and cost, tools, and the course of one session. Pure Polars.

`events` are staged events (sql/staging/events.sql), `sessions` one row per session with its `id`. Nothing is counted
twice: the five token columns are disjoint and only responses carry them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.errors import ConfigError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence

TOKEN_COLUMNS = ("tokens_in", "cache_creation_tokens", "cache_read_tokens", "tokens_out", "reasoning_tokens")
"""Disjoint: input outside any cache, written to and read from a cache, output, reasoning."""
NEW_TOKEN_COLUMNS = tuple(name for name in TOKEN_COLUMNS if name != "cache_read_tokens")
"""What the model newly processed or wrote: the columns of the metric `tokens_per_session`."""

_TIMES = {"day": "1d", "week": "1w", "month": "1mo"}
_ATTRIBUTES = ("agent", "model", "workspace", "branch", "user", "organisation", "session_id")
GROUPS = (*_TIMES, *_ATTRIBUTES)
"""What usage can be grouped by: the time of a response in UTC (a week begins on Monday), or a column of its session."""


def compute_costs(events: pl.LazyFrame, sessions: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """Return tokens and cost, one row per group, ordered by the groups; see `Analysis.costs` for the columns.

    Raises:
        ConfigError: `by` names something else than `GROUPS`, or a name twice.
    """
    groups = [_group(name) for name in _check_groups(by)]
    has_usage = pl.any_horizontal(pl.col(name).is_not_null() for name in TOKEN_COLUMNS)
    responses = events.filter(has_usage).join(_owners(sessions), on="session_id", how="inner")
    new = pl.sum_horizontal(pl.col(name).fill_null(0) for name in NEW_TOKEN_COLUMNS)
    any_new = pl.any_horizontal(pl.col(name).is_not_null() for name in NEW_TOKEN_COLUMNS)
    return (
        responses.group_by(*groups)
        .agg(
            pl.col("session_id").n_unique().cast(pl.Int64).alias("sessions"),
            pl.len().cast(pl.Int64).alias("responses"),
            pl.col("cost_usd_e6").is_null().sum().cast(pl.Int64).alias("unpriced_responses"),
            *(_known_sum(name).alias(name) for name in TOKEN_COLUMNS),
            (_known_sum("cost_usd_e6") / 1e6).alias("cost_usd"),
        )
        .with_columns(pl.when(any_new).then(new).alias("new_tokens"))
        .sort(*by, nulls_last=True)
        .collect()
    )


def compute_tools(events: pl.LazyFrame, sessions: pl.DataFrame) -> pl.DataFrame:
    """Return one row per tool, most called first; see `Analysis.tools` for the columns."""
    owned = events.join(_owners(sessions), on="session_id", how="semi").filter(pl.col("tool").is_not_null())
    is_call = pl.col("kind") == "ToolCall"
    is_known = (pl.col("kind") == "ToolResult") & pl.col("is_error").is_not_null()
    failures = (is_known & (pl.col("is_error") == 1)).sum().cast(pl.Int64)
    return (
        owned.group_by("tool")
        .agg(
            is_call.sum().cast(pl.Int64).alias("calls"),
            pl.col("session_id").filter(is_call).n_unique().cast(pl.Int64).alias("sessions"),
            is_known.sum().cast(pl.Int64).alias("known_results"),
            failures.alias("failures"),
        )
        .with_columns((pl.col("failures") / pl.col("known_results")).fill_nan(None).alias("error_share"))
        .sort("calls", "tool", descending=[True, False])
        .collect()
    )


def compute_timeline(events: pl.DataFrame) -> pl.DataFrame:
    """Return the events of one session with what it had used by then; see `Analysis.timeline` for the columns."""
    ordered = events.sort("seq")
    tokens = pl.sum_horizontal(pl.col(name).fill_null(0) for name in NEW_TOKEN_COLUMNS)
    cost_usd = pl.col("cost_usd_e6") / 1e6
    any_new = pl.any_horizontal(pl.col(name).is_not_null() for name in NEW_TOKEN_COLUMNS)
    return ordered.select(
        "seq",
        ((pl.col("ts_ms") - pl.col("ts_ms").min()) / 60_000).alias("minute"),
        "kind",
        "tool",
        (pl.col("is_prompt") == 1).fill_null(value=False).alias("is_prompt"),
        (pl.col("is_error") == 1).alias("is_error"),
        pl.when(any_new).then(tokens).alias("new_tokens"),
        cost_usd.alias("cost_usd"),
        pl.when(any_new).then(tokens).fill_null(0).cum_sum().alias("new_tokens_so_far"),
        cost_usd.fill_null(0.0).cum_sum().alias("cost_usd_so_far"),
    )


def _check_groups(by: Sequence[str]) -> Sequence[str]:
    if isinstance(by, str) or not by or len(set(by)) < len(by):
        raise ConfigError(f'Usage is grouped by {by!r}; expected different names, such as by=["day", "model"].')
    for name in by:
        if name not in GROUPS:
            raise ConfigError(f"Usage is grouped by {', '.join(GROUPS)}, not by {name!r}.{did_you_mean(name, GROUPS)}")
    return by


def _group(name: str) -> pl.Expr:
    if name not in _TIMES:
        return pl.col(name)
    moment = pl.from_epoch("ts_ms", time_unit="ms")
    return moment.dt.truncate(_TIMES[name]).dt.date().alias(name)


def _owners(sessions: pl.DataFrame) -> pl.LazyFrame:
    columns = [name for name in _ATTRIBUTES if name != "session_id"]
    return sessions.lazy().select(pl.col("id").alias("session_id"), *columns)


def _known_sum(name: str) -> pl.Expr:
    """Return a sum that is null, not 0, where no value is known."""
    return pl.when(pl.col(name).is_not_null().any()).then(pl.col(name).sum())
