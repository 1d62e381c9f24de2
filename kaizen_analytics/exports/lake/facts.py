"""What a store holds for each table of the lake, before the projection: raw rows that must not leave as they are."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.core.model import Branch, Delta, GitCommit, ManualTag, PromptFingerprint, WorkUnit
from kaizen_analytics.core.queries import Query
from kaizen_analytics.experiments.plan import get_plan
from kaizen_analytics.experiments.sample import read_values
from kaizen_analytics.exports.columns import ARM_VALUES, LAKE_TABLES, PARTITIONED, PLAN_NUMBERS, LakeTable
from kaizen_analytics.exports.lake.reading import find_roots
from kaizen_analytics.exports.project import LATEST_MS, make_frame
from kaizen_analytics.store import frames
from kaizen_analytics.store.experiments import list_experiments

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaizen_analytics.core.model import Binding, Experiment
    from kaizen_analytics.experiments.plan import Plan, Start
    from kaizen_analytics.store import Store

PARTITION = ("bucket", "day")
"""What divides the large tables: a hash of the root session, and the day of its start."""

_CHECKS = Query(
    path="lake/session_checks.sql",
    schema={"session_id": pl.String(), "events": pl.Int64(), "row_checks": pl.UInt64()},
    reads=MappingProxyType({"staged_events": "staging/events.sql"}),
)
_ARMS = {"a": "control", "control": "control", "b": "treatment", "treatment": "treatment"}


def read_sessions(store: Store, bucket_of: Callable[[str], int]) -> pl.DataFrame:
    """Return every session of a store, one row each, ordered by id.

    Columns: those of sql/staging/sessions.sql, `root_id`, `bucket`, `day`, `events`, `row_checks` and `paths` (sorted).
    Together they tell whether anything that leaves of a session changed.

    Args:
        store: The open store.
        bucket_of: The bucket of a root session; a tree of sub-agents is never divided.

    >>> read_sessions(store, lambda root: 0)["events"].sum() > 1000
    True
    """
    sessions = frames.read_sessions(store).drop_nulls("id")
    roots = find_roots(sessions)
    distinct = roots["root_id"].unique()
    buckets = pl.DataFrame({"root_id": distinct, "bucket": [bucket_of(root) for root in distinct]})
    started = sessions.select(root_id="id", day=_day(pl.col("started_at_ms")))
    touched = store.read("select session_id, path from files_touched").drop_nulls()
    paths = touched.group_by("session_id").agg(pl.col("path").unique().sort().alias("paths"))
    frame = (
        sessions.join(roots, left_on="id", right_on="session_id")
        .join(buckets.cast({"bucket": pl.Int64()}), on="root_id")
        .join(started, on="root_id")
        .join(_CHECKS.run(store), left_on="id", right_on="session_id", how="left")
        .join(paths, left_on="id", right_on="session_id", how="left")
    )
    return frame.sort("id")


def stage_sessions(store: Store, chosen: pl.DataFrame, source: str) -> dict[LakeTable, pl.DataFrame]:
    """Return the raw rows of the divided tables for some sessions, with `bucket` and `day`.

    Args:
        store: The open store.
        chosen: The rows of `read_sessions` that are wanted.
        source: The identity of the store.

    >>> chosen = read_sessions(store, lambda root: 0).head(3)
    >>> stage_sessions(store, chosen, "this store")[LakeTable.SESSIONS].height
    3
    """
    raw = {
        LakeTable.SESSIONS: _sessions(chosen),
        LakeTable.EVENTS: _events(store, chosen),
        LakeTable.FILES_TOUCHED: _files(chosen),
    }
    return {name: frame.with_columns(source=pl.lit(source)) for name, frame in raw.items()}


def read_tables(store: Store, source: str) -> dict[LakeTable, pl.DataFrame]:
    """Return the raw rows of the tables that are not divided: started experiments, and tags.

    Only what `exp start` froze leaves, so a draft stays at home.

    >>> read_tables(store, "this store")[LakeTable.EXPERIMENTS].height
    3
    """
    rows: dict[LakeTable, list[dict[str, object]]] = {name: [] for name in LakeTable if name not in PARTITIONED}
    for experiment in list_experiments(store):
        plan = get_plan(store, experiment.id)
        if plan is None or plan.started is None or plan.unit is not WorkUnit.SESSION:
            continue  # a lake holds neither pull requests nor the names of branches that make a task
        judged = plan.apply_rule(experiment)
        rows[LakeTable.EXPERIMENTS].append(_experiment_row(judged, plan, plan.started))
        rows[LakeTable.GUARDRAILS] += _guardrail_rows(judged)
        rows[LakeTable.SCOPES] += [{"experiment_id": judged.id, "workspace": item} for item in plan.workspaces]
        rows[LakeTable.VARIANT_VALUES] += _value_rows(store, judged)
        rows[LakeTable.TAGS] += _tag_rows(store, judged.id)
    return {
        name: make_frame(LAKE_TABLES[name], [{**row, "source": source} for row in found])
        for name, found in rows.items()
    }


def _day(moment: pl.Expr) -> pl.Expr:
    return pl.from_epoch(moment.clip(0, LATEST_MS), "ms").dt.strftime("%Y-%m-%d")


def _sessions(chosen: pl.DataFrame) -> pl.DataFrame:
    return chosen.with_columns(
        pl.col("branch").str.strip_prefix("refs/heads/"),
        (pl.col("dirty_start") == 1).fill_null(value=False).alias("is_dirty"),
        (pl.col("repo_binding_source") == "inferred").fill_null(value=False).alias("is_inferred"),
        pl.col("user").alias("user_name"),
        pl.col("events").fill_null(0),
    )


def _events(store: Store, chosen: pl.DataFrame) -> pl.DataFrame:
    placed = chosen.select("id", *PARTITION)
    rows = frames.read_events(store, chosen["id"].to_list()).join(placed, left_on="session_id", right_on="id")
    # A join gives its rows in no fixed order; equal content must give equal bytes.
    return rows.sort("session_id", "seq", "ts_ms", "kind", "tool")


def _files(chosen: pl.DataFrame) -> pl.DataFrame:
    rows = chosen.select("root_id", *PARTITION, session_id="id", path="paths").explode("path").drop_nulls("path")
    # The mart only counts distinct files of one root session, so nobody can follow a file from there to another.
    return rows.with_columns(path=pl.concat_str("root_id", pl.lit("\0"), "path")).sort("session_id", "path")


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


def _summarise(values: frozenset[str]) -> str:
    """Return the one arm that the values name, `mixed` for several, and `other` for one that names none."""
    words = {_ARMS.get(value.strip().lower(), "other") for value in values}
    is_one = len(words) == 1 and (len(values) == 1 or "other" not in words)
    return words.pop() if is_one else ARM_VALUES[2]


def _tag_rows(store: Store, experiment_id: str) -> list[dict[str, object]]:
    rows = store.native(
        "select session_id, variant from experiment_tags where experiment_id = ? order by session_id", experiment_id
    )
    return [{"experiment_id": experiment_id, "session_id": name, "variant": variant} for name, variant in rows]
