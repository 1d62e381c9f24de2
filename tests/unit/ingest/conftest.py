"""An empty store and an empty home folder, for tests that write transcripts of their own."""

from __future__ import annotations

import pytest

from kaizen_analytics.store import Store


@pytest.fixture
def store(tmp_path):
    with Store.open(tmp_path / "store.db", create=True) as opened:
        yield opened


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "home"
    folder.mkdir()
    return folder
