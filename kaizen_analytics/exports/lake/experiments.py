"""Experiments on the sessions of many machines: the same binding, statistics and verdict as on one store.

The lake says what was frozen at the start, without names and texts. Branches and fingerprints compare as pseudonyms;
commits need the repository, because only it knows which of them lies before which.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.core.errors import ExperimentError, ExperimentNotFoundError, RepositoryError
from kaizen_analytics.core.model import (
    Absolute,
    Binding,
    Branch,
    Classification,
    Criterion,
    Delta,
    DesignKind,
    Direction,
    Experiment,
    GitCommit,
    GuardrailSpec,
    ManualTag,
    Metric,
    PromptFingerprint,
    State,
)
from kaizen_analytics.experiments.evaluation import Caution, CautionKind, Evaluation
from kaizen_analytics.experiments.lifecycle import judge_sample
from kaizen_analytics.experiments.plan import Cluster, Plan, Start
from kaizen_analytics.experiments.sample import Candidate, arrange_sample, commits_of
from kaizen_analytics.exports.columns import ARM_VALUES, PLAN_NUMBERS, START_COLUMNS, LakeTable
from kaizen_analytics.exports.lake.reading import Lake, read_lake
from kaizen_analytics.exports.project import ID_DIGITS
from kaizen_analytics.redact import Pseudonyms

if TYPE_CHECKING:
    from kaizen_analytics.core.git import Repository
    from kaizen_analytics.exports.engines import Engine

_ENDED = (State.CONCLUDED.value, State.ARCHIVED.value)


@dataclass(frozen=True, slots=True, kw_only=True)
class Helpers:
    """What an evaluation on a lake may use besides the lake: the key, an engine, and the repository of the commits."""

    key: bytes | None = None
    engine: Engine | None = None
    repository: Repository | None = None


def evaluate_lake(url: str, experiment_id: str, *, now_ms: int, helpers: Helpers | None = None) -> Evaluation:
    """Judge an experiment on all sessions of a lake.

    Args:
        url: A folder, `file:///…`, or an object store.
        experiment_id: The id (which needs the key) or the start of its pseudonym in the lake.
        now_ms: The moment of the evaluation; a concluded experiment is judged as of its conclusion.
        helpers: The key, the engine and the repository.

    Raises:
        ExperimentError: no such experiment, or its arms cannot be told apart without the key or the repository.
        LakeError: as for `read_lake`.
        RepositoryError: the repository lacks a commit of the experiment.

    >>> evaluate_lake(str(tmp), "plan-first", now_ms=0)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    kaizen_analytics.core.errors.LakeError: There is no lake at ...
    """
    given = helpers or Helpers()
    return read_lake(url, lambda lake: _evaluate(lake, experiment_id, now_ms, given), key=given.key)


def _evaluate(lake: Lake, experiment_id: str, now_ms: int, helpers: Helpers) -> Evaluation:
    rows = _find_rows(lake, experiment_id, helpers.key)
    row = rows[0]
    experiment, plan = _restore(lake, row)
    sessions = lake.sessions()
    metrics = lake.metrics(engine=helpers.engine)
    candidates = metrics.join(_candidates(sessions), on="session_id")
    tags, cautions = _read_tags(lake, row["experiment_id"])
    if _needs_history(candidates, experiment, plan):
        candidates, experiment, plan = _name_commits(candidates, experiment, plan, helpers)
    values = _read_values(lake, row["experiment_id"])

    sample = arrange_sample(candidates, experiment, plan, tags=tags, values=values, stored=set(sessions["id"]))
    concluded_at_ms = row["concluded_at_ms"]
    told = ("source", "state", "concluded_at_ms")
    if len({tuple(value for name, value in other.items() if name not in told) for other in rows}) > 1:
        cautions.append(Caution(kind=CautionKind.CONFLICTING_RULES, count=len(rows)))
    if concluded_at_ms is not None:
        cautions.append(Caution(kind=CautionKind.RECOMPUTED))
    as_of_ms = now_ms if concluded_at_ms is None else concluded_at_ms
    flags = [] if concluded_at_ms is None else ["not_frozen"]
    evaluation, _ = judge_sample(experiment, plan, sample, as_of_ms, cautions=cautions, flags=flags)
    return evaluation


def _find_rows(lake: Lake, experiment_id: str, key: bytes | None) -> list[dict[str, Any]]:
    """Return the rows of one experiment, the one to judge by first."""
    known = lake.table(LakeTable.EXPERIMENTS).sort("experiment_id", "source")
    exact = None if key is None else Pseudonyms(key).name("us", experiment_id.encode(), digits=ID_DIGITS)
    found = known.filter(pl.col("experiment_id") == (exact or experiment_id))
    if found.is_empty() and experiment_id:
        found = known.filter(pl.col("experiment_id").str.starts_with(experiment_id))
    ids = found["experiment_id"].unique().to_list()
    if len(ids) > 1:
        raise ExperimentError(f"{experiment_id!r} is the start of several experiments: {', '.join(sorted(ids))}.")
    if not ids:
        hint = "" if key is not None else " Without the lake key only pseudonyms can be found: give --lake-key FILE."
        shown = ", ".join(known["experiment_id"].unique().sort().head(5)) or "none"
        raise ExperimentNotFoundError(
            f"The lake holds no started experiment {experiment_id!r}; it holds {shown}.{hint} "
            "A started experiment gets there with the next export of its store, unless it compares tasks or days."
        )
    return sorted(found.to_dicts(), key=lambda row: (row["state"] not in _ENDED, row["source"]))


def _restore(lake: Lake, row: dict[str, Any]) -> tuple[Experiment, Plan]:
    """Return the experiment and its plan as far as they left; its name is its pseudonym."""
    ours = (pl.col("experiment_id") == row["experiment_id"]) & (pl.col("source") == row["source"])
    guardrails = lake.table(LakeTable.GUARDRAILS).filter(ours).sort("position")
    scopes = lake.table(LakeTable.SCOPES).filter(ours)
    criterion: Criterion = Absolute(row["target"])
    if row["criterion"] == "Delta":
        criterion = Delta(Direction(row["direction"]), row["target"])
    experiment = Experiment(
        id=row["experiment_id"],
        name=row["experiment_id"],
        hypothesis="",
        change_description="",
        metric=Metric(row["metric"]),
        binding=_binding(row),
        duration_days=row["duration_days"],
        success_criterion=criterion,
        state=State(row["state"]),
        created_at_ms=row["created_at_ms"],
        concluded_at_ms=row["concluded_at_ms"],
        guardrails=tuple(
            GuardrailSpec(Metric(rail["metric"]), Direction(rail["regression_direction"]), rail["threshold_pct"])
            for rail in guardrails.iter_rows(named=True)
        ),
    )
    plan = Plan(
        **{name: row[name] for name in PLAN_NUMBERS},
        cluster=Cluster(row["cluster"]),
        design=DesignKind(row["design"]),
        workspaces=tuple(scopes["workspace"].sort()),
        rule=experiment,
        started=Start(**{name: row[column] for name, column in START_COLUMNS.items()}),
    )
    return experiment, plan


def _binding(row: dict[str, Any]) -> Binding:
    kind = {kind.__name__: kind for kind in (GitCommit, Branch, PromptFingerprint)}.get(row["binding"])
    if kind is None:
        # The name of the key is a text, which did not leave; its values are in the table variant_values.
        return ManualTag("variant" if row["has_variant_field"] else "")
    return kind(row["control"], row["treatment"])


def _candidates(sessions: pl.DataFrame) -> pl.DataFrame:
    """Return the columns of sql/staging/candidates.sql that the metrics do not have."""
    return sessions.select(
        "branch",
        "start_commit",
        "prompt_fingerprint",
        "user_name",
        "organisation",
        session_id="id",
        dirty_start=pl.col("is_dirty").cast(pl.Int64),
        repo_binding_source=pl.when("is_inferred").then(pl.lit("inferred")).otherwise(pl.lit("")),
    )


def _read_tags(lake: Lake, experiment_id: str) -> tuple[dict[str, Classification], list[Caution]]:
    """Return the tags of all sources; a session that they disagree on belongs to no arm."""
    rows = lake.table(LakeTable.TAGS).filter(pl.col("experiment_id") == experiment_id)
    grouped = rows.group_by("session_id").agg(pl.col("variant").unique().sort()).sort("session_id")
    tags, conflicts = {}, 0
    for session_id, variants in grouped.iter_rows():
        conflicts += len(variants) > 1
        tags[session_id] = Classification(variants[0]) if len(variants) == 1 else Classification.EXCLUDED
    found = [Caution(kind=CautionKind.CONFLICTING_TAGS, count=conflicts)] if conflicts else []
    return tags, found


def _read_values(lake: Lake, experiment_id: str) -> dict[str, frozenset[str]]:
    rows = lake.table(LakeTable.VARIANT_VALUES).filter(pl.col("experiment_id") == experiment_id)
    values: dict[str, frozenset[str]] = {}
    for session_id, value in rows.select("session_id", "value").iter_rows():
        named = frozenset(ARM_VALUES[:2]) if value == ARM_VALUES[2] else frozenset([value])
        values[session_id] = values.get(session_id, frozenset()) | named
    return values


def _needs_history(candidates: pl.DataFrame, experiment: Experiment, plan: Plan) -> bool:
    binding = experiment.binding
    if plan.started is None or plan.started.control_ref is None:
        return False
    # Only sessions without a recorded branch are told apart by history under a binding on branches.
    rows = candidates.select("session_id", "branch", "start_commit").iter_rows()
    known = [Candidate(session_id=name, branch=branch, start_commit=commit) for name, branch, commit in rows]
    return bool(commits_of(known, binding))


def _name_commits(
    candidates: pl.DataFrame, experiment: Experiment, plan: Plan, helpers: Helpers
) -> tuple[pl.DataFrame, Experiment, Plan]:
    """Return the same with the repository's own commits in place of their pseudonyms."""
    repository, key, start = helpers.repository, helpers.key, plan.started
    if repository is None or key is None or start is None:
        raise ExperimentError(
            f"Experiment {experiment.id} tells its arms apart by commits, of which the lake holds pseudonyms only. "
            "Evaluate it inside the repository that has them, with the lake key (--lake-key FILE)."
        )
    pseudonyms = Pseudonyms(key)
    names = {pseudonyms.exact(commit.encode(), digits=ID_DIGITS): commit for commit in repository.list_commits()}
    control, treatment = (names.get(reference or "") for reference in (start.control_ref, start.treatment_ref))
    if control is None or treatment is None:
        raise RepositoryError(
            f"{repository.root} has no commit that experiment {experiment.id} was started with; fetch it, or evaluate "
            "the experiment in the repository that it was started in."
        )
    named = candidates.with_columns(pl.col("start_commit").replace(names))
    started = replace(start, control_ref=control, treatment_ref=treatment)
    if isinstance(experiment.binding, GitCommit):
        experiment = replace(experiment, binding=GitCommit(control, treatment))
    return named, experiment, replace(plan, repository=str(repository.root), started=started, rule=experiment)
