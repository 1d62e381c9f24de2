"""What a store holds for each table of the lake, before the projection: raw rows that must not leave as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.columnar.manifest import DamagedError
from kaizen_analytics.columnar.rollup import find_roots
from kaizen_analytics.experiments.lifecycle import apply_rule, get_plan
from kaizen_analytics.experiments.sample import read_values
from kaizen_analytics.lake.schema import PARTITIONED, PLAN_NUMBERS, TABLES, VALUES, TableName
from kaizen_analytics.model import Branch, Delta, GitCommit, ManualTag, PromptFingerprint
from kaizen_analytics.redact.projection import LATEST_MS
from kaizen_analytics.store.experiments import list_experiments
from kaizen_analytics.store.sessions import find_foreign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from kaizen_analytics.columnar import Mirror
    from kaizen_analytics.experiments.plan import Plan, Start
    from kaizen_analytics.model import Binding, Experiment
    from kaizen_analytics.store import Store

PARTITION = ("bucket", "day")
BUCKETS = 4
"""How many groups the hash of the root session makes of one day."""


@dataclass(frozen=True, slots=True)
class Sessions:
    """The sessions of a store with their partition, and where their events lie.

    `frame` has one row per session: the columns of the mirror's `sessions`, `user`, `organisation`, `root_id`,
    `bucket`, `day`, `session_key`, `events`, `row_checks` and `paths` (sorted). Together they tell whether anything
    that leaves of a session changed.
    """

    frame: pl.DataFrame
    parts: tuple[Path, ...]


def read_sessions(mirror: Mirror, bucket_of: Callable[[str], int]) -> Sessions:
    """Return every session of a store.

    Args:
        mirror: The mirror of the store.
        bucket_of: The bucket of a root session; a tree of sub-agents is never divided.
    """
    sessions = mirror.table("sessions").drop_nulls("id")
    roots = find_roots("metrics", sessions)
    distinct = roots["root_id"].unique()
    buckets = pl.DataFrame({"root_id": distinct, "bucket": [bucket_of(root) for root in distinct]})
    started = sessions.select(root_id="id", day=_day(pl.col("started_at_ms")))
    paths = mirror.table("files_touched").drop_nulls().group_by("session_id").agg(pl.col("path").unique().sort())
    frame = (
        sessions.join(roots, left_on="id", right_on="session_id")
        .join(buckets.cast({"bucket": pl.Int64()}), on="root_id")
        .join(started, on="root_id")
        .join(mirror.table("ka_session_attributes"), left_on="id", right_on="session_id", how="left")
        .join(mirror.table("keys"), left_on="id", right_on="session_id", how="left")
        .join(paths.rename({"session_id": "id", "path": "paths"}), on="id", how="left")
    )
    return Sessions(frame.sort("id"), tuple(mirror.parts()))


def stage_sessions(
    sessions: Sessions, chosen: pl.DataFrame, store: Store, source: str
) -> dict[TableName, pl.DataFrame]:
    """Return the raw rows of the divided tables for some sessions, with `bucket` and `day`.

    Args:
        sessions: All sessions of the store.
        chosen: The rows of `sessions.frame` that are wanted.
        store: The same store.
        source: The identity of the store.

    Raises:
        DamagedError: a part of the mirror has gone in the meantime.
    """
    ids = chosen["id"].to_list()
    owned = store.native("select session_id from ka_sources")
    foreign = find_foreign(store, sorted({str(row[0]) for row in owned} & set(ids)))
    where = chosen.select("id", *PARTITION, "root_id", "paths", "session_key")
    return {
        TableName.SESSIONS: _sessions(chosen, foreign, source),
        TableName.EVENTS: _events(sessions.parts, where, source),
        TableName.FILES_TOUCHED: _files(where, source),
    }


def read_tables(store: Store, source: str) -> dict[TableName, pl.DataFrame]:
    """Return the raw rows of the tables that are not divided: started experiments, and tags.

    Only what `exp start` froze leaves, so a draft stays at home.
    """
    rows: dict[TableName, list[dict[str, object]]] = {name: [] for name in TableName if name not in PARTITIONED}
    for experiment in list_experiments(store):
        plan = get_plan(store, experiment.id)
        if plan is None or plan.started is None:
            continue
        judged = apply_rule(experiment, plan)
        rows[TableName.EXPERIMENTS].append(_experiment_row(judged, plan, plan.started))
        rows[TableName.GUARDRAILS] += _guardrail_rows(judged)
        rows[TableName.SCOPES] += [{"experiment_id": judged.id, "workspace": item} for item in plan.workspaces]
        rows[TableName.VARIANT_VALUES] += _value_rows(store, judged)
        rows[TableName.TAGS] += _tag_rows(store, judged.id)
    return {name: _frame(name, found, source) for name, found in rows.items()}


def _day(moment: pl.Expr) -> pl.Expr:
    return pl.from_epoch(moment.clip(0, LATEST_MS), "ms").dt.strftime("%Y-%m-%d")


def _sessions(chosen: pl.DataFrame, foreign: set[str], source: str) -> pl.DataFrame:
    return chosen.with_columns(
        pl.col("branch").str.strip_prefix("refs/heads/"),
        (pl.col("dirty_start") == 1).fill_null(value=False).alias("is_dirty"),
        (pl.col("repo_binding_source") == "inferred").fill_null(value=False).alias("is_inferred"),
        pl.col("id").is_in(list(foreign)).alias("is_foreign"),
        pl.col("user").alias("user_name"),
        pl.col("events").fill_null(0),
        pl.lit(source).alias("source"),
    )


def _events(parts: Iterable[Path], where: pl.DataFrame, source: str) -> pl.DataFrame:
    paths = list(parts)
    names = [column.column.name for column in TABLES[TableName.EVENTS].columns]
    if not paths:
        empty = {name: pl.Series(dtype=pl.Null()) for name in names}
        return pl.DataFrame(empty).with_columns(*(where[name].clear() for name in PARTITION))
    keys = where.select("id", *PARTITION, "session_key").drop_nulls("session_key")
    try:
        rows = (
            pl.scan_parquet(paths, glob=False)
            .rename({"session_id": "session_key"})
            .join(keys.lazy(), on="session_key")
            .rename({"id": "session_id"})
            .collect()
        )
    except OSError as error:
        raise DamagedError(str(error)) from error
    # Polars gives the rows of a join in no fixed order; equal content must give equal bytes.
    return rows.with_columns(pl.lit(source).alias("source")).sort("session_id", "seq", "ts_ms", "kind", "tool")


def _files(where: pl.DataFrame, source: str) -> pl.DataFrame:
    rows = where.select("root_id", *PARTITION, session_id="id", path="paths").explode("path").drop_nulls("path")
    # The mart only counts distinct files of one root session, so nobody can follow a file from there to another.
    scoped = pl.concat_str("root_id", pl.lit("\0"), "path").alias("path")
    return rows.with_columns(scoped, pl.lit(source).alias("source")).sort("session_id", "path")


def _frame(name: TableName, rows: list[dict[str, object]], source: str) -> pl.DataFrame:
    columns = [item.column.name for item in TABLES[name].columns]
    given = [{**row, "source": source} for row in rows]
    if not given:
        return pl.DataFrame({column: pl.Series(dtype=pl.Null()) for column in columns})
    return pl.DataFrame(given, infer_schema_length=None)


def _experiment_row(experiment: Experiment, plan: Plan, start: Start) -> dict[str, object]:
    criterion = experiment.success_criterion
    delta = criterion if isinstance(criterion, Delta) else None
    target = criterion.target_pct if isinstance(criterion, Delta) else criterion.metric_value
    control, treatment = _arms(experiment.binding)
    binding = experiment.binding
    return {
        "experiment_id": experiment.id,
        "state": experiment.state.value,
        "metric": experiment.metric.value,
        "binding": type(binding).__name__,
        "control": control,
        "treatment": treatment,
        "has_variant_field": isinstance(binding, ManualTag) and bool(binding.variant_field),
        "criterion": type(criterion).__name__,
        "direction": None if delta is None else delta.direction.value,
        "target": target,
        "duration_days": experiment.duration_days,
        "created_at_ms": experiment.created_at_ms,
        "concluded_at_ms": experiment.concluded_at_ms,
        **{name: getattr(plan, name) for name in PLAN_NUMBERS},
        "cluster": plan.cluster.value,
        "design": plan.design.value,
        "started_at_ms": start.started_at_ms,
        "window_start_ms": start.window_start_ms,
        "window_end_ms": start.window_end_ms,
        "control_ref": start.control_ref,
        "treatment_ref": start.treatment_ref,
        "is_retrospective": start.retrospective,
        "is_adopted": start.adopted,
    }


def _arms(binding: Binding) -> tuple[str | None, str | None]:
    match binding:
        case Branch():
            names = (binding.control_branch, binding.treatment_branch)
            return names[0].removeprefix("refs/heads/"), names[1].removeprefix("refs/heads/")
        case GitCommit():
            return binding.control_commit, binding.treatment_commit
        case PromptFingerprint():
            return binding.control_fingerprint, binding.treatment_fingerprint
        case ManualTag():
            return None, None


def _guardrail_rows(experiment: Experiment) -> list[dict[str, object]]:
    return [
        {
            "experiment_id": experiment.id,
            "position": position,
            "metric": spec.metric.value,
            "regression_direction": spec.regression_direction.value,
            "threshold_pct": spec.threshold_pct,
        }
        for position, spec in enumerate(experiment.guardrails)
    ]


def _value_rows(store: Store, experiment: Experiment) -> list[dict[str, object]]:
    values = read_values(store, experiment.binding)
    return [
        {"experiment_id": experiment.id, "session_id": session_id, "value": _summarise(found)}
        for session_id, found in sorted(values.items())
    ]


_WORDS = dict(zip(("a", "control", "b", "treatment"), (VALUES[0], VALUES[0], VALUES[1], VALUES[1]), strict=True))


def _summarise(values: frozenset[str]) -> str:
    """Return the one arm that the values name, `mixed` for several, and `other` for one that names none."""
    words = {_WORDS.get(value.strip().lower(), "other") for value in values}
    is_one = len(words) == 1 and (len(values) == 1 or "other" not in words)
    return words.pop() if is_one else "mixed"


def _tag_rows(store: Store, experiment_id: str) -> list[dict[str, object]]:
    rows = store.native(
        "select session_id, variant from experiment_tags where experiment_id = ? order by session_id", experiment_id
    )
    return [{"experiment_id": experiment_id, "session_id": name, "variant": variant} for name, variant in rows]
