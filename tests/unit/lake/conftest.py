"""A store of one machine and a folder for its lake."""

from pathlib import Path

import pytest
from lake_cases import make_cases, write_store


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return write_store(tmp_path / "kaizen.db", make_cases(0, 6))


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"
