"""Fixtures for the tests of the store."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from store_cases import Crew

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return where the test's store lies."""
    return tmp_path / "kaizen.db"


@pytest.fixture(scope="session")
def crew() -> Iterator[Crew]:
    """Return eight processes that open stores when they are told to."""
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    made = Crew()
    yield made
    made.close()
