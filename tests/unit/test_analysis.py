"""A store as frames, from a process that never opens it."""

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest

from kaizen_analytics import (
    Delta,
    Direction,
    Experiment,
    ManualTag,
    Metric,
    Store,
    open_analysis,
    save_experiment,
)
from kaizen_analytics.analysis import Analysis
from kaizen_analytics.errors import ConfigError, ExperimentError, StoreMissingError
from kaizen_analytics.store import write_sessions

DAY_MS = 86_400_000


def sessions(*names: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "id": names,
            "agent": ["codex" if i % 2 else "claude_code" for i in range(len(names))],
            "workspace": [f"/w/{name}" for name in names],
            "started_at_ms": [i * DAY_MS for i in range(len(names))],
            "status": "Done",
            "trace_path": "t",
        }
    )


def events(*names: str) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "session_id": names,
            "seq": 0,
            "ts_ms": 0,
            "kind": "Message",
            "source": "Tail",
            "payload": "{}",
            "tokens_in": range(1, len(names) + 1),
        }
    )


@pytest.fixture
def analysis(tmp_path: Path) -> Analysis:
    """Three sessions, one a day from 1970-01-01, with 1, 2 and 3 tokens."""
    path = tmp_path / "kaizen.db"
    with Store.open(path, create=True) as store:
        write_sessions(store, sessions("a", "b", "c"), {"events": events("a", "b", "c")})
    return open_analysis(path)


def test_sessions_come_in_order_of_start(analysis: Analysis) -> None:
    assert analysis.sessions()["id"].to_list() == ["a", "b", "c"]
    assert analysis.sessions()["user"].to_list() == [None] * 3


def test_metrics_are_filtered(analysis: Analysis) -> None:
    second = datetime(1970, 1, 2, tzinfo=UTC)
    assert analysis.metrics()["tokens_per_session"].to_list() == [1, 2, 3]
    assert analysis.metrics(since=second)["session_id"].to_list() == ["b", "c"]
    assert analysis.metrics(until=second)["session_id"].to_list() == ["a"]
    assert analysis.metrics(agent="codex")["session_id"].to_list() == ["b"]
    assert analysis.metrics(workspace="/w")["session_id"].to_list() == ["a", "b", "c"]
    assert analysis.metrics(workspace="/w/a", rollup=False)["session_id"].to_list() == ["a"]
    assert analysis.metrics(workspace="/w/")["session_id"].len() == 3


def test_a_time_needs_a_zone(analysis: Analysis) -> None:
    with pytest.raises(ConfigError, match="no time zone"):
        analysis.metrics(since=datetime(1970, 1, 2))  # noqa: DTZ001 - what is refused


def test_events_of_one_session(analysis: Analysis) -> None:
    assert analysis.events("b")["tokens_in"].to_list() == [2]
    assert analysis.events("unknown").is_empty()


def test_a_change_of_the_store_shows_in_the_next_call(analysis: Analysis) -> None:
    with Store.open(analysis.path) as store:
        write_sessions(store, sessions("a"), {"events": events("a").with_columns(tokens_in=7)})
    assert analysis.metrics()["tokens_per_session"].to_list() == [7, 2, 3]


def test_experiments_are_listed_with_those_that_cannot_be_read(analysis: Analysis) -> None:
    experiment = Experiment(
        id="e1",
        name="Shorter prompts",
        hypothesis="h",
        change_description="c",
        metric=Metric.TOKENS_PER_SESSION,
        binding=ManualTag(variant_field="variant"),
        duration_days=14,
        success_criterion=Delta(direction=Direction.DECREASE, target_pct=-10),
        created_at_ms=5,
    )
    with Store.open(analysis.path) as store:
        save_experiment(store, experiment)
        store.native(
            "insert into experiments (id, name, created_at_ms, metadata) values ('e2', 'x', 6, '{') returning 1"
        )
    frame = analysis.experiments()
    assert frame["id"].to_list() == ["e2", "e1"]
    assert frame["metric"].to_list() == [None, "TokensPerSession"]
    assert "not valid JSON" in frame["problem"][0]


def test_errors_of_the_other_process_arrive_as_they_are(analysis: Analysis, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="experiment not found: e9"):
        analysis.evaluate("e9", now_ms=0)
    with pytest.raises(StoreMissingError, match="missing"):
        open_analysis(tmp_path / "missing.db")


KERNEL = """
import sys
from kaizen_analytics import open_analysis
analysis = open_analysis(sys.argv[1])
analysis.metrics(); analysis.sessions(); analysis.events("a"); analysis.experiments()
print("kaizen_analytics.columnar.build" in sys.modules)
print("sqlite_scanner" in open("/proc/self/maps").read())
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at the libraries of a process in /proc")
def test_the_reading_process_never_loads_the_sqlite_extension(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    Store.open(path, create=True).close()
    done = subprocess.run([sys.executable, "-c", KERNEL, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
