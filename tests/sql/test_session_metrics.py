"""sql/marts/session_metrics.sql on DuckDB and on SQLite, with numbers to check by hand."""

import sqlite3
from collections.abc import Callable

import duckdb
import pytest

from kaizen_analytics.core.metrics import REGISTRY
from kaizen_analytics.core.model import Metric
from kaizen_analytics.core.settings import load_sql

Row = dict[str, object]
Tables = dict[str, list[Row]]

MART = load_sql("marts/session_metrics.sql")
COLUMNS = {
    "sessions": "id text, agent text, model text, workspace text, started_at_ms bigint, ended_at_ms bigint",
    "session_roots": "session_id text, root_id text",
    "files_touched": "session_id text, path text",
    "root_outcomes": (
        "session_id text, checks_passed double, n_commits double, landed double, reverted double, lines_added double, "
        "lines_surviving double, score double"
    ),
    "staged_events": (
        "session_id text, seq bigint, ts_ms bigint, ts_exact bigint, kind text, tool text, tokens_in bigint, "
        "tokens_out bigint, reasoning_tokens bigint, cache_creation_tokens bigint, cache_read_tokens bigint, "
        "cost_usd_e6 bigint, message_role text, is_prompt bigint, is_unreliable bigint, is_error bigint"
    ),
}


def fill(execute: Callable[[str, list[object]], object], tables: Tables) -> None:
    for name, columns in COLUMNS.items():
        execute(f"create table {name} ({columns})", [])
        for row in tables.get(name, []):
            marks = ", ".join("?" for _ in row)
            execute(f"insert into {name} ({', '.join(row)}) values ({marks})", list(row.values()))


def run_duckdb(tables: Tables) -> list[Row]:
    with duckdb.connect() as connection:
        fill(connection.execute, tables)
        return connection.execute(MART).pl().to_dicts()


def run_sqlite(tables: Tables) -> list[Row]:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    fill(connection.execute, tables)
    rows = [dict(row) for row in connection.execute(MART)]
    connection.close()
    return rows


@pytest.fixture(params=[run_duckdb, run_sqlite], ids=["duckdb", "sqlite"])
def run(request: pytest.FixtureRequest) -> Callable[[Tables], list[Row]]:
    return request.param


def session(name: str = "s", **columns: object) -> Row:
    return {"id": name, "agent": "claude_code", "workspace": "/w", "started_at_ms": 0, **columns}


def event(kind: str = "Message", *, session_id: str = "s", seq: int = 0, **columns: object) -> Row:
    return {"session_id": session_id, "seq": seq, "ts_ms": seq, "ts_exact": 1, "kind": kind, **columns}


def one(
    run: Callable[[Tables], list[Row]], events: list[Row], files: list[str] | None = None, **columns: object
) -> Row:
    [row] = run(
        {
            "sessions": [session(**columns)],
            "session_roots": [{"session_id": "s", "root_id": "s"}],
            "staged_events": events,
            "files_touched": [{"session_id": "s", "path": path} for path in files or []],
        }
    )
    return row


def test_a_session_without_events_has_no_value_but_files(run: Callable[[Tables], list[Row]]) -> None:
    row = one(run, [])
    missing = {metric for metric in Metric if row[metric.column] is None}
    assert missing == set(Metric) - {Metric.FILES_PER_SESSION}
    assert row["files_per_session"] == 0
    assert (row["responses"], row["sessions_counted"]) == (0, 1)


def test_every_registered_metric_is_a_column(run: Callable[[Tables], list[Row]]) -> None:
    assert {metric.column for metric in REGISTRY} <= set(one(run, []))
    assert set(REGISTRY) == set(Metric)


def test_each_token_column_is_summed_over_what_is_known(run: Callable[[Tables], list[Row]]) -> None:
    row = one(
        run,
        [
            event(seq=0, tokens_in=100, tokens_out=10, cache_read_tokens=1000),
            event(seq=1, tokens_in=200, reasoning_tokens=5, cache_creation_tokens=50),
            event("ToolCall", seq=2, tool="Read"),
        ],
    )
    assert row["tokens_per_session"] == 100 + 10 + 200 + 5 + 50
    assert row["total_tokens_per_session"] == 365 + 1000
    assert row["cache_hit_rate"] == 1000 / (300 + 50 + 1000)
    assert row["responses"] == 2


def test_only_cache_reads_leave_new_tokens_unknown(run: Callable[[Tables], list[Row]]) -> None:
    row = one(run, [event(cache_read_tokens=7)])
    assert row["tokens_per_session"] is None
    assert row["total_tokens_per_session"] == 7
    assert row["cache_hit_rate"] == 1


