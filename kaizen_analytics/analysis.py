"""A store for notebooks: read-only Polars frames, from the columnar mirror.

    >>> from kaizen_analytics import open_analysis
    >>> analysis = open_analysis("team.db")  # doctest: +SKIP
    >>> analysis.metrics(agent="codex")["tokens_per_session"].median()  # doctest: +SKIP
    >>> analysis.effect("cost_per_session", by="model", control="a", treatment="b")  # doctest: +SKIP
    >>> analysis.retro("2026-W47")  # doctest: +SKIP

The process that calls this never opens the store. What needs it (refreshing the mirror, evaluating an experiment,
making a retro) runs in a process of its own, so a notebook may use any SQLite library on the same file, and its SQL
reaches no extension.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaizen_analytics import __version__, errors
from kaizen_analytics.errors import ConfigError, ExperimentError, KaizenError, StoreError, did_you_mean
from kaizen_analytics.metrics import REGISTRY, MetricKind, parse_metric
from kaizen_analytics.resources import find_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    import polars as pl

    from kaizen_analytics.columnar import Mirror
    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.experiments.portfolio import Portfolio
    from kaizen_analytics.experiments.power import PowerTable
    from kaizen_analytics.model import Metric
    from kaizen_analytics.retro.relations import Window
    from kaizen_analytics.retro.retro import Retro
    from kaizen_analytics.stats import Effect
    from kaizen_analytics.store import Store


@dataclass(frozen=True, slots=True)
class Analysis:
    """A store to read from; use `open_analysis`. Every call answers from the store as it is now."""

    path: Path

    def sessions(self) -> pl.DataFrame:
        """Return one row per session, sub-agents included, ordered by start.

        Columns: `id`, `agent`, `model`, `workspace`, `started_at_ms`, `ended_at_ms`, `status`, `start_commit`,
        `branch`, `dirty_start`, `repo_binding_source`, `prompt_fingerprint`, `parent_session_id`, and `user` and
        `organisation` where the configuration names them. Null where nobody recorded the value.
        """
        return self._read(_join_sessions)

    def metrics(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        workspace: str | None = None,
        agent: str | None = None,
        rollup: bool = True,
    ) -> pl.DataFrame:
        """Return every metric, one row per session, ordered by start.

        Columns: `session_id`, `agent`, `model`, `workspace`, `started_at_ms`, `ended_at_ms`, `sessions_counted`, one
        column per metric (docs/metrics.md has units and what null means), and the counts `responses`,
        `unpriced_responses` and `unreliable_responses`.

        Args:
            since: First start that counts, with a time zone.
            until: First start that no longer counts, with a time zone.
            workspace: Only this folder and those below it.
            agent: Only this agent, such as `codex`.
            rollup: Count sub-agents with the session that started them.

        Raises:
            ConfigError: a time has no time zone.
        """
        name = "metrics" if rollup else "metrics_apart"
        frame = self._read(lambda mirror: mirror.table(name))
        within = _within("started_at_ms", since, until)
        return frame.filter(within, _belongs(workspace, agent)).sort("started_at_ms", "session_id")

    def events(self, session_id: str) -> pl.DataFrame:
        """Return the events of one session in order, empty for an unknown session.

        Columns: `session_id`, `seq` (0, 1, 2, ...), `ts_ms` (milliseconds since the Unix epoch), `ts_exact` (1: the
        transcript's own clock), `kind`, `tool` (null for events without one), the five disjoint token counts
        `tokens_in`, `tokens_out`, `reasoning_tokens`, `cache_creation_tokens` and `cache_read_tokens`, `cost_usd_e6`
        (millionths of a US dollar), and what ingestion marked: `message_role`, `is_prompt`, `is_unreliable` and
        `is_error`. Null where the transcript does not tell the value, or the event is no response. Texts stay in the
        store.
        """
        return self._read(lambda mirror: mirror.events(_checked(session_id)))

    def timeline(self, session_id: str) -> pl.DataFrame:
        """Return the course of one session, one row per event in order; empty for an unknown session.

        Columns: `seq`, `minute` (minutes since its first event), `kind`, `tool` (null for other events), `is_prompt`,
        `is_error` (null where nobody recorded the outcome), `new_tokens` and `cost_usd` (US dollars) of a response
        (null for other events and for responses that do not tell them), and the sums `new_tokens_so_far` and
        `cost_usd_so_far`, to which unknown values add nothing. `new_tokens` are what the model newly processed or
        wrote, as in the metric `tokens_per_session`.
        """
        from kaizen_analytics.usage import compute_timeline

        return compute_timeline(self.events(session_id))

    def costs(
        self,
        by: Sequence[str] = ("day",),
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        workspace: str | None = None,
        agent: str | None = None,
    ) -> pl.DataFrame:
        """Return tokens and cost, one row per group that has a response, ordered by the groups.

        A response counts on its own day and with its own session, sub-agents apart from the session that started them.

        Columns: those of `by`, then `sessions`, `responses`, `unpriced_responses` (their cost is missing from
        `cost_usd`), the disjoint sums `tokens_in`, `cache_creation_tokens`, `cache_read_tokens`, `tokens_out` and
        `reasoning_tokens`, `cost_usd` (US dollars), and `new_tokens`: all of them but `cache_read_tokens`. A sum is
        null where no response of the group tells the value.

        Args:
            by: Out of `day`, `week` (its Monday), `month` (its first day), all in UTC, and `agent`, `model`,
                `workspace`, `branch`, `user`, `organisation`, `session_id`.
            since: First response that counts, with a time zone.
            until: First response that no longer counts, with a time zone.
            workspace: Only this folder and those below it.
            agent: Only this agent, such as `codex`.

        Raises:
            ConfigError: `by` names something else, or a time has no time zone.
        """
        from kaizen_analytics.usage import compute_costs

        within = _within("ts_ms", since, until)

        def read(mirror: Mirror) -> pl.DataFrame:
            sessions = _join_sessions(mirror).filter(_belongs(workspace, agent))
            return compute_costs(mirror.scan_events().filter(within), sessions, by)

        return self._read(read)

    def tools(
        self,
        *,
        since: datetime | None = None,
        until: datetime | None = None,
        workspace: str | None = None,
        agent: str | None = None,
    ) -> pl.DataFrame:
        """Return one row per tool, most called first.

        Columns: `tool`, `calls`, `sessions` (that called it), `known_results` (results that say whether they failed),
        `failures`, and `error_share`: failures per known result, null where none is known.

        Args:
            since: First event that counts, with a time zone.
            until: First event that no longer counts, with a time zone.
            workspace: Only this folder and those below it.
            agent: Only this agent, such as `codex`.

        Raises:
            ConfigError: a time has no time zone.
        """
        from kaizen_analytics.usage import compute_tools

        within = _within("ts_ms", since, until)

        def read(mirror: Mirror) -> pl.DataFrame:
            sessions = _join_sessions(mirror).filter(_belongs(workspace, agent))
            return compute_tools(mirror.scan_events().filter(within), sessions)

        return self._read(read)

    def effect(
        self,
        metric: Metric | str,
        *,
        by: str,
        control: str,
        treatment: str,
        alpha: float = 0.05,
        since: datetime | None = None,
        until: datetime | None = None,
        workspace: str | None = None,
        agent: str | None = None,
    ) -> Effect:
        """Compare a metric between the sessions with two values of a column: by medians, or shares for a proportion.

        This explores. Sessions that were not assigned to the values by an experiment may differ in more than that.
        The first note names both groups, and the last one counts sessions that have no value and are left out.

        Args:
            metric: The metric, such as `cost_per_session`.
            by: A column with text of `metrics` or `sessions`, such as `agent`, `model`, `workspace` or `branch`.
            control: The value that is compared with.
            treatment: The value that is looked at.
            alpha: Level of the intervals, for one look.
            since: First start that counts, with a time zone.
            until: First start that no longer counts, with a time zone.
            workspace: Only this folder and those below it.
            agent: Only this agent.

        Raises:
            ConfigError: the metric, the column or a value does not exist.
        """
        import polars as pl

        frame = self.metrics(since=since, until=until, workspace=workspace, agent=agent)
        more = self.sessions().rename({"id": "session_id"})
        columns = ["session_id", *(name for name in more.columns if name not in frame.columns)]
        joined = frame.join(more.select(columns), on="session_id", how="left", maintain_order="left")
        if joined.schema.get(by) != pl.String:
            texts = [name for name, dtype in joined.schema.items() if dtype == pl.String]
            raise ConfigError(
                f"Sessions are compared by {', '.join(texts)}, not by {by!r}.{did_you_mean(str(by), texts)}"
            )
        arms = [_arm(joined, by, value) for value in (control, treatment)]
        effect = _compare(arms[0], arms[1], parse_metric(metric), alpha)
        named = f"{REGISTRY[parse_metric(metric)].label} by {by}: control is {control}, treatment is {treatment}."
        return replace(effect, notes=(named, *effect.notes))

    def power(
        self,
        metric: Metric | str,
        *,
        target_pct: float = 0.0,
        days: int = 28,
        until: datetime | None = None,
        alpha: float = 0.05,
        power: float = 0.8,
        design: str = "planned",
        workspace: str | None = None,
        agent: str | None = None,
    ) -> PowerTable:
        """Say how many sessions and days an experiment needs, from past sessions.

        Args:
            metric: What the experiment is to move, such as `tokens_per_session`.
            target_pct: Signed percent change to prove; 0 proves any improvement.
            days: Length of the history; its rate of sessions is taken to go on.
            until: End of the history, with a time zone; by default the start of the newest session.
            alpha: Two-sided level.
            power: Probability of proving a true change.
            design: `planned` (looking at any time on the way to a planned number), `open` or `fixed` (one look).
            workspace: Only sessions of this folder and below it.
            agent: Only sessions of this agent.

        Raises:
            ConfigError: the metric or the design does not exist, or the time has no time zone.
            ExperimentError: no session lies in the history, or `days` is not positive.
            StatisticsError: fewer than five sessions have a value, or no percent change is defined for them.
        """
        from kaizen_analytics.experiments.plan import PlanDesign
        from kaizen_analytics.experiments.power import compute_power

        if design not in set(PlanDesign):
            raise ConfigError(f"The design is {design!r}; expected one of {', '.join(PlanDesign)}.")
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
            alpha=alpha,
            power=power,
            design=PlanDesign(design),
        )

    def experiments(self) -> pl.DataFrame:
        """Return one row per experiment, newest first.

        Columns: `id`, `name`, `state`, `metric`, `hypothesis`, `change_description`, `duration_days`, `created_at_ms`,
        `concluded_at_ms`, and `problem`: why a row cannot be read (its other columns are then null), else null.
        """
        return self._read(_list_experiments)

    def evaluate(self, experiment_id: str, *, now_ms: int | None = None) -> Evaluation:
        """Judge an experiment, as `kaizen-analytics exp evaluate` does.

        Args:
            experiment_id: The experiment's id.
            now_ms: The moment of the evaluation, in milliseconds since the Unix epoch; by default now.

        Raises:
            ExperimentError: it does not exist, or has not started.
            RepositoryError: its repository cannot be read.
        """
        from kaizen_analytics.experiments.codec import thaw_evaluation

        request = {"experiment_id": _checked(experiment_id), "now_ms": now_ms}
        return thaw_evaluation(json.loads(_run_apart("evaluate", self.path, request)))

    def portfolio(self, *, now_ms: int | None = None) -> Portfolio:
        """Look at all experiments at once: outcomes, decisions, and what needs attention.

        Args:
            now_ms: The moment to speak for, in milliseconds since the Unix epoch; by default now.
        """
        from kaizen_analytics.experiments.portfolio import Portfolio

        return Portfolio.from_json(json.loads(_run_apart("portfolio", self.path, {"now_ms": now_ms})))

    def retro(
        self,
        week: str | None = None,
        *,
        days: int | None = None,
        workspace: str | None = None,
        repository: str | os.PathLike[str] | None = None,
        thresholds: str | os.PathLike[str] | None = None,
        now_ms: int | None = None,
    ) -> Retro:
        """Look at a week: what to change, and what became of earlier suggestions; nothing is kept in the store.

        Args:
            week: An ISO week such as `2026-W47`; by default the last seven days.
            days: The last days instead, today included.
            workspace: Only sessions of this folder and below it.
            repository: A repository whose guidance and commits to look at; by default neither is.
            thresholds: TOML with changed thresholds; by default none is changed.
            now_ms: The moment to speak for, in milliseconds since the Unix epoch; by default now.

        Raises:
            ConfigError: both `week` and `days` are given, one of them or a threshold makes no sense.
            RepositoryError: git refuses to read the repository.
        """
        if week is not None and days is not None:
            raise ConfigError(f"The week {week!r} and the last {days} days are two windows; give one of them.")
        request = {
            "week": week,
            "days": days,
            "workspace": workspace,
            "repository": None if repository is None else os.fspath(repository),
            "thresholds": None if thresholds is None else os.fspath(thresholds),
            "now_ms": now_ms,
        }
        packed = base64.b64decode(_run_apart("retro", self.path, request))
        retro: Retro = pickle.loads(packed)  # noqa: S301 - our own process wrote it
        return retro

    def _read(self, read: Callable[[Mirror], pl.DataFrame]) -> pl.DataFrame:
        from kaizen_analytics.columnar import read_mirror

        def renew() -> None:
            _run_apart("refresh", self.path, {})

        return read_mirror(self.path, read, renew=renew)


def open_analysis(path: str | os.PathLike[str]) -> Analysis:
    """Open a store for analysis.

    Args:
        path: The store that this package or kaizen-cli wrote.

    Raises:
        StoreError: it is missing, damaged or no store.
    """
    analysis = Analysis(Path(path).absolute())
    analysis.sessions()
    return analysis


def sample_store() -> Path:
    """Return a store with the sample sessions and experiments of a checkout, to try things on.

    It is made on the first call, in a few seconds, and kept in the cache folder.

    Raises:
        ConfigError: this installation has no sample; only a checkout does.
    """
    from kaizen_analytics.resources import cache_folder

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
        _call([sys.executable, str(script), str(store)], store, "")
    return store


def _checked(text: str) -> str:
    """Return a text that the store can be asked for."""
    try:
        text.encode()
    except (AttributeError, UnicodeEncodeError):
        raise ConfigError(f"The id is {text!r}; expected text that can be written as UTF-8.") from None
    return text


def _within(column: str, since: datetime | None, until: datetime | None) -> pl.Expr:
    import polars as pl

    condition = pl.lit(value=True)
    if since is not None:
        condition &= pl.col(column) >= _milliseconds(since)
    if until is not None:
        condition &= pl.col(column) < _milliseconds(until)
    return condition


def _belongs(workspace: str | None, agent: str | None) -> pl.Expr:
    import polars as pl

    condition = pl.lit(value=True)
    if workspace is not None:
        below = pl.col("workspace").str.starts_with(workspace.rstrip("/") + "/")
        condition &= (pl.col("workspace") == workspace) | below
    if agent is not None:
        condition &= pl.col("agent") == agent
    return condition


def _arm(frame: pl.DataFrame, by: str, value: str) -> pl.DataFrame:
    import polars as pl

    arm = frame.filter(pl.col(by) == value)
    if arm.is_empty():
        known = frame[by].drop_nulls().unique().sort().to_list()
        shown = ", ".join(known[:10]) + (", and others" if len(known) > 10 else "")
        raise ConfigError(
            f"No session has the {by} {value!r}; expected one of {shown or 'no value at all'}."
            f"{did_you_mean(str(value), known)}"
        )
    return arm


def _compare(control: pl.DataFrame, treatment: pl.DataFrame, metric: Metric, alpha: float) -> Effect:
    from kaizen_analytics.stats import median_effect, proportion_effect

    values = [arm[metric.column].drop_nulls() for arm in (control, treatment)]
    compare = proportion_effect if REGISTRY[metric].kind is MetricKind.PROPORTION else median_effect
    effect = compare(values[0].to_numpy(), values[1].to_numpy(), alpha=alpha)
    missing = control.height - values[0].len(), treatment.height - values[1].len()
    if not any(missing):
        return effect
    note = f"Without a value, and left out: {missing[0]:,} control and {missing[1]:,} treatment sessions."
    return replace(effect, notes=(*effect.notes, note))


def _milliseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ConfigError(f"The time {moment} has no time zone; write datetime(…, tzinfo=UTC).")
    return round(moment.timestamp() * 1000)


def _join_sessions(mirror: Mirror) -> pl.DataFrame:
    attributes = mirror.table("ka_session_attributes").rename({"session_id": "id"})
    return mirror.table("sessions").join(attributes, on="id", how="left").sort("started_at_ms", "id")


def _list_experiments(mirror: Mirror) -> pl.DataFrame:
    import polars as pl

    schema = {
        "id": pl.String,
        "name": pl.String,
        "state": pl.String,
        "metric": pl.String,
        "hypothesis": pl.String,
        "change_description": pl.String,
        "duration_days": pl.Int64,
        "created_at_ms": pl.Int64,
        "concluded_at_ms": pl.Int64,
        "problem": pl.String,
    }
    stored = pl.concat([mirror.table("experiments"), mirror.table("ka_experiments")])
    rows = [_experiment_row(row) for row in stored.iter_rows(named=True)]
    return pl.DataFrame(rows, schema=schema).sort(["created_at_ms", "id"], descending=[True, False])


def _experiment_row(row: dict[str, Any]) -> dict[str, Any]:
    from kaizen_analytics.model import Experiment

    columns = {name: row[name] for name in ("id", "name", "state", "created_at_ms", "concluded_at_ms")}
    try:
        experiment = Experiment.from_json(row["metadata"] or "")
    except ExperimentError as error:
        return {**columns, "problem": str(error)}
    return {
        **columns,
        "metric": experiment.metric.value,
        "hypothesis": experiment.hypothesis,
        "change_description": experiment.change_description,
        "duration_days": experiment.duration_days,
    }


def _run_apart(verb: str, path: Path, request: dict[str, Any]) -> str:
    """Run one of this module's verbs in a process of its own and return what it printed; its error becomes ours."""
    return _call([sys.executable, "-m", "kaizen_analytics.analysis", verb, str(path)], path, json.dumps(request))


def _call(command: list[str], path: Path, stdin: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(  # noqa: S603 - our own interpreter and modules
        command, input=stdin, capture_output=True, text=True, encoding="utf-8", check=False, env=environment
    )
    if done.returncode == 0:
        return done.stdout
    try:
        name, message = json.loads(done.stderr)
        kind = getattr(errors, name)
    except (ValueError, TypeError, AttributeError):
        raise StoreError(f"Reading {path} failed with exit code {done.returncode}: {done.stderr[-500:]}") from None
    raise kind(message)


def _answer(verb: str, path: Path, request: dict[str, Any]) -> str:
    if verb == "refresh":
        from kaizen_analytics.columnar import refresh

        refresh(path)
        return ""
    from kaizen_analytics.store import Store

    now_ms = time.time_ns() // 1_000_000 if request["now_ms"] is None else request["now_ms"]
    with Store.open(path, read_only=True) as store:
        if verb == "portfolio":
            from kaizen_analytics.experiments.portfolio import read_portfolio

            return json.dumps(read_portfolio(store, now_ms=now_ms).to_json(), allow_nan=False)
        if verb == "retro":
            return base64.b64encode(pickle.dumps(_look_back(store, request, now_ms))).decode()
        from kaizen_analytics.experiments.codec import freeze_evaluation
        from kaizen_analytics.experiments.lifecycle import evaluate

        return json.dumps(freeze_evaluation(evaluate(store, request["experiment_id"], now_ms=now_ms)))


def _look_back(store: Store, request: dict[str, Any], now_ms: int) -> Retro:
    from kaizen_analytics.retro.heuristics import read_thresholds
    from kaizen_analytics.retro.retro import compute_retro

    repository, thresholds = request["repository"], request["thresholds"]
    return compute_retro(
        store,
        _window(request["week"], request["days"], now_ms),
        now_ms=now_ms,
        workspace=request["workspace"],
        thresholds=None if thresholds is None else read_thresholds(Path(thresholds)),
        repository=None if repository is None else Path(repository).absolute(),
    )


def _window(week: str | None, days: int | None, now_ms: int) -> Window:
    from kaizen_analytics.retro.retro import WEEK_DAYS, last_days, parse_week

    return last_days(WEEK_DAYS if days is None else days, now_ms) if week is None else parse_week(week)


def _main() -> None:
    verb, path = sys.argv[1:]
    try:
        sys.stdout.write(_answer(verb, Path(path), json.load(sys.stdin)))
    except KaizenError as error:
        sys.exit(json.dumps([type(error).__name__, str(error)]))


if __name__ == "__main__":
    _main()
