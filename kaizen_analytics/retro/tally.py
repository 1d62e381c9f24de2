"""The week in numbers: totals against earlier weeks, and who, where and with what.

All of it is computed from the relations of one retro; a missing value stays missing and is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from kaizen_analytics.retro.relations import Material, Window

FORMER_WINDOWS = 4
_TOP = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """Totals of one window. Tokens and cost are None where no session tells them; sums leave out unknown sessions.

    `tokens` are what models newly read or wrote, `total_tokens` adds what they read from a cache.
    """

    window: Window
    sessions: int
    prompts: int | None
    tokens: int | None
    total_tokens: int | None
    cost_usd: float | None
    active_minutes: float | None
    failed_sessions: int
    sessions_without_tokens: int
    sessions_without_cost: int

    def to_json(self) -> dict[str, Any]:
        """Return all numbers, the window as its two ends."""
        fields = {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "window"}
        return {"start_ms": self.window.start_ms, "end_ms": self.window.end_ms, **fields}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a breakdown: sessions, tokens and cost of one agent, model or day."""

    name: str
    sessions: int
    tokens: int | None
    cost_usd: float | None

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolRow:
    """One tool, or one program that agents ran: its calls, those that failed (None: unknown), and its sessions."""

    name: str
    calls: int
    failed: int | None
    sessions: int

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRow:
    """One file: how often it was edited and read, and in how many sessions."""

    path: str
    edits: int
    reads: int
    sessions: int

    def to_json(self) -> dict[str, Any]:
        """Return all fields."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakdown:
    """Where the window's sessions, tokens and cost went."""

    agents: tuple[Row, ...]
    models: tuple[Row, ...]
    days: tuple[Row, ...]
    tools: tuple[ToolRow, ...]
    files: tuple[FileRow, ...]

    def to_json(self) -> dict[str, Any]:
        """Return every table as a list of objects."""
        return {name: [row.to_json() for row in getattr(self, name)] for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True, kw_only=True)
class RetroQuality:
    """What the numbers leave out or cannot vouch for."""

    sub_agents: int
    responses: int
    unreliable_responses: int
    unpriced_responses: int
    sessions_without_tokens: int
    sessions_without_cost: int

    def to_json(self) -> dict[str, Any]:
        """Return all counts."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def compute_tally(metrics: pl.DataFrame, window: Window) -> Tally:
    """Add up the root sessions that started in the window."""
    inside = metrics.filter(pl.col("started_at_ms").is_between(window.start_ms, window.end_ms, closed="left"))
    cost, active = _total(inside["cost_per_session"]), _total(inside["active_minutes"])
    return Tally(
        window=window,
        sessions=inside.height,
        prompts=_whole(inside["prompts_per_session"]),
        tokens=_whole(inside["tokens_per_session"]),
        total_tokens=_whole(inside["total_tokens_per_session"]),
        cost_usd=None if cost is None else round(cost, 6),
        active_minutes=None if active is None else round(active, 2),
        failed_sessions=inside.filter(pl.col("success_rate") == 0).height,
        sessions_without_tokens=inside["tokens_per_session"].null_count(),
        sessions_without_cost=inside["cost_per_session"].null_count(),
    )


def compute_former_tallies(material: Material, window: Window) -> tuple[Tally, ...]:
    """Return the tallies of up to four windows before this one that the store reaches back to, oldest first."""
    if material.first_session_ms is None:
        return ()
    windows = [window.shifted(-back) for back in range(FORMER_WINDOWS, 0, -1)]
    known = [former for former in windows if former.start_ms >= material.first_session_ms - former.length_ms + 1]
    return tuple(compute_tally(material.metrics, former) for former in known)


def compute_breakdown(relations: Mapping[str, pl.DataFrame], window: Window) -> Breakdown:
    """Return the window's tables; equal numbers are ordered by name."""
    metrics = relations["session_metrics"]
    dated = metrics.with_columns(
        pl.from_epoch("started_at_ms", time_unit="ms").dt.strftime("%Y-%m-%d").alias("day"),
    )
    by_day = {row.name: row for row in _rows(dated, "day")}
    return Breakdown(
        agents=_rows(metrics, "agent"),
        models=_rows(metrics, "model"),
        days=tuple(by_day.get(day, Row(name=day, sessions=0, tokens=None, cost_usd=None)) for day in list_days(window)),
        tools=_tools(relations["calls"]),
        files=_files(relations["touches"]),
    )


def compute_quality(relations: Mapping[str, pl.DataFrame]) -> RetroQuality:
    """Count what is missing or unreliable in the window."""
    metrics = relations["session_metrics"]
    return RetroQuality(
        sub_agents=relations["sessions"].height - metrics.height,
        responses=int(metrics["responses"].sum()),
        unreliable_responses=int(metrics["unreliable_responses"].sum()),
        unpriced_responses=int(metrics["unpriced_responses"].sum()),
        sessions_without_tokens=metrics["tokens_per_session"].null_count(),
        sessions_without_cost=metrics["cost_per_session"].null_count(),
    )


def list_days(window: Window) -> list[str]:
    """Return every day (UTC) that the window touches."""
    first = datetime.fromtimestamp(window.start_ms / 1000, UTC).date()
    last = datetime.fromtimestamp((window.end_ms - 1) / 1000, UTC).date()
    return [str(first + timedelta(days=step)) for step in range((last - first).days + 1)]


def _total(values: pl.Series) -> float | None:
    return None if values.null_count() == values.len() else float(values.sum())


def _whole(values: pl.Series) -> int | None:
    total = _total(values)
    return None if total is None else round(total)


def _rows(metrics: pl.DataFrame, column: str) -> tuple[Row, ...]:
    rows = [
        Row(
            name=str(name or "unknown"),
            sessions=group.height,
            tokens=_whole(group["tokens_per_session"]),
            cost_usd=_rounded(_total(group["cost_per_session"])),
        )
        for (name,), group in metrics.group_by([column])
    ]
    return tuple(sorted(rows, key=lambda row: (-(row.cost_usd or 0), -(row.tokens or 0), -row.sessions, row.name)))


def _rounded(cost: float | None) -> float | None:
    return None if cost is None else round(cost, 6)


def _tools(calls: pl.DataFrame) -> tuple[ToolRow, ...]:
    named = calls.with_columns(pl.coalesce("program", "tool").alias("name"))
    counted = named.group_by("name").agg(
        pl.len().alias("calls"),
        pl.col("is_error").sum().alias("failed"),
        pl.col("is_error").count().alias("known"),
        pl.col("session_id").n_unique().alias("sessions"),
    )
    top = counted.sort(["calls", "name"], descending=[True, False]).head(_TOP)
    return tuple(
        ToolRow(name=name, calls=calls, failed=failed if known else None, sessions=sessions)
        for name, calls, failed, known, sessions in top.iter_rows()
    )


def _files(touches: pl.DataFrame) -> tuple[FileRow, ...]:
    counted = touches.group_by("path").agg(
        (pl.col("tool_class") == "edit").sum().alias("edits"),
        (pl.col("tool_class") == "read").sum().alias("reads"),
        pl.col("session_id").n_unique().alias("sessions"),
    )
    order: Sequence[str] = ("edits", "reads", "path")
    top = counted.sort(order, descending=[True, True, False]).head(_TOP)
    return tuple(FileRow(**row) for row in top.iter_rows(named=True))
