"""A small store to sync, and a redactor with a fixed key."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sync_stores import SESSIONS, add_sessions

from kaizen_analytics.redact import Pseudonyms, Redactor, Scanner
from kaizen_analytics.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "kaizen.db", create=True) as opened:
        add_sessions(opened, range(SESSIONS))
        yield opened


@pytest.fixture(scope="session")
def redactor() -> Redactor:
    return Redactor(Scanner(), Pseudonyms(bytes(range(32))))
