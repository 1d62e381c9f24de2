"""A small store to sync, and a redactor with a fixed key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner
from kaizen_analytics.store import Store
from kaizen_analytics.store.sessions import write_sessions

SESSIONS = 25


def session(number: int, **columns: object) -> dict[str, object]:
    at_ms = 1_790_553_600_000 + number * 3_600_000
    plain = {"agent": "codex", "model": "gpt-5", "workspace": "/w/shop", "status": "Done", "trace_path": ""}
    times = {"started_at_ms": at_ms, "ended_at_ms": at_ms + 60_000, "repo_binding_source": ""}
    return {"id": f"s{number:03}", **plain, **times, **columns}


def add_sessions(store: Store, numbers: range, **columns: object) -> None:
    frame = pl.DataFrame([session(number, **columns) for number in numbers], infer_schema_length=None)
    write_sessions(store, frame, {})


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "kaizen.db", create=True) as opened:
        add_sessions(opened, range(SESSIONS))
        yield opened


@pytest.fixture(scope="session")
def redactor() -> Redactor:
    return Redactor(Scanner(), Pseudonyms(bytes(range(32))))
