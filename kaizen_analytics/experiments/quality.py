"""Whether the numbers of an evaluation can be trusted: completeness, split and imbalances between the arms."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from kaizen_analytics.experiments.binding import Flag
from kaizen_analytics.experiments.deltas import ARMS
from kaizen_analytics.experiments.evaluation import ArmQuality, Quality
from kaizen_analytics.experiments.plan import Cluster
from kaizen_analytics.model import GitCommit
from kaizen_analytics.stats import RatioStatus
from kaizen_analytics.text import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.experiments.plan import Plan
    from kaizen_analytics.model import Experiment, Metric
    from kaizen_analytics.stats import Effect, SampleRatio

IMBALANCE_SHARE = 0.05
"""Arms whose shares differ by more than this are warned about."""

_BEFORE_AFTER = (
    "The arms lie before and after a commit and were not randomised: "
    "whatever else changed in that time is part of the difference."
)


def assess_quality(
    frame: pl.DataFrame,
    experiment: Experiment,
    plan: Plan,
    effect: Effect,
    ratio: SampleRatio | None,
    warnings: Sequence[str],
) -> Quality:
    """Return how complete both arms are, with a sentence for everything that a reader should know.

    Args:
        frame: The sample (`sample.SAMPLE_SCHEMA`).
        experiment: What is judged.
        plan: How it is judged.
        effect: The effect on the primary metric.
        ratio: The split against the declared one, for randomised arms.
        warnings: Sentences from reading the sample and from the criterion.
    """
    control, treatment = (describe_arm(frame, arm, experiment.metric) for arm in ARMS)
    found = [
        *warnings,
        *_warn_of_split(experiment, ratio),
        *_warn_of_imbalance("responses with an unreliable output count", _unreliable(control), _unreliable(treatment)),
        *_warn_of_imbalance("sessions without a value of the metric", _missing(control), _missing(treatment)),
        *_warn_of_clusters(frame, plan),
        *_warn_of_marks(control, treatment),
    ]
    return Quality(
        candidates=frame.height,
        control=control,
        treatment=treatment,
        planned_n=plan.planned_n,
        information=effect.information,
        sample_ratio=ratio,
        warnings=tuple(found),
    )


def describe_arm(frame: pl.DataFrame, arm: str, metric: Metric) -> ArmQuality:
    """Return how complete the data of one arm are."""
    sessions = frame.filter(pl.col("variant") == arm)
    responses, unreliable = int(sessions["responses"].sum()), int(sessions["unreliable_responses"].sum())
    return ArmQuality(
        sessions=sessions.height,
        responses=responses,
        unreliable_responses=unreliable,
        unreliable_share=unreliable / responses if responses else None,
        unpriced_sessions=sessions.filter(pl.col("unpriced_responses") > 0).height,
        missing_primary=sessions[metric.column].null_count(),
        dirty_sessions=_count_flag(sessions, Flag.DIRTY),
        inferred_commits=_count_flag(sessions, Flag.INFERRED),
        side_branch_sessions=_count_flag(sessions, Flag.SIDE_BRANCH),
    )


def _count_flag(sessions: pl.DataFrame, flag: Flag) -> int:
    return sessions.filter(pl.col("flags").str.split(" ").list.contains(flag.value)).height


def _unreliable(arm: ArmQuality) -> float | None:
    return arm.unreliable_share


def _missing(arm: ArmQuality) -> float | None:
    return arm.missing_primary / arm.sessions if arm.sessions else None


def _warn_of_split(experiment: Experiment, ratio: SampleRatio | None) -> list[str]:
    if ratio is not None and ratio.status is not RatioStatus.OK:
        return [f"Sample ratio: {ratio.sentence}"]
    if isinstance(experiment.binding, GitCommit):
        return [_BEFORE_AFTER]
    return []


def _warn_of_imbalance(what: str, control: float | None, treatment: float | None) -> list[str]:
    if control is None or treatment is None or abs(control - treatment) <= IMBALANCE_SHARE:
        return []
    shares = f"{100 * control:.1f} % of the control arm and {100 * treatment:.1f} % of the treatment arm"
    return [f"Imbalance: {what} make up {shares}; part of the difference may come from that."]


def _warn_of_clusters(frame: pl.DataFrame, plan: Plan) -> list[str]:
    column = {Cluster.USER: "user_name", Cluster.ORGANISATION: "organisation"}.get(plan.cluster)
    unknown = 0 if column is None else frame.filter(pl.col("variant").is_in(ARMS))[column].null_count()
    if not unknown:
        return []
    return [f"{counted(unknown, 'session')} without a recorded {plan.cluster.value} count as one {plan.cluster.value}."]


def _warn_of_marks(control: ArmQuality, treatment: ArmQuality) -> list[str]:
    dirty = control.dirty_sessions + treatment.dirty_sessions
    inferred = control.inferred_commits + treatment.inferred_commits
    side = control.side_branch_sessions + treatment.side_branch_sessions
    sentences = [
        (dirty, "sessions started with uncommitted changes, so they may not have run what their commit says"),
        (inferred, "sessions have a commit that was inferred from the repository's history, not recorded"),
        (side, "control sessions ran on side branches that do not contain the change"),
    ]
    return [f"{count} {sentence}." for count, sentence in sentences if count]
