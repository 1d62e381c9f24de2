"""Fixtures of the mirror's tests."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from mirror_cases import WRITER, ForeignWriter, event, session

from kaizen_analytics.store import Store


@pytest.fixture(scope="session")
def foreign() -> Iterator[ForeignWriter]:
    command = [sys.executable, "-c", WRITER]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield ForeignWriter(process)
        process.stdin.close()


@pytest.fixture
def path(tmp_path: Path, foreign: ForeignWriter) -> Path:
    """A store with sessions a and b, two events each."""
    path = tmp_path / "kaizen.db"
    Store.open(path, create=True).close()
    statements = [event(name, seq, tokens_in=10 * seq + 1) for name in ("a", "b") for seq in range(2)]
    foreign.write(path, session("a"), session("b"), *statements)
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "cache"
