"""A store as frames, evaluations and retros."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from experiment_cases import DAY_MS, make_experiment
from rows import write_rows

from kaizen_analytics import (
    Portfolio,
    Store,
    open_analysis,
    render_text,
    save_experiment,
)
from kaizen_analytics.analysis import Analysis
from kaizen_analytics.core.errors import ConfigError, ExperimentError, StoreMissingError
from kaizen_analytics.core.model import DesignKind
from kaizen_analytics.experiments.assess import compare_metric
from kaizen_analytics.experiments.lifecycle import read_judged_sample
from kaizen_analytics.pages import effect_text
from kaizen_analytics.retro.retro import compute_retro, parse_week
from kaizen_analytics.stats import EffectKind


def write(store: Store, *names: str, used: list[int] | None = None) -> None:
    """Store sessions, one a day; the tokens of their only responses are 1, 2 … or `used`."""
    agents = ("claude_code", "codex")
    sessions = [
        {"id": name, "agent": agents[i % 2], "workspace": f"/w/{name}", "started_at_ms": i * DAY_MS}
        for i, name in enumerate(names)
    ]
    tokens = used or range(1, len(names) + 1)
    write_rows(store, sessions, [{"session_id": name, "tokens_in": n} for name, n in zip(names, tokens, strict=False)])


@pytest.fixture(scope="module")
def sample(sample_store: Path) -> Analysis:
    return open_analysis(sample_store)


@pytest.fixture
def analysis(tmp_path: Path) -> Analysis:
    """Three sessions, one a day from 1970-01-01, with 1, 2 and 3 tokens."""
    path = tmp_path / "kaizen.db"
    with Store.open(path, create=True) as store:
        write(store, "a", "b", "c")
    return open_analysis(path)


def test_sessions_come_in_order_of_start(analysis: Analysis) -> None:
    assert analysis.sessions()["session_id"].to_list() == ["a", "b", "c"]
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
    with Store.open(analysis.store.path) as store:
        write(store, "a", used=[7])
    assert analysis.metrics()["tokens_per_session"].to_list() == [7, 2, 3]


def test_experiments_are_listed_with_those_that_cannot_be_read(analysis: Analysis) -> None:
    with Store.open(analysis.store.path) as store:
        save_experiment(store, make_experiment(id="e1"))
        store.native(
            "insert into experiments (id, name, created_at_ms, metadata) values ('e2', 'x', 6, '{') returning 1"
        )
    frame = analysis.experiments()
    assert frame["id"].to_list() == ["e2", "e1"]
    assert frame["metric"].to_list() == [None, "TokensPerSession"]
    assert "not valid JSON" in frame["problem"][0]


def test_errors_name_what_is_missing(analysis: Analysis, tmp_path: Path) -> None:
    with pytest.raises(ExperimentError, match="experiment not found: e9"):
        analysis.evaluate("e9", now_ms=0)
    with pytest.raises(StoreMissingError, match="missing"):
        open_analysis(tmp_path / "missing.db")


def test_usage_is_filtered_by_time_and_session(analysis: Analysis) -> None:
    assert analysis.usage(["agent"])["agent"].to_list() == ["claude_code", "codex"]
    assert analysis.usage(["session"], agent="codex")["session"].to_list() == ["b"]
    assert analysis.usage(["day"], since=datetime(1970, 1, 2, tzinfo=UTC)).is_empty(), "all events are of the first day"
    assert analysis.usage()["new_tokens"].to_list() == [1 + 2 + 3]
    assert analysis.tools().is_empty()
    assert analysis.timeline("b")["new_tokens_so_far"].to_list() == [2]
    assert analysis.timeline("unknown").is_empty()


def test_an_effect_splits_a_metric_by_a_column(tmp_path: Path) -> None:
    names = [f"s{place:02}" for place in range(40)]
    path = tmp_path / "kaizen.db"
    with Store.open(path, create=True) as store:
        write(store, *names, used=[i % 2 * 1000 + i + 10 for i in range(38)])
    found = open_analysis(path).effect("tokens_per_session", by="agent", control="claude_code", treatment="codex")
    assert (found.control.n, found.treatment.n) == (19, 19)
    assert found.difference is not None
    assert found.difference.low > 900
    assert (found.split.control, found.split.treatment) == ("claude_code", "codex")
    assert (found.split.control_missing, found.split.treatment_missing) == (1, 1)


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
    with pytest.raises(ExperimentError, match="Planning needs at least 20 past sessions with a value, and found 3"):
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
        with pytest.raises(ConfigError, match="expected text"):
            analysis.events(wrong)


def test_the_portfolio_of_a_store_without_experiments(analysis: Analysis) -> None:
    assert analysis.portfolio(now_ms=7) == Portfolio(as_of_ms=7, lines=(), archived=0, unreadable=())


def test_a_retro_is_the_one_of_the_command(analysis: Analysis) -> None:
    retro = analysis.retro("1970-W01", now_ms=7)
    with Store.open(analysis.store.path, read_only=True) as store:
        expected = compute_retro(store, parse_week("1970-W01"), now_ms=7)
    assert retro.totals.sessions == 3
    assert retro.to_json() == expected.to_json()
    assert render_text(retro) == render_text(expected)


def test_a_retro_looks_at_one_window_and_scope(analysis: Analysis) -> None:
    assert analysis.retro(days=1, now_ms=2 * DAY_MS).totals.sessions == 1
    assert analysis.retro(now_ms=2 * DAY_MS, repository="/w/b").totals.sessions == 1
    with pytest.raises(ConfigError, match="two windows; give one"):
        analysis.retro("1970-W01", days=3)
    with pytest.raises(ConfigError, match="The window is 0 days long"):
        analysis.retro(days=0)


def test_an_effect_is_what_an_experiment_on_the_same_sessions_finds(sample: Analysis) -> None:
    experiment, plan, frame = read_judged_sample(sample.store, "concise-instructions", now_ms=0)
    fixed = replace(plan, design=DesignKind.FIXED)
    judged = compare_metric(frame, experiment.metric, fixed, as_of_ms=plan.started.window_end_ms)
    used = frame.filter(pl.col("variant") != "Excluded")["started_at_ms"]
    explored = sample.effect(
        experiment.metric,
        by="branch",
        control="main",
        treatment="concise-instructions",
        workspace=plan.workspaces[0],
        since=datetime.fromtimestamp(used.min() / 1000, UTC),
        until=datetime.fromtimestamp((used.max() + 1) / 1000, UTC),
    )
    assert replace(explored, split=None) == judged.effect
    assert effect_text.effect(explored) == effect_text.effect(judged.effect)


def test_an_effect_over_several_workspaces_takes_them_as_clusters(sample: Analysis) -> None:
    arms = {"by": "agent", "control": "claude_code", "treatment": "codex"}
    found = sample.effect("tokens_per_session", **arms)
    assert found.control.clusters is not None
    assert sample.effect("tokens_per_session", **arms, cluster="none").control.clusters is None
    assert sample.effect("tokens_per_session", **arms, statistic="mean").kind is EffectKind.MEAN
    assert sample.effect("tool_error_rate", **arms).kind is EffectKind.RATE
    with pytest.raises(ConfigError, match="The cluster is 'team'; expected one of none, day, branch, workspace"):
        sample.effect("tokens_per_session", **arms, cluster="team")


def test_an_effect_warns_of_unreliable_counts_as_an_experiment_does(sample: Analysis) -> None:
    found = sample.effect("tokens_per_session", by="agent", control="claude_code", treatment="codex")
    shares = replace(found.split, control_unreliable=0.5, treatment_unreliable=0.1)
    said = [note for note in effect_text.notes(replace(found, split=shares)) if note.startswith("Imbalance: responses")]
    assert len(said) == 1


def test_times_are_columns_and_arguments_can_be_text(analysis: Analysis) -> None:
    sessions = analysis.sessions()
    assert sessions["started_at"].dtype == pl.Datetime("ms", "UTC")
    assert sessions["started_at"].dt.epoch("ms").to_list() == sessions["started_at_ms"].to_list()
    first = sessions["started_at"].min()
    assert analysis.metrics(since=first.isoformat()).equals(analysis.metrics())
    assert analysis.metrics(since="1d").is_empty()
    with pytest.raises(ConfigError, match="'soon' is not a time"):
        analysis.metrics(until="soon")
