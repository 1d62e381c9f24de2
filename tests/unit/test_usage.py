"""Tokens, cost, tools and the course of a session, added up from a handful of events."""

from __future__ import annotations

from datetime import date

import polars as pl
import pytest

from kaizen_analytics.columnar.extraction import EVENT_SCHEMA
from kaizen_analytics.errors import ConfigError
from kaizen_analytics.usage import compute_costs, compute_timeline, compute_tools

MONDAY_MS = 1_789_344_000_000  # 2026-09-14
DAY_MS = 86_400_000


def sessions(**models: str | None) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": list(models),
            "agent": "codex",
            "model": list(models.values()),
            "workspace": "/w",
            "branch": None,
            "user": None,
            "organisation": None,
        },
        schema_overrides={"branch": pl.String, "user": pl.String, "organisation": pl.String},
    )


def events(*rows: dict[str, object]) -> pl.DataFrame:
    plain = {"session_id": "a", "ts_ms": MONDAY_MS, "ts_exact": 1, "kind": "Message"}
    filled = [{**dict.fromkeys(EVENT_SCHEMA), **plain, "seq": place, **row} for place, row in enumerate(rows)]
    return pl.DataFrame(filled, schema=EVENT_SCHEMA)


def test_costs_add_up_by_day_and_model() -> None:
    rows = events(
        {"tokens_in": 5, "tokens_out": 1, "cost_usd_e6": 2_000_000},
        {"tokens_in": 7, "cache_read_tokens": 100, "cost_usd_e6": 1_000_000},
        {"session_id": "b", "tokens_in": 9, "cost_usd_e6": 500_000},
        {"tokens_in": 1, "ts_ms": MONDAY_MS + DAY_MS, "cost_usd_e6": 250_000},
        {"kind": "ToolCall", "tool": "Read"},
    )
    found = compute_costs(rows.lazy(), sessions(a="m1", b="m2"), ["day", "model"])
    assert found.select("day", "model", "sessions", "responses", "tokens_in", "new_tokens", "cost_usd").rows() == [
        (date(2026, 9, 14), "m1", 1, 2, 12, 13, 3.0),
        (date(2026, 9, 14), "m2", 1, 1, 9, 9, 0.5),
        (date(2026, 9, 15), "m1", 1, 1, 1, 1, 0.25),
    ]
    assert found["cache_read_tokens"].to_list() == [100, None, None]


def test_a_week_begins_on_monday_and_a_month_on_its_first_day() -> None:
    rows = events({"tokens_in": 1, "ts_ms": MONDAY_MS + 6 * DAY_MS})
    assert compute_costs(rows.lazy(), sessions(a="m"), ["week"])["week"].to_list() == [date(2026, 9, 14)]
    assert compute_costs(rows.lazy(), sessions(a="m"), ["month"])["month"].to_list() == [date(2026, 9, 1)]


def test_what_nobody_told_is_null_and_counted() -> None:
    rows = events(
        {"cache_read_tokens": 3},
        {"session_id": "b", "tokens_in": 1, "cost_usd_e6": 500_000},
        {"session_id": "b", "tokens_in": 1},
    )
    found = compute_costs(rows.lazy(), sessions(a=None, b="m"), ["model"])
    assert found.select("model", "unpriced_responses", "new_tokens", "cost_usd").rows() == [
        ("m", 1, 2, 0.5),
        (None, 1, None, None),
    ]


def test_sessions_that_were_not_chosen_do_not_count() -> None:
    rows = events({"tokens_in": 1}, {"session_id": "b", "tokens_in": 1})
    assert compute_costs(rows.lazy(), sessions(b="m"), ["session_id"])["session_id"].to_list() == ["b"]


@pytest.mark.parametrize("by", [["modell"], "day", [], ["day", "day"]])
def test_groups_are_checked(by: list[str]) -> None:
    with pytest.raises(ConfigError, match="Usage is grouped by"):
        compute_costs(events().lazy(), sessions(a="m"), by)


def test_tools_count_calls_sessions_and_known_failures() -> None:
    rows = events(
        {"kind": "ToolCall", "tool": "Read"},
        {"kind": "ToolResult", "tool": "Read", "is_error": 0},
        {"kind": "ToolCall", "tool": "Read", "session_id": "b"},
        {"kind": "ToolResult", "tool": "Read", "is_error": 1, "session_id": "b"},
        {"kind": "ToolCall", "tool": "Bash"},
        {"kind": "ToolResult", "tool": "Bash"},
    )
    assert compute_tools(rows.lazy(), sessions(a="m", b="m")).rows() == [
        ("Read", 2, 2, 2, 1, 0.5),
        ("Bash", 1, 1, 0, 0, None),
    ]


def test_a_timeline_adds_up_what_is_known() -> None:
    rows = events(
        {"is_prompt": 1},
        {"ts_ms": MONDAY_MS + 30_000, "tokens_in": 2, "tokens_out": 3, "cost_usd_e6": 250_000},
        {"ts_ms": MONDAY_MS + 60_000, "kind": "ToolResult", "tool": "Read", "is_error": 1},
        {"ts_ms": MONDAY_MS + 90_000, "tokens_in": 1},
    )
    found = compute_timeline(rows)
    assert found["minute"].to_list() == [0, 0.5, 1, 1.5]
    assert found["is_prompt"].to_list() == [True, False, False, False]
    assert found["is_error"].to_list() == [None, None, True, None]
    assert found["new_tokens"].to_list() == [None, 5, None, 1]
    assert found["new_tokens_so_far"].to_list() == [0, 5, 5, 6]
    assert found["cost_usd_so_far"].to_list() == [0.0, 0.25, 0.25, 0.25]


def test_no_events_give_empty_frames_with_the_same_columns() -> None:
    none, one = events(), events({"tokens_in": 1})
    known = sessions(a="m")
    assert compute_costs(none.lazy(), known, ["day"]).schema == compute_costs(one.lazy(), known, ["day"]).schema
    assert compute_tools(none.lazy(), known).schema == compute_tools(one.lazy(), known).schema
    assert compute_timeline(none).schema == compute_timeline(one).schema
