"""A store for notebooks: read-only Polars frames, from the columnar mirror.

    >>> from kaizen_analytics import open_analysis
    >>> analysis = open_analysis("team.db")  # doctest: +SKIP
    >>> analysis.metrics(agent="codex")["tokens_per_session"].median()  # doctest: +SKIP

The process that calls this never opens the store. What needs it (refreshing the mirror, evaluating an experiment) runs
in a process of its own, so a notebook may use any SQLite library on the same file, and its SQL reaches no extension.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kaizen_analytics import errors
from kaizen_analytics.errors import ConfigError, ExperimentError, KaizenError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    import polars as pl

    from kaizen_analytics.columnar import Mirror
    from kaizen_analytics.experiments.evaluation import Evaluation


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
        import polars as pl

        name = "metrics" if rollup else "metrics_apart"
        frame = self._read(lambda mirror: mirror.table(name))
        conditions = [pl.lit(value=True)]
        if since is not None:
            conditions.append(pl.col("started_at_ms") >= _milliseconds(since))
        if until is not None:
            conditions.append(pl.col("started_at_ms") < _milliseconds(until))
        if workspace is not None:
            below = pl.col("workspace").str.starts_with(workspace.rstrip("/") + "/")
            conditions.append((pl.col("workspace") == workspace) | below)
        if agent is not None:
            conditions.append(pl.col("agent") == agent)
        return frame.filter(*conditions).sort("started_at_ms", "session_id")

    def events(self, session_id: str) -> pl.DataFrame:
        """Return the events of one session in order, empty for an unknown session.

        Columns: `session_id`, `seq`, `ts_ms`, `ts_exact` (1: the transcript's own clock), `kind`, `tool`, the five
        disjoint token columns, `cost_usd_e6`, and what ingestion marked: `message_role`, `is_prompt`, `is_unreliable`,
        `is_error`. Texts stay in the store.
        """
        return self._read(lambda mirror: mirror.events(session_id))

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

        moment = [] if now_ms is None else [str(now_ms)]
        return thaw_evaluation(json.loads(_run_apart("evaluate", self.path, experiment_id, *moment)))

    def _read(self, read: Callable[[Mirror], pl.DataFrame]) -> pl.DataFrame:
        from kaizen_analytics.columnar import read_mirror

        def renew() -> None:
            _run_apart("refresh", self.path)

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


def _run_apart(verb: str, path: Path, *arguments: str) -> str:
    """Run one of this module's verbs in a process of its own and return what it printed; its error becomes ours."""
    command = [sys.executable, "-m", "kaizen_analytics.analysis", verb, str(path), *arguments]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        command, capture_output=True, text=True, encoding="utf-8", check=False, env=environment
    )
    if done.returncode == 0:
        return done.stdout
    try:
        name, message = json.loads(done.stderr)
        kind = getattr(errors, name)
    except (ValueError, TypeError, AttributeError):
        raise StoreError(f"Reading {path} failed with exit code {done.returncode}: {done.stderr[-500:]}") from None
    raise kind(message)


def _answer(verb: str, path: Path, arguments: list[str]) -> str:
    if verb == "refresh":
        from kaizen_analytics.columnar import refresh

        refresh(path)
        return ""
    import time

    from kaizen_analytics.experiments.codec import freeze_evaluation
    from kaizen_analytics.experiments.lifecycle import evaluate
    from kaizen_analytics.store import Store

    experiment_id, *moment = arguments
    now_ms = int(moment[0]) if moment else time.time_ns() // 1_000_000
    with Store.open(path, read_only=True) as store:
        return json.dumps(freeze_evaluation(evaluate(store, experiment_id, now_ms=now_ms)))


def _main() -> None:
    verb, path, *arguments = sys.argv[1:]
    try:
        sys.stdout.write(_answer(verb, Path(path), arguments))
    except KaizenError as error:
        sys.exit(json.dumps([type(error).__name__, str(error)]))


if __name__ == "__main__":
    _main()