def test_the_cache_hit_rate_is_unknown_without_cache_reads_and_without_input(
    run: Callable[[Tables], list[Row]],
) -> None:
    assert one(run, [event(tokens_in=5)])["cache_hit_rate"] is None
    assert one(run, [event(tokens_in=0, cache_read_tokens=0)])["cache_hit_rate"] is None


def test_a_response_without_a_price_takes_only_its_own_part_of_the_cost(run: Callable[[Tables], list[Row]]) -> None:
    priced = [event(seq=0, tokens_in=1, cost_usd_e6=1_500_000), event(seq=1, tokens_in=1, cost_usd_e6=250_000)]
    assert one(run, priced)["cost_per_session"] == 1.75
    row = one(run, [*priced, event(seq=2, tokens_out=1)])
    assert (row["cost_per_session"], row["unpriced_responses"]) == (1.75, 1)
    assert one(run, [event(tokens_in=1)])["cost_per_session"] is None


def test_one_error_event_fails_the_session(run: Callable[[Tables], list[Row]]) -> None:
    assert one(run, [event("Lifecycle")])["success_rate"] == 1
    assert one(run, [event("Lifecycle", seq=0), event("Error", seq=1)])["success_rate"] == 0


def test_a_tool_loops_when_it_follows_itself_in_time(run: Callable[[Tables], list[Row]]) -> None:
    tools = [(3, "Read"), (1, "Edit"), (0, "Edit"), (2, "Read"), (4, None), (5, None), (6, "Read")]
    events = [event("ToolCall", seq=seq, tool=tool) for seq, tool in tools]
    assert one(run, events)["tool_loops"] == 2


def test_duration_runs_from_start_to_end(run: Callable[[Tables], list[Row]]) -> None:
    row = one(run, [], started_at_ms=60_000, ended_at_ms=150_000)
    assert row["duration_minutes"] == 1.5


def test_active_minutes_cut_each_gap_at_five_minutes_and_need_exact_times(
    run: Callable[[Tables], list[Row]],
) -> None:
    times = [0, 60_000, 60_000 + 3_600_000]
    events = [event("Hook", seq=i, ts_ms=ts) for i, ts in enumerate(times)]
    guessed = event("Hook", seq=9, ts_ms=30_000, ts_exact=0)
    assert one(run, [*events, guessed])["active_minutes"] == 1 + 5
    assert one(run, [events[0], guessed])["active_minutes"] is None


def test_files_are_counted_once(run: Callable[[Tables], list[Row]]) -> None:
    assert one(run, [], files=["a.py", "b.py", "a.py"])["files_per_session"] == 2


def test_prompt_metrics_count_errors_once_per_prompt(run: Callable[[Tables], list[Row]]) -> None:
    prompts = [event(seq=i, message_role="user", is_prompt=1) for i in range(4)]
    answer = event(seq=8, message_role="assistant", tokens_in=1, cost_usd_e6=2_000_000)
    errors = [event("Error", seq=20 + i) for i in range(6)]
    row = one(run, [*prompts, answer, errors[0]])
    assert row["prompts_per_session"] == 4
    assert row["success_rate_by_prompt"] == 0.75
    assert row["cost_by_prompt"] == 0.5
    assert one(run, [*prompts, answer, *errors])["success_rate_by_prompt"] == 0


def test_prompt_metrics_are_unknown_on_a_store_without_marks(run: Callable[[Tables], list[Row]]) -> None:
    row = one(run, [event(seq=0, tokens_in=1, cost_usd_e6=1), event(seq=1, message_role="user")])
    assert row["prompts_per_session"] is None
    assert row["success_rate_by_prompt"] is None
    assert row["cost_by_prompt"] is None


def test_no_prompt_among_marked_messages_is_zero_prompts(run: Callable[[Tables], list[Row]]) -> None:
    row = one(run, [event(message_role="assistant", tokens_in=1, cost_usd_e6=1)])
    assert row["prompts_per_session"] == 0
    assert row["success_rate_by_prompt"] is None
    assert row["cost_by_prompt"] is None


def test_tool_errors_are_a_share_of_known_outcomes(run: Callable[[Tables], list[Row]]) -> None:
    outcomes = [1, 0, 0, None, 0]
    events = [event("ToolResult", seq=i, is_error=outcome) for i, outcome in enumerate(outcomes)]
    row = one(run, events)
    assert (row["tool_error_rate"], row["tool_results"]) == (0.25, 4)
    assert one(run, [event("ToolResult")])["tool_error_rate"] is None


