from __future__ import annotations

import pytest

from kaizen_analytics.errors import RedactionError
from kaizen_analytics.redact import Column, ColumnKind, Projection
from kaizen_analytics.redact.placeholders import Category

SESSIONS = Projection(
    name="sessions",
    version=1,
    columns=(
        Column(name="agent", kind=ColumnKind.CHOICE, choices=frozenset({"claude_code", "codex"})),
        Column(name="workspace", kind=ColumnKind.PSEUDONYM, category=Category.ORGANISATION),
        Column(name="tokens", kind=ColumnKind.COUNT),
        Column(name="cost_usd", kind=ColumnKind.MEASURE),
        Column(name="succeeded", kind=ColumnKind.FLAG),
        Column(name="started_at_ms", kind=ColumnKind.HOUR),
    ),
)
ROW = {
    "agent": "codex",
    "workspace": "/home/maria/app",
    "tokens": 12,
    "cost_usd": 0.5,
    "succeeded": True,
    "started_at_ms": 1_767_225_600_000,
    "prompt": "CANARY",
}


def test_only_declared_columns_leave(redactor):
    [row] = SESSIONS.project([ROW], redactor)
    assert list(row) == ["agent", "workspace", "tokens", "cost_usd", "succeeded", "started_at_ms"]
    assert row["started_at_ms"] == "2026-01-01T00"
    assert "maria" not in str(row)
    assert "CANARY" not in str(row)


def test_null_stays_null(redactor):
    [row] = SESSIONS.project([dict.fromkeys(ROW)], redactor)
    assert set(row.values()) == {None}


def test_an_unknown_choice_does_not_leave_as_it_is(redactor):
    [row] = SESSIONS.project([ROW | {"agent": "CANARY"}], redactor)
    assert row["agent"] == "other"


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("tokens", "CANARY"),
        ("tokens", -1),
        ("tokens", True),
        ("cost_usd", float("nan")),
        ("succeeded", 1),
        ("started_at_ms", "2026"),
        ("started_at_ms", 2**63),
        ("workspace", 7),
        ("agent", 3),
    ],
)
def test_a_value_of_another_type_stops_everything(redactor, column, value):
    with pytest.raises(RedactionError, match=rf"sessions\.{column} holds a"):
        SESSIONS.project([ROW | {column: value}], redactor)


def test_a_missing_column_is_an_error(redactor):
    with pytest.raises(RedactionError, match="lacks tokens"):
        SESSIONS.project([{key: value for key, value in ROW.items() if key != "tokens"}], redactor)


def test_free_text_needs_consent(redactor):
    columns = (Column(name="prompt", kind=ColumnKind.TEXT),)
    with pytest.raises(RedactionError, match="prompt would leave as free text"):
        Projection(name="prompts", version=1, columns=columns)
    allowed = Projection(name="prompts", version=1, columns=columns, allow_text=True)
    assert allowed.project([{"prompt": "mail jane.doe@corp.io"}], redactor)[0]["prompt"].startswith("mail <R:em:")


def test_a_column_declared_twice_is_an_error():
    with pytest.raises(RedactionError, match="declared twice"):
        Projection(name="x", version=1, columns=(Column(name="a", kind=ColumnKind.FLAG),) * 2)
