"""Sessions for the tests of experiments."""

from collections.abc import Callable

import pytest
from rows import write_rows

from kaizen_analytics.store import Store

Row = dict[str, object]


@pytest.fixture
def add_sessions(store: Store) -> Callable[[list[Row]], None]:
    """Store sessions; `tokens` (one response) and `payload` (of that response) are not columns of a session."""

    def add(rows: list[Row]) -> None:
        filled = [{"tokens": 100, "payload": "{}", **row} for row in rows]
        events = [
            {"session_id": row["id"], "ts_ms": row["started_at_ms"], "tokens_in": row.pop("tokens")}
            | {"payload": row.pop("payload")}
            for row in filled
        ]
        write_rows(store, filled, events)

    return add
