"""What several rooms' tests share: the program in this process, and an engine."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from kaizen_analytics.exports.engines import _SparkEngine
    from kaizen_analytics.store import Store


@dataclass(frozen=True)
class Answer:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        return json.loads(self.out)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """Return a new, empty store."""
    from kaizen_analytics.store import Store

    with Store.open(tmp_path / "kaizen.db", create=True) as opened:
        yield opened


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Return a function that runs `kaizen-analytics WORDS…` in this process and returns its `Answer`."""
    from kaizen_analytics.cli import main

    def run(*words: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["kaizen-analytics", *map(str, words)])
        code: object = 0
        try:
            main()
        except SystemExit as ended:
            code = ended.code
        printed = capsys.readouterr()
        return Answer(int(str(code or 0)), printed.out, printed.err)

    return run


@pytest.fixture
def few_simulations(monkeypatch: pytest.MonkeyPatch) -> None:
    """Plan from a handful of simulated experiments: for tests of what is done with the answer."""
    for name, value in {"_SIMULATIONS": 20, "_HISTORIES": 2, "_OF_HISTORY": 10, "_OF_DATED_HISTORY": 10}.items():
        monkeypatch.setattr(f"kaizen_analytics.experiments.power.{name}", value)


@pytest.fixture(scope="session")
def spark() -> Iterator[_SparkEngine]:
    """A Spark Connect server: the one that `KAIZEN_TEST_SPARK` names (sc://host:port), else Sail, in this process."""
    from kaizen_analytics.exports.engines import _SparkEngine

    remote = os.environ.get("KAIZEN_TEST_SPARK")
    if remote is not None:
        yield _SparkEngine(remote)
        return
    server = pytest.importorskip("pysail.spark").SparkConnectServer("127.0.0.1", 0)
    server.start(background=True)
    host, port = server.listening_address
    yield _SparkEngine(f"sc://{host}:{port}")
    server.stop()
