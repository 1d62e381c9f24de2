"""A store for notebooks: read-only Polars frames.

    >>> from kaizen_analytics import open_analysis
    >>> analysis = open_analysis("team.db")  # doctest: +SKIP
    >>> analysis.metrics(agent="codex")["tokens_per_session"].median()  # doctest: +SKIP
    >>> analysis.effect("cost_per_session", by="model", control="a", treatment="b")  # doctest: +SKIP
    >>> analysis.retro("2026-W47")  # doctest: +SKIP

Everything is read only. Do not write to the same file with another SQLite library in the same process meanwhile: its
locks are lost when a call here closes the file.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaizen_analytics import __version__
from kaizen_analytics.core.errors import ConfigError, ExperimentError, StoreError, did_you_mean, one_of
from kaizen_analytics.core.metrics import parse_metric
from kaizen_analytics.core.model import DesignKind
from kaizen_analytics.core.settings import cache_folder, find_folder
from kaizen_analytics.core.times import parse_time, read_clock
from kaizen_analytics.experiments import lifecycle
from kaizen_analytics.experiments.compare import compare_arms
from kaizen_analytics.experiments.plan import Cluster, Plan, Statistic
from kaizen_analytics.experiments.portfolio import read_portfolio
from kaizen_analytics.experiments.power import compute_power
from kaizen_analytics.experiments.sample import check_value
from kaizen_analytics.pages import exhibits, summary
from kaizen_analytics.retro.retro import choose_window, compute_retro
from kaizen_analytics.stats.effect import Split
from kaizen_analytics.store import Store, list_experiments, unreadable_experiments
from kaizen_analytics.store.frames import read_events, read_sessions, session_metrics
from kaizen_analytics.usage import RESPONSES, TOOL_CALLS, Chosen, compute_timeline, compute_tools, compute_usage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    import altair as alt
    import polars as pl

    from kaizen_analytics.core.model import Metric
    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.experiments.portfolio import Portfolio
    from kaizen_analytics.experiments.power import PowerTable
    from kaizen_analytics.retro.retro import Retro
    from kaizen_analytics.stats import Effect


@dataclass(frozen=True, slots=True)
class Analysis:
    """A store to read from; use `open_analysis`. Every call answers from the store as it is now."""

    store: Store

    def sessions(self) -> pl.DataFrame:
        """Return one row per session, sub-agents included, ordered by start.

        Columns: `session_id`, `agent`, `model`, `workspace`, `started_at`, `ended_at` (both in UTC), `started_at_ms`,
        `ended_at_ms` (the same since the Unix epoch), `status`, `start_commit`,
        `branch`, `dirty_start`, `repo_binding_source`, `prompt_fingerprint`, `parent_session_id`, and `user` and
        `organisation` where the configuration names them. Null where nobody recorded the value.
        """
        return _with_times(read_sessions(self.store).rename({"id": "session_id"}))

    def metrics(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        workspace: str | None = None,
        agent: str | None = None,
        rollup: bool = True,
    ) -> pl.DataFrame:
        """Return every metric, one row per session, ordered by start.

        Columns: `session_id`, `agent`, `model`, `workspace`, `started_at`, `ended_at`, `started_at_ms`, `ended_at_ms`,
        `sessions_counted`, one for each metric (docs/reference/metrics.md has units and what null means), the counts
        `responses`, `unpriced_responses` and `unreliable_responses`, `last_event_ms`, and the denominators of the
        rates: `tool_results` (whose outcome is known), `input_tokens`, `lines_added` and `lines_surviving`.

        Args:
            since: First start that counts: a `datetime` with a time zone, or text such as "2026-10-05" or "7d" (ago).
            until: First start that no longer counts, with a time zone.
            workspace: Only this folder and those below it.
            agent: Only this agent, such as `codex`.
            rollup: Count sub-agents with the session that started them.

        Raises:
            ConfigError: a time has no time zone, or is no time.
        """
        chosen = _chosen(since, until, workspace, agent)
        return _with_times(chosen.select(session_metrics(self.store, rollup=rollup)))

    def events(self, session_id: str) -> pl.DataFrame:
        """Return the events of one session in order, empty for an unknown session.

        Columns: `session_id`, `seq` (0, 1, 2, ...), `ts_ms` (milliseconds since the Unix epoch), `ts_exact` (1: the
        transcript's own clock), `kind`, `tool` (null for events without one), the five disjoint token counts
        `tokens_in`, `tokens_out`, `reasoning_tokens`, `cache_creation_tokens` and `cache_read_tokens`, `cost_usd_e6`
        (millionths of a US dollar), and what ingestion marked: `message_role`, `is_prompt`, `is_unreliable` and
        `is_error`. Null where the transcript does not tell the value, or the event is no response. Texts stay in the
        store.
        """
        return read_events(self.store, [_checked(session_id)]).sort("seq")

    def timeline(self, session_id: str) -> pl.DataFrame:
        """Return the course of one session, one row per event in order; empty for an unknown session.

        Columns: `seq`, `minute` (minutes since its first event), `kind`, `tool` (null for other events), `is_prompt`,
        `is_error` (null where nobody recorded the outcome), `new_tokens` and `cost_usd` (US dollars) of a response
        (null for other events and for responses that do not tell them), and the sums `new_tokens_so_far` and
        `cost_usd_so_far`, to which unknown values add nothing. `new_tokens` are what the model newly processed or
        wrote, as in the metric `tokens_per_session`.
        """
        return compute_timeline(self.events(session_id))

    def usage(
        self,
        by: Sequence[str] = ("day",),
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        workspace: str | None = None,
        agent: str | None = None,
        timezone: str = "UTC",
    ) -> pl.DataFrame:
        """Return tokens and cost, one row per group that has a response, ordered by the groups.

        A response counts at its own time and under its own model; a sub-agent's count with the session that started it.

        Columns: those of `by`, then `sessions`, `responses`, `unpriced_responses` (their cost is missing from
        `cost_usd`), `unreliable_responses` (their output count is too low), the
        disjoint sums `tokens_in`, `cache_creation_tokens`, `cache_read_tokens`, `tokens_out` and
        `reasoning_tokens`, `new_tokens` (all of them but `cache_read_tokens`), `cost_usd` (US dollars) and
        `priced_share` (of all tokens, those with a price). A sum is null where no response of the group has the value.

        Args:
            by: Out of `day`, `week` (its Monday), `month` (its first day), `window` (of five hours), `weekly_window`,
                `agent`, `model`, `workspace`, `branch`, `pull_request`, `task`, `user`, `organisation`, `session`.
            timezone: Where days, weeks and months begin, such as `Europe/Berlin`.

        The other arguments say which responses count; see `metrics`.

        Raises:
            ConfigError: `by` or `timezone` names something else, or a time has no time zone.

        >>> analysis.usage(by=["month", "agent"]).columns[:4]
        ['month', 'agent', 'sessions', 'responses']
        """
        chosen = _chosen(since, until, workspace, agent)
        return compute_usage(chosen.read(RESPONSES, self.store), by, timezone=timezone)

    def tools(
        self,
        *,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        workspace: str | None = None,
        agent: str | None = None,
    ) -> pl.DataFrame:
        """Return one row per tool, most called first.

        Columns: `tool`, `calls`, `sessions`, `known_results` (whose outcome is recorded), `failures`, `error_share` (of
        the known results), `median_seconds` and `p95_seconds` (from a call to its result).

        The arguments say which calls count; see `metrics`.

        >>> analysis.tools()["tool"].is_unique().all()
        True
        """
        chosen = _chosen(since, until, workspace, agent)
        return compute_tools(chosen.read(TOOL_CALLS, self.store))

    def effect(
        self,
        metric: Metric | str,
        *,
        by: str,
        control: str,
        treatment: str,
        alpha: float = 0.05,
        statistic: str = "median",
        cluster: str | None = None,
        since: datetime | str | None = None,
        until: datetime | str | None = None,
        workspace: str | None = None,
        agent: str | None = None,
    ) -> Effect:
        """Compare a metric between the sessions with two values of a column, as `exp evaluate` compares two arms.

        This explores. Sessions that were not assigned to the values by an experiment may differ in more than that.
        `Effect.split` names both groups and counts the sessions that have no value and are left out.

        Args:
            metric: The metric, such as `cost_per_session`.
            by: A column with text of `metrics` or `sessions`, such as `agent`, `model`, `workspace` or `branch`.
            control: The value that is compared with.
            treatment: The value that is looked at.
            alpha: Level of the intervals, for one analysis.
            statistic: `median` or `mean`, for quantities.
            cluster: Whose sessions resemble each other: `none`, `workspace`, `user` or `organisation`. By default none
                within one workspace, else the workspace, as in an experiment.

        The other arguments say which sessions count; see `metrics`.

        Raises:
            ConfigError: the metric, the column, a value, the statistic or the cluster does not exist.
        """
        import polars as pl

        frame = self.metrics(since=since, until=until, workspace=workspace, agent=agent)
        more = self.sessions()
        columns = ["session_id", *(name for name in more.columns if name not in frame.columns)]
        joined = frame.join(more.select(columns), on="session_id", how="left", maintain_order="left")
        if joined.schema.get(by) != pl.String:
            texts = [name for name, dtype in joined.schema.items() if dtype == pl.String]
            raise ConfigError(
                f"Sessions are compared by {', '.join(texts)}, not by {by!r}.{did_you_mean(str(by), texts)}"
            )
        arms = [_arm(joined, by, value) for value in (control, treatment)]
        measured = parse_metric(metric)
        first, second = (arm.with_columns(user_name="user") if "user" in arm.columns else arm for arm in arms)
        compared = compare_arms(
            first,
            second,
            measured,
            statistic=one_of("The statistic", statistic, Statistic),
            alpha=alpha,
            cluster=one_of("The cluster", cluster or _choose_cluster(pl.concat(arms), by), Cluster),
        )
        missing = [arm[measured.column].null_count() for arm in arms]
        sums = [arm.select(pl.col("unreliable_responses", "responses").sum()).row(0) for arm in arms]
        unreliable = [part / whole if whole else None for part, whole in sums]
        split = Split(
            metric=measured,
            by=by,
            control=control,
            treatment=treatment,
            control_missing=missing[0],
            treatment_missing=missing[1],
            control_unreliable=unreliable[0],
            treatment_unreliable=unreliable[1],
        )
        return replace(compared, split=split)

    def power(
        self,
        metric: Metric | str,
        *,
        target_pct: float = 0.0,
        days: int = 28,
        until: datetime | str | None = None,
        alpha: float = 0.05,
        power: float = 0.8,
        design: str = "planned",
        statistic: str = "median",
        workspace: str | None = None,
        agent: str | None = None,
    ) -> PowerTable:
        """Say how many sessions and days an experiment needs: whole experiments simulated from past sessions.

        Args:
            target_pct: Signed percent change to prove; 0 proves any improvement.
            days: Length of the history; its rate of sessions is taken to go on.
            until: End of the history; by default the start of the newest session.
            design: `planned` (analyses at any time up to a planned number), `open` or `fixed` (one analysis).

        Raises:
            ConfigError: the metric, the design or the statistic does not exist, or the time has no time zone.
            ExperimentError: too few sessions with a value lie in the history, or `days` is not positive.
        """
        sessions = self.metrics(workspace=workspace, agent=agent)
        if sessions.is_empty():
            raise ExperimentError("There is no session to plan from; leave out workspace and agent, or ingest some.")
        newest_ms = int(str(sessions["started_at_ms"].max()))
        return compute_power(
            sessions,
            parse_metric(metric),
            now_ms=newest_ms if until is None else _milliseconds(until),
            days=days,
            target_pct=target_pct,
            power=power,
            plan=Plan(
                alpha=alpha,
                design=one_of("The design", design, DesignKind),
                statistic=one_of("The statistic", statistic, Statistic),
            ),
        )

    def experiments(self) -> pl.DataFrame:
        """Return one row per experiment, newest first.

        Columns: `id`, `name`, `state`, `metric`, `hypothesis`, `change_description`, `duration_days`, `created_at_ms`,
        `concluded_at_ms`, and `problem`: why a row cannot be read (its other columns are then null), else null.
        """
        import polars as pl

        texts = ("id", "name", "state", "metric", "hypothesis", "change_description")
        numbers = ("duration_days", "created_at_ms", "concluded_at_ms")
        schema = {**dict.fromkeys(texts, pl.String), **dict.fromkeys(numbers, pl.Int64), "problem": pl.String}
        rows: list[dict[str, Any]] = [
            {name: getattr(item, name) for name in (*texts, *numbers)}
            | {"state": item.state.value, "metric": item.metric.value}
            for item in list_experiments(self.store)
        ]
        rows += [{"id": item.id, "problem": item.reason} for item in unreadable_experiments(self.store)]
        return pl.DataFrame(rows, schema=schema).sort(["created_at_ms", "id"], descending=[True, False])

    def evaluate(self, experiment_id: str, *, now_ms: int | None = None) -> Evaluation:
        """Judge an experiment, as `kaizen-analytics exp evaluate` does.

        Raises:
            ExperimentError: it does not exist, or has not started.
            RepositoryError: its repository cannot be read.
        """
        return lifecycle.evaluate(self.store, _checked(experiment_id), now_ms=_now(now_ms))

    def chart(self, experiment_id: str, show: str = "effects", *, now_ms: int | None = None) -> alt.LayerChart:
        """Return a chart of the conclusion report with tooltips; it needs the extra `[notebooks]`.

        Args:
            show: `effects` (every metric), `shift` (both distributions), `over_time` (both arms by day or week), or
                `course` (the effect as sessions came in).
            now_ms: The moment of the evaluation, in milliseconds since the Unix epoch; by default now.

        Raises:
            ConfigError: there is no such chart.
            ExperimentError: the experiment does not exist, has not started, or has nothing to draw yet.

        >>> analysis.chart("plan-first", "over_time").to_dict()["width"]
        'container'
        """
        at_ms = _now(now_ms)
        sample = lifecycle.read_judged_sample(self.store, _checked(experiment_id), now_ms=at_ms)[2]
        return exhibits.draw_result(self.evaluate(experiment_id, now_ms=at_ms), sample, show)

    def portfolio(self, *, now_ms: int | None = None) -> Portfolio:
        """Look at all experiments at once, by default now: outcomes, decisions, and what needs attention."""
        return read_portfolio(self.store, now_ms=_now(now_ms))

    def retro(
        self,
        week: str | None = None,
        *,
        days: int | None = None,
        repository: str | os.PathLike[str] | None = None,
        timezone: str = "UTC",
        now_ms: int | None = None,
    ) -> Retro:
        """Say what past sessions show to be worth changing; nothing is kept in the store.

        Args:
            week: An ISO week such as `2026-W47`; by default the last 28 whole days.
            days: The last whole days instead.
            repository: Only sessions of this folder, those below it and its worktrees; where it is on this machine,
                also which changes were applied to it.
            timezone: The zone whose days count.
            now_ms: The moment to speak for, in milliseconds since the Unix epoch; by default now.

        Raises:
            ConfigError: both `week` and `days` are given, or one of them makes no sense.
            RepositoryError: git refuses to read the repository.
        """
        at_ms = _now(now_ms)
        folder = None if repository is None else Path(repository).absolute()
        return compute_retro(
            self.store,
            choose_window(days, week, at_ms, timezone),
            now_ms=at_ms,
            repository=None if folder is None else str(folder),
            root=folder if folder is not None and folder.is_dir() else None,
            timezone=timezone,
        )


def open_analysis(path: str | os.PathLike[str]) -> Analysis:
    """Open a store for analysis; in a notebook, results show themselves as tables from then on.

    Raises:
        StoreError: it is missing, damaged, or a file of kaizen-cli or another program.

    >>> analysis.experiments()["id"].sort().to_list()
    ['concise-instructions', 'plan-first', 'small-model']
    """
    store = Store.open(path, read_only=True, ours=True)
    summary.register()
    return Analysis(store)


def sample_store() -> Path:
    """Return a store with the sample sessions and experiments of a checkout, to try things on.

    It is made on the first call, in a few seconds, and kept in the cache folder.

    Raises:
        ConfigError: this installation has no sample; only a checkout does.

    >>> sample_store().name
    'kaizen.db'
    """
    try:
        script = find_folder("data") / "sample_store.py"
    except ConfigError:
        raise ConfigError("The sample is part of a checkout only; give the path of your own store.") from None
    digest = hashlib.sha256()
    for path in sorted(path for path in (script.parent / "sample").rglob("*") if path.is_file()):
        digest.update(path.read_bytes())
    folder = cache_folder(os.environ, Path.home()) / f"sample-{digest.hexdigest()[:12]}-{__version__}"
    store = folder / "kaizen.db"
    if not store.exists():
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command = [sys.executable, str(script), str(store)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)  # noqa: S603
        if done.returncode:
            raise StoreError(f"The sample could not be made in {store}: {done.stderr[-500:]}")
    return store


def _now(now_ms: int | None) -> int:
    return read_clock() if now_ms is None else now_ms


def _checked(text: str) -> str:
    """Return a text that the store can be asked for."""
    try:
        text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise ConfigError(f"The id is {text!r}; expected text that can be written as UTF-8.") from None
    return text


def _chosen(
    since: datetime | str | None, until: datetime | str | None, workspace: str | None, agent: str | None
) -> Chosen:
    return Chosen(
        since_ms=None if since is None else _milliseconds(since),
        until_ms=None if until is None else _milliseconds(until),
        workspace=workspace,
        agent=agent,
    )


def _with_times(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame with its starts and ends as times in UTC, before the numbers that hold them."""
    import polars as pl

    place = frame.columns.index("started_at_ms")
    for name in ("ended_at", "started_at"):
        at = frame[f"{name}_ms"].cast(pl.Datetime("ms")).dt.replace_time_zone("UTC").alias(name)
        frame = frame.insert_column(place, at)
    return frame


def _choose_cluster(frame: pl.DataFrame, by: str) -> Cluster:
    is_one = by == "workspace" or frame["workspace"].n_unique() == 1
    return Cluster.NONE if is_one else Cluster.WORKSPACE


def _arm(frame: pl.DataFrame, by: str, value: str) -> pl.DataFrame:
    import polars as pl

    check_value(frame, by, value)
    return frame.filter(pl.col(by) == value)


def _milliseconds(moment: datetime | str) -> int:
    if isinstance(moment, str):
        return parse_time(moment, _now(None))
    if moment.tzinfo is None:
        raise ConfigError(f"The time {moment} has no time zone; write datetime(…, tzinfo=UTC).")
    return round(moment.timestamp() * 1000)
