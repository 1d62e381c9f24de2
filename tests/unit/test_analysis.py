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
    Portfolio,
    Store,
    open_analysis,
    save_experiment,
)
from kaizen_analytics.analysis import Analysis
from kaizen_analytics.errors import ConfigError, ExperimentError, StatisticsError, StoreMissingError
from kaizen_analytics.retro.retro import compute_retro, parse_week
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


def test_usage_is_filtered_by_time_and_session(analysis: Analysis) -> None:
    assert analysis.costs(["agent"])["agent"].to_list() == ["claude_code", "codex"]
    assert analysis.costs(["session_id"], agent="codex")["session_id"].to_list() == ["b"]
    assert analysis.costs(["day"], since=datetime(1970, 1, 2, tzinfo=UTC)).is_empty(), "all events are of the first day"
    assert analysis.costs()["new_tokens"].to_list() == [1 + 2 + 3]
    assert analysis.tools().is_empty()
    assert analysis.timeline("b")["new_tokens_so_far"].to_list() == [2]
    assert analysis.timeline("unknown").is_empty()


def test_an_effect_splits_a_metric_by_a_column(tmp_path: Path) -> None:
    names = [f"s{place:02}" for place in range(40)]
    path = tmp_path / "kaizen.db"
    with Store.open(path, create=True) as store:
        used = events(*names[:38]).with_columns(tokens_in=pl.int_range(38) % 2 * 1000 + pl.int_range(38) + 10)
        write_sessions(store, sessions(*names), {"events": used})
    found = open_analysis(path).effect("tokens_per_session", by="agent", control="claude_code", treatment="codex")
    assert (found.control.n, found.treatment.n) == (19, 19)
    assert found.difference is not None
    assert found.difference.low > 900
    assert found.notes[-1] == "Without a value, and left out: 1 control and 1 treatment sessions."


def test_an_effect_names_what_does_not_exist(analysis: Analysis) -> None:
    with pytest.raises(ConfigError, match=r"not by 'agnt'\. Did you mean 'agent'"):
        analysis.effect("tokens_per_session", by="agnt", control="codex", treatment="claude_code")
    with pytest.raises(ConfigError, match="not by 'started_at_ms'"):
        analysis.effect("tokens_per_session", by="started_at_ms", control="codex", treatment="claude_code")
    with pytest.raises(ConfigError, match=r"No session has the agent 'codx'.* Did you mean 'codex'"):
        analysis.effect("tokens_per_session", by="agent", control="codx", treatment="claude_code")
    with pytest.raises(ConfigError, match="Unknown metric 'tokens'"):
        analysis.effect("tokens", by="agent", control="codex", treatment="claude_code")


def test_power_needs_a_history_and_a_known_design(analysis: Analysis) -> None:
    with pytest.raises(ConfigError, match="The design is 'plan'; expected one of fixed, planned, open"):
        analysis.power("tokens_per_session", design="plan")
    with pytest.raises(StatisticsError):
        analysis.power("tokens_per_session")
    with pytest.raises(ExperimentError, match="no session to plan from"):
        analysis.power("tokens_per_session", agent="cursor")


def test_an_id_that_makes_no_sense_is_an_error_of_ours(analysis: Analysis) -> None:
    for missing in ("a\x00b", "x" * 300_000):
        with pytest.raises(ExperimentError, match="experiment not found"):
            analysis.evaluate(missing, now_ms=0)
    for wrong in ("\ud800", 5):
        with pytest.raises(ConfigError, match="expected text"):
            analysis.evaluate(wrong, now_ms=0)


def test_a_session_id_that_is_no_text_is_an_error_of_ours(analysis: Analysis) -> None:
    with pytest.raises(ConfigError, match="expected text"):
        analysis.events("\ud800")


def test_the_portfolio_arrives_from_the_other_process(analysis: Analysis) -> None:
    assert analysis.portfolio(now_ms=7) == Portfolio(as_of_ms=7, lines=(), archived=0, unreadable=())


def test_a_retro_arrives_from_the_other_process(analysis: Analysis) -> None:
    retro = analysis.retro("1970-W01", now_ms=7)
    with Store.open(analysis.path, read_only=True) as store:
        expected = compute_retro(store, parse_week("1970-W01"), now_ms=7)
    assert retro.tally.sessions == 3
    assert retro.to_json() == expected.to_json()
    assert str(retro) == str(expected)
    assert retro._repr_html_().startswith("<p><b>Retro, week 1970-W01, all workspaces</b></p>")


def test_a_retro_looks_at_one_window_and_scope(analysis: Analysis) -> None:
    assert analysis.retro(days=1, now_ms=2 * DAY_MS).tally.sessions == 1
    assert analysis.retro(now_ms=2 * DAY_MS, workspace="/w/b").tally.sessions == 1
    with pytest.raises(ConfigError, match="two windows; give one"):
        analysis.retro("1970-W01", days=3)
    with pytest.raises(ConfigError, match="The window is 0 days long"):
        analysis.retro(days=0)
    with pytest.raises(ConfigError, match="Cannot read thresholds"):
        analysis.retro("1970-W01", thresholds="/missing.toml")


KERNEL = """
import sys
from kaizen_analytics import open_analysis
analysis = open_analysis(sys.argv[1])
analysis.metrics(); analysis.sessions(); analysis.events("a"); analysis.experiments(); analysis.costs()
analysis.portfolio(now_ms=0); analysis.retro(days=1, now_ms=0)
print("kaizen_analytics.columnar.build" in sys.modules)
print("sqlite_scanner" in open("/proc/self/maps").read())
"""


@pytest.mark.skipif(not Path("/proc/self/maps").exists(), reason="looks at the libraries of a process in /proc")
def test_the_reading_process_never_loads_the_sqlite_extension(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    Store.open(path, create=True).close()
    done = subprocess.run([sys.executable, "-c", KERNEL, str(path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
