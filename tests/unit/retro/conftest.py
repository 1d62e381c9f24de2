"""A store for each test of retros."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from kaizen_analytics.store import Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(tmp_path / "kaizen.db", create=True) as opened:
        yield opened
