"""The command line as a function."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest

from kaizen_analytics.cli import main


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that runs one command and returns what it printed."""

    def call(*words: str) -> str:
        monkeypatch.setattr(sys, "argv", ["kaizen-analytics", *words])
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        assert not stopped.value.code, printed.err
        return printed.out

    return call