def test_the_cache_hit_rate_comes_with_its_denominator_and_a_session_with_its_last_event(
    run: Callable[[Tables], list[Row]],
) -> None:
    row = one(run, [event(seq=0, tokens_in=10, cache_read_tokens=30), event(seq=1, tokens_in=0, ts_ms=90_000)])
    assert (row["cache_hit_rate"], row["input_tokens"], row["last_event_ms"]) == (0.75, 40, 90_000)


def test_unreliable_responses_are_counted(run: Callable[[Tables], list[Row]]) -> None:
    events = [event(seq=0, tokens_in=1, is_unreliable=1), event(seq=1, tokens_in=1), event(seq=2, is_unreliable=1)]
    row = one(run, events)
    assert (row["responses"], row["unreliable_responses"]) == (2, 1)


def test_sub_agents_are_counted_with_their_root(run: Callable[[Tables], list[Row]]) -> None:
    shared = {"message_role": "user", "is_prompt": 1}
    [row] = run(
        {
            "sessions": [
                session("root", started_at_ms=0, ended_at_ms=60_000, model="big"),
                session("child", started_at_ms=30_000, ended_at_ms=120_000, model="small"),
            ],
            "session_roots": [
                {"session_id": "root", "root_id": "root"},
                {"session_id": "child", "root_id": "root"},
            ],
            "staged_events": [
                event(session_id="root", seq=0, **shared),
                event(session_id="root", seq=1, ts_ms=10_000, tokens_in=10, cost_usd_e6=1_000_000),
                event("ToolCall", session_id="root", seq=2, ts_ms=20_000, tool="Task"),
                event(session_id="child", seq=0, ts_ms=30_000, **shared),
                event(session_id="child", seq=1, ts_ms=40_000, tokens_in=5, cost_usd_e6=500_000),
                event("ToolCall", session_id="child", seq=2, ts_ms=50_000, tool="Task"),
                event("ToolCall", session_id="child", seq=3, ts_ms=60_000, tool="Task"),
                event("Error", session_id="child", seq=4, ts_ms=60_000),
            ],
            "files_touched": [
                {"session_id": "root", "path": "a.py"},
                {"session_id": "child", "path": "a.py"},
                {"session_id": "child", "path": "b.py"},
            ],
        }
    )
    assert (row["session_id"], row["model"], row["started_at_ms"]) == ("root", "big", 0)
    assert row["sessions_counted"] == 2
    assert row["tokens_per_session"] == 15
    assert row["cost_per_session"] == 1.5
    assert row["tool_loops"] == 1
    assert row["files_per_session"] == 2
    assert row["prompts_per_session"] == 1
    assert row["duration_minutes"] == 2
    assert row["active_minutes"] == 1
    assert row["success_rate"] == 0


def test_an_unpriced_response_of_a_sub_agent_leaves_the_parents_cost(run: Callable[[Tables], list[Row]]) -> None:
    rows = run(
        {
            "sessions": [session("root"), session("child"), session("other")],
            "session_roots": [
                {"session_id": "root", "root_id": "root"},
                {"session_id": "child", "root_id": "root"},
                {"session_id": "other", "root_id": "other"},
            ],
            "staged_events": [
                event(session_id="root", tokens_in=10, cost_usd_e6=1_000_000),
                event(session_id="child", tokens_in=10),
                event(session_id="other", tokens_in=10, cost_usd_e6=0),
            ],
        }
    )
    assert {row["session_id"]: row["cost_per_session"] for row in rows} == {"root": 1, "other": 0}


def test_outcomes_are_divided_where_there_is_something_to_divide_by(run: Callable[[Tables], list[Row]]) -> None:
    def outcome(**columns: object) -> Row:
        [row] = run(
            {
                "sessions": [session()],
                "session_roots": [{"session_id": "s", "root_id": "s"}],
                "staged_events": [event(tokens_in=300, cost_usd_e6=6_000_000)],
                "root_outcomes": [{"session_id": "s", **columns}],
            }
        )
        return row

    row = outcome(checks_passed=1.0, n_commits=3.0, landed=1.0, reverted=0.0, lines_added=40.0, lines_surviving=30.0)
    assert (row["cost_per_commit"], row["tokens_per_commit"], row["commits_per_session"]) == (2, 100, 3)
    assert (row["rework"], row["cost_per_surviving_line"], row["checks_passed"]) == (0.25, 0.2, 1)
    row = outcome(n_commits=0.0, lines_added=0.0, lines_surviving=0.0)
    assert (row["cost_per_commit"], row["rework"], row["cost_per_surviving_line"]) == (None, None, None)
    assert (row["commits_per_session"], row["landed"]) == (0, None)
