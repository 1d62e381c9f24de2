"""sql/staging: marks in payloads, and whom a session's work is counted with."""

import duckdb
import pytest

from kaizen_analytics.core.settings import load_sql

EVENT_COLUMNS = (
    "session_id text, seq bigint, ts_ms bigint, kind text, tool text, tokens_in bigint, tokens_out bigint, "
    "cost_usd_e6 bigint, payload text, ts_exact bigint, reasoning_tokens bigint, cache_creation_tokens bigint, "
    "cache_read_tokens bigint"
)
MARKS = "message_role, is_prompt, is_unreliable, is_error"


def marks(kind: str, payload: str) -> tuple[object, ...] | None:
    with duckdb.connect() as connection:
        connection.execute(f"create table events ({EVENT_COLUMNS})")
        connection.execute(
            "insert into events (session_id, seq, ts_ms, kind, payload, ts_exact) values ('s', 0, 0, ?, ?, 1)",
            [kind, payload],
        )
        return connection.execute(f"select {MARKS} from ({load_sql('staging/events.sql')})").fetchone()


@pytest.mark.parametrize(
    ("kind", "payload", "expected"),
    [
        ("Message", '{"role":"user","prompt":true}', ("user", 1, None, None)),
        ("Message", '{"role":"assistant","unreliable":true}', ("assistant", None, 1, None)),
        ("Message", '{"role":"assistant","unreliable":false}', ("assistant", None, 0, None)),
        ("Message", "{}", (None, None, None, None)),
        ("Message", "not json", (None, None, None, None)),
        ("Message", '{"prompt":"maybe"}', (None, None, None, None)),
        ("Message", "[1, 2]", (None, None, None, None)),
        ("ToolResult", '{"is_error":true}', (None, None, None, 1)),
        ("ToolResult", '{"is_error":false}', (None, None, None, 0)),
        ("ToolResult", '{"is_error":null}', (None, None, None, None)),
        ("ToolResult", '{"role":"user","prompt":true}', (None, None, None, None)),
        ("Hook", '{"is_error":true,"prompt":true}', (None, None, None, None)),
    ],
)
def test_marks_of_a_payload(kind: str, payload: str, expected: tuple[object, ...]) -> None:
    assert marks(kind, payload) == expected


def roots(path: str, parents: dict[str, str | None]) -> dict[str, str]:
    with duckdb.connect() as connection:
        connection.execute("create table sessions (id text, parent_session_id text)")
        connection.executemany("insert into sessions values (?, ?)", [list(item) for item in parents.items()])
        return dict(connection.execute(load_sql(path)).fetchall())


@pytest.mark.parametrize(
    ("parents", "expected"),
    [
        (
            {"root": None, "child": "root", "grandchild": "child", "single": None},
            {"root": "root", "child": "root", "grandchild": "root", "single": "single"},
        ),
        ({"lost": "elsewhere"}, {"lost": "lost"}),
        # Circles end, and keep every session once.
        (
            {"own": "own", "a": "b", "b": "a", "child_of_a": "a"},
            {"own": "own", "a": "a", "b": "b", "child_of_a": "child_of_a"},
        ),
    ],
)
def test_sub_agents_count_with_their_root(parents: dict[str, str | None], expected: dict[str, str]) -> None:
    assert roots("staging/session_roots.sql", parents) == expected
    assert roots("staging/session_selves.sql", parents) == {name: name for name in parents}


def test_the_results_of_a_call_are_one_row() -> None:
    results = [
        ("s", 1, 20, "c", 1, '{"is_error":false,"says":"passed"}'),
        ("s", 2, 30, "c", 0, '{"is_error":true}'),
        ("s", 3, 40, "d", 1, "not json"),
        ("t", 1, 50, "c", 1, "{}"),
    ]
    with duckdb.connect() as connection:
        connection.execute(f"create table events ({EVENT_COLUMNS}, tool_call_id text)")
        columns = "session_id, seq, ts_ms, tool_call_id, ts_exact, payload"
        connection.executemany(f"insert into events (kind, {columns}) values ('ToolResult', ?, ?, ?, ?, ?, ?)", results)
        connection.execute("insert into events (kind, session_id, seq, payload) values ('ToolResult', 's', 9, '{}')")
        found = connection.execute(
            "select session_id, tool_call_id, seq, ts_ms, ts_exact, is_error, payload "
            f"from ({load_sql('staging/tool_results.sql')}) order by 1, 2"
        ).fetchall()
    assert found == [
        ("s", "c", 1, 20, 0, 1, '{"is_error":false,"says":"passed"}'),
        ("s", "d", 3, 40, 1, None, "not json"),
        ("t", "c", 1, 50, 1, None, "{}"),
    ]
