"""The command line as a function."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest


@pytest.fixture
def run(program: Callable[..., Any]) -> Callable[..., str]:
    """Return a function that runs one command, which succeeds, and returns what it printed."""

    def call(*words: str) -> str:
        answer = program(*words)
        assert answer.code == 0, answer.err
        return answer.out

    return call
