"""Small stores and samples for the tests of experiments."""

from collections.abc import Callable, Iterator
from pathlib import Path

import polars as pl
import pytest
from rows import write_rows

from kaizen_analytics.experiments.sample import SAMPLE_SCHEMA
from kaizen_analytics.store import Store

DAY_MS = 86_400_000

Row = dict[str, object]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "kaizen.db", create=True) as opened:
        yield opened


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


@pytest.fixture
def make_frame() -> Callable[..., pl.DataFrame]:
    """A sample of control and treatment values of one metric, one session a minute, arms in turn."""

    def make(control: list[float | None], treatment: list[float | None], **columns: object) -> pl.DataFrame:
        metric = columns.pop("metric", "tokens_per_session")
        rows = [
            {"session_id": f"{arm[0]}{i}", "variant": arm, metric: value, "started_at_ms": 60_000 * (2 * i + offset)}
            for offset, (arm, values) in enumerate((("Control", control), ("Treatment", treatment)))
            for i, value in enumerate(values)
        ]
        defaults = {"flags": "", "agent": "claude_code", "workspace": "/w"}
        counts = {"responses": 10, "unpriced_responses": 0, "unreliable_responses": 0}
        frame = pl.DataFrame([{**defaults, **counts, **row, **columns} for row in rows], schema=SAMPLE_SCHEMA)
        return frame.sort("started_at_ms", "session_id")

    return make
