"""Tokens, cost, tools and the course of a session, added up from a handful of events."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kaizen_analytics.core.errors import ConfigError
from kaizen_analytics.usage import (
    RESPONSES,
    TOKEN_COLUMNS,
    TOOL_CALLS,
    compute_budget,
    compute_timeline,
    compute_tools,
    compute_total,
    compute_usage,
)

MONDAY_MS = 1_789_344_000_000  # 2026-09-14
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS
ZONES = ("UTC", "Asia/Tokyo", "America/Los_Angeles", "Europe/Berlin")


def responses(*rows: dict[str, object]) -> pl.DataFrame:
    plain = {
        "session_id": "a",
        "ts_ms": MONDAY_MS,
        "agent": "codex",
        "model_name": "m",
        "workspace": "/w",
        "is_unreliable": False,
    }
    return pl.DataFrame(
        [{**dict.fromkeys(RESPONSES.schema), **plain, **row} for row in rows], schema=RESPONSES.schema, orient="row"
    )


def calls(*rows: dict[str, object]) -> pl.DataFrame:
    plain = {"session_id": "a", "ts_ms": MONDAY_MS, "tool": "Read"}
    return pl.DataFrame(
        [{**dict.fromkeys(TOOL_CALLS.schema), **plain, **row} for row in rows], schema=TOOL_CALLS.schema
    )


def events(*rows: dict[str, object]) -> pl.DataFrame:
    texts = {"kind": pl.String, "tool": pl.String}
    numbers = dict.fromkeys(("seq", "ts_ms", "is_prompt", "is_error", *TOKEN_COLUMNS, "cost_usd_e6"), pl.Int64)
    schema = texts | numbers
    plain = {"ts_ms": MONDAY_MS, "kind": "Message"}
    filled = [{**dict.fromkeys(schema), **plain, "seq": place, **row} for place, row in enumerate(rows)]
    return pl.DataFrame(filled, schema=schema)


def test_usage_adds_up_by_day_and_by_the_model_of_the_response() -> None:
    rows = responses(
        {"tokens_in": 5, "tokens_out": 1, "cost_usd_e6": 2_000_000},
        {"tokens_in": 7, "cache_read_tokens": 100, "cost_usd_e6": 1_000_000},
        {"model_name": "n", "tokens_in": 9, "cost_usd_e6": 500_000},
        {"session_id": "b", "tokens_in": 1, "ts_ms": MONDAY_MS + DAY_MS, "cost_usd_e6": 250_000},
    )
    found = compute_usage(rows, ["day", "model"], timezone="UTC")
    assert found.select("day", "model", "sessions", "responses", "tokens_in", "new_tokens", "cost_usd").rows() == [
        (date(2026, 9, 14), "m", 1, 2, 12, 13, 3.0),
        (date(2026, 9, 14), "n", 1, 1, 9, 9, 0.5),
        (date(2026, 9, 15), "m", 1, 1, 1, 1, 0.25),
    ]
    assert found["cache_read_tokens"].to_list() == [100, None, None]
    assert compute_total(rows).select("sessions", "responses", "new_tokens", "cost_usd").row(0) == (2, 4, 23, 3.75)


@pytest.mark.parametrize(("day", "hours"), [(date(2026, 10, 25), 25), (date(2026, 3, 29), 23)])
def test_a_day_on_which_the_clock_changes_has_its_own_length(day: date, hours: int) -> None:
    start_ms = round(datetime(day.year, day.month, day.day, tzinfo=ZoneInfo("Europe/Berlin")).timestamp() * 1000)
    rows = responses(*({"tokens_in": 1, "ts_ms": start_ms + hour * HOUR_MS} for hour in range(-1, 26)))
    found = compute_usage(rows, ["day"], timezone="Europe/Berlin")
    assert dict(found.select("day", "responses").rows())[day] == hours


@given(
    st.lists(
        st.tuples(
            st.integers(0, 3 * 365 * 24 * 60).map(lambda minute: MONDAY_MS + minute * 60_000),
            st.sampled_from("ab"),
            st.sampled_from(["m", "n", None]),
            st.none() | st.integers(0, 50),
            st.none() | st.integers(0, 50),
        ),
        max_size=30,
    ),
    st.sampled_from(ZONES),
    st.sampled_from(["day", "week", "month"]),
)
def test_usage_equals_sums_by_hand(
    rows: list[tuple[int, str, str | None, int | None, int | None]], zone: str, period: str
) -> None:
    expected: defaultdict[tuple[date, str | None], list[int]] = defaultdict(lambda: [0, 0, 0])
    for ts_ms, _, model, tokens, cost in rows:
        day = (datetime.fromtimestamp(ts_ms / 1000, UTC).astimezone(ZoneInfo(zone))).date()
        start = {"day": day, "week": day - timedelta(days=day.weekday()), "month": day.replace(day=1)}[period]
        sums = expected[start, model]
        sums[0] += 1
        sums[1] += tokens or 0
        sums[2] += cost or 0
    frame = responses(
        *(
            {"ts_ms": ts_ms, "session_id": session, "model_name": model, "tokens_in": tokens, "cost_usd_e6": cost}
            for ts_ms, session, model, tokens, cost in rows
        )
    )
    found = compute_usage(frame, [period, "model"], timezone=zone)
    assert {
        (row[period], row["model"]): [row["responses"], row["tokens_in"] or 0, round((row["cost_usd"] or 0) * 1e6)]
        for row in found.to_dicts()
    } == expected


def test_a_window_begins_with_the_hour_of_its_first_response_and_lasts_five() -> None:
    minutes = (30, 299, 300, 301, 20 * 60 + 59)
    rows = responses(*({"tokens_in": 1, "ts_ms": MONDAY_MS + minute * 60_000} for minute in minutes))
    found = compute_usage(rows, ["window"], timezone="UTC")
    assert [(moment.hour, count) for moment, count in found.select("window", "responses").rows()] == [
        (0, 2),
        (5, 2),
        (20, 1),
    ]


def test_a_weekly_window_lasts_seven_days() -> None:
    rows = responses(*({"tokens_in": 1, "ts_ms": MONDAY_MS + 90 * 60_000 + day * DAY_MS} for day in (0, 6, 7, 15)))
    found = compute_usage(rows, ["weekly_window"], timezone="UTC").select("weekly_window", "responses").rows()
    assert [(moment.day, moment.hour, count) for moment, count in found] == [(14, 1, 2), (21, 1, 1), (29, 1, 1)]


def test_unknown_values_are_null_and_the_priced_share_counts_tokens() -> None:
    rows = responses(
        {"model_name": None, "cache_read_tokens": 3},
        {"tokens_in": 3, "cost_usd_e6": 500_000},
        {"tokens_in": 1},
    )
    found = compute_usage(rows, ["model"], timezone="UTC")
    assert found.select("model", "unpriced_responses", "new_tokens", "cost_usd", "priced_share").rows() == [
        ("m", 1, 4, 0.5, 0.75),
        (None, 1, None, None, 0.0),
    ]


@pytest.mark.parametrize("by", [["modell"], "day", [], ["day", "day"]])
def test_keys_are_checked(by: list[str]) -> None:
    with pytest.raises(ConfigError, match="Usage is grouped by"):
        compute_usage(responses(), by, timezone="UTC")


def test_a_time_zone_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ConfigError, match="no time zone 'Mars/Base'"):
        compute_usage(responses(), ["day"], timezone="Mars/Base")


def test_tools_count_calls_sessions_known_failures_and_seconds() -> None:
    rows = calls(
        {"is_error": 0, "seconds": 1.0},
        {"is_error": 1, "seconds": 3.0, "session_id": "b"},
        {"tool": "Bash"},
    )
    assert compute_tools(rows).rows() == [
        ("Read", 2, 2, 2, 1, 0.5, 2.0, pytest.approx(2.9)),
        ("Bash", 1, 1, 0, 0, None, None, None),
    ]


def test_a_forecast_goes_on_at_the_present_rate() -> None:
    rows = responses(
        {"cost_usd_e6": 30_000_000, "tokens_in": 1}, {"tokens_in": 1}, {"ts_ms": MONDAY_MS - 1, "cost_usd_e6": 9}
    )
    period = {"start_ms": MONDAY_MS, "end_ms": MONDAY_MS + 30 * DAY_MS}
    found = compute_budget(rows, 100, **period, now_ms=MONDAY_MS + 10 * DAY_MS)
    assert (found.spent_usd, found.forecast_usd, found.unpriced_responses) == (30, 90, 1)
    assert not found.will_be_passed
    assert compute_budget(rows, 89, **period, now_ms=MONDAY_MS + 10 * DAY_MS).will_be_passed
    assert compute_budget(rows, 100, **period, now_ms=MONDAY_MS + 99 * DAY_MS).forecast_usd == 30
    with pytest.raises(ConfigError, match="positive"):
        compute_budget(rows, 0, **period, now_ms=MONDAY_MS + DAY_MS)
    with pytest.raises(ConfigError, match="not begun"):
        compute_budget(rows, 1, **period, now_ms=MONDAY_MS)


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


def test_no_rows_give_empty_frames_with_the_same_columns() -> None:
    none, one = responses(), responses({"tokens_in": 1})
    for keys in (["day"], ["window", "model"]):
        assert compute_usage(none, keys, timezone="UTC").schema == compute_usage(one, keys, timezone="UTC").schema, keys
    assert compute_tools(calls()).schema == compute_tools(calls({})).schema
    assert compute_timeline(events()).schema == compute_timeline(events({"tokens_in": 1})).schema
