"""From a sample to an `Evaluation`: pure, and the same for a live sample and a frozen one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import numpy as np
import polars as pl

from kaizen_analytics.experiments.binding import Reason
from kaizen_analytics.experiments.deltas import ARMS
from kaizen_analytics.experiments.evaluation import (
    ArmStats,
    Curve,
    Evaluation,
    GuardrailResult,
    MetricResult,
    Role,
    Segment,
    SeriesPoint,
    Window,
    render_time,
)
from kaizen_analytics.experiments.plan import Cluster, PlanDesign
from kaizen_analytics.experiments.quality import assess_quality
from kaizen_analytics.experiments.verdict import Headline, Verdict, decide, judge, judge_guardrails
from kaizen_analytics.metrics import REGISTRY, MetricKind
from kaizen_analytics.model import Classification, GitCommit, Metric, State
from kaizen_analytics.stats import (
    Design,
    DesignKind,
    RatioStatus,
    check_sample_ratio,
    mean_effect,
    median_effect,
    median_percent,
    proportion_effect,
    sessions_within_plan,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from kaizen_analytics.experiments.evaluation import Quality
    from kaizen_analytics.experiments.plan import Plan, Start
    from kaizen_analytics.experiments.verdict import Decision, Judgement
    from kaizen_analytics.model import Experiment
    from kaizen_analytics.stats import Effect, Interval, SampleRatio
    from kaizen_analytics.stats.laws import FloatArray

SERIES_POINTS = 40
CURVE_POINTS = 121
SEGMENT_VALUES = 8
"""Most frequent values of a dimension that become segments of their own."""


Arms = tuple[pl.DataFrame, pl.DataFrame]
"""The sessions of control and of treatment."""

ClusterPair = tuple[list[str], list[str]]
"""The cluster of each session, by arm."""


def split_arms(frame: pl.DataFrame) -> Arms:
    """Return the sessions of each arm; excluded ones are in neither."""
    control, treatment = (frame.filter(pl.col("variant") == arm) for arm in ARMS)
    return control, treatment


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparer:
    """How every metric of one evaluation is compared: the level, the plan of looking and the cluster column."""

    alpha: float
    design: Design
    cluster: Cluster = Cluster.NONE

    def compare(self, arms: Arms, metric: Metric, role: Role, *, with_mean: bool = False) -> MetricResult:
        """Return one metric compared between the arms."""
        definition = REGISTRY[metric]
        is_share = definition.kind is MetricKind.PROPORTION
        effect = self._apply(proportion_effect if is_share else median_effect, arms, metric)
        mean = self._apply(mean_effect, arms, metric) if with_mean and not is_share else None
        control, treatment = (_describe_arm(arm[metric.column]) for arm in arms)
        return MetricResult(
            metric=metric,
            label=definition.label,
            unit=definition.unit,
            better=definition.better,
            kind=definition.kind,
            role=role,
            control=control,
            treatment=treatment,
            effect=effect,
            mean_effect=mean,
            sentence=f"{definition.label}: {effect.sentence}",
        )

    def follow(self, arms: Arms, metric: Metric, counts: Iterable[tuple[int, int]]) -> Iterator[Interval | None]:
        """Yield the percent change among the first sessions of each arm, for each pair of `counts`.

        Args:
            arms: Sessions with a value, in the order in which they started.
            metric: What is compared.
            counts: How many sessions of control and of treatment.
        """
        is_share = REGISTRY[metric].kind is MetricKind.PROPORTION
        values, clusters = self._columns(arms, metric)
        for n_control, n_treatment in counts:
            method = _proportion_percent if is_share else median_percent
            yield method(
                values[0][:n_control],
                values[1][:n_treatment],
                alpha=self.alpha,
                clusters=None if clusters is None else (clusters[0][:n_control], clusters[1][:n_treatment]),
                design=self.design,
            )

    def _apply(self, method: Callable[..., Effect], arms: Arms, metric: Metric) -> Effect:
        values, clusters = self._columns(arms, metric)
        return method(*values, alpha=self.alpha, clusters=clusters, design=self.design)

    def _columns(self, arms: Arms, metric: Metric) -> tuple[list[FloatArray], ClusterPair | None]:
        """Return the values of both arms, and the clusters of the sessions that have one."""
        columns = [arm[metric.column] for arm in arms]
        values = [column.drop_nulls().to_numpy() for column in columns]
        if (cluster := self.cluster.column) is None:
            return values, None
        control, treatment = (
            cluster_keys(arm[cluster].filter(column.is_not_null())) for arm, column in zip(arms, columns, strict=True)
        )
        return values, (control, treatment)


def _describe_arm(values: pl.Series) -> ArmStats:
    n_missing = values.null_count()
    median, mean = cast("float | None", values.median()), cast("float | None", values.mean())
    return ArmStats(n=values.len() - n_missing, n_missing=n_missing, median=median, mean=mean)


def _proportion_percent(
    control: FloatArray,
    treatment: FloatArray,
    *,
    alpha: float,
    clusters: ClusterPair | None,
    design: Design,
) -> Interval | None:
    return proportion_effect(control, treatment, alpha=alpha, clusters=clusters, design=design).percent


def choose_design(plan: Plan, as_of_ms: int) -> Design:
    """Return the plan of looking for an evaluation now.

    A fixed design allows one look, at the end of the window. Whoever looks, or concludes, before that gets the level of
    an open design, which stays valid however often it is read.
    """
    start = plan.started
    is_early = start is not None and not start.retrospective and as_of_ms < start.window_end_ms
    if plan.design is PlanDesign.FIXED and not is_early:
        return Design()
    if plan.design is PlanDesign.PLANNED and plan.planned_n is not None:
        return Design(
            kind=DesignKind.PLANNED,
            planned_n=plan.planned_n,
            planned_control_n=plan.planned_control_n,
            design_effect=plan.design_effect,
        )
    return Design(kind=DesignKind.OPEN, planned_n=plan.planned_n)


def trim_to_plan(frame: pl.DataFrame, design: Design) -> pl.DataFrame:
    """Exclude the sessions that started after the planned information was reached: reported, but not used."""
    ordered = frame.sort("started_at_ms", "session_id")
    arms = ordered.filter(pl.col("variant").is_in(ARMS))
    used = sessions_within_plan((arms["variant"] == Classification.TREATMENT.value).to_numpy(), design)
    late = pl.col("session_id").is_in(arms["session_id"][used:].to_list())
    return ordered.with_columns(
        pl.when(late).then(pl.lit(Classification.EXCLUDED.value)).otherwise("variant").alias("variant"),
        pl.when(late).then(pl.lit(Reason.AFTER_PLANNED_END.value)).otherwise("reason").alias("reason"),
    )


def assess(
    frame: pl.DataFrame,
    experiment: Experiment,
    plan: Plan,
    start: Start,
    *,
    as_of_ms: int,
    provenance: Mapping[str, str | int | float | None],
    warnings: Sequence[str] = (),
    flags: Sequence[str] = (),
) -> Evaluation:
    """Judge one experiment on its sample.

    Args:
        frame: The sample (`sample.SAMPLE_SCHEMA`), trimmed to the plan.
        experiment: What is judged, with the rule as it was frozen.
        plan: How it is judged.
        start: What `start` froze.
        as_of_ms: The time of the evaluation.
        provenance: What the sample was read from.
        warnings: Sentences from reading the sample.
        flags: Marks from the life of the experiment.
    """
    design = choose_design(plan, as_of_ms)
    comparer = Comparer(alpha=plan.alpha, design=design, cluster=plan.cluster)
    definition = REGISTRY[experiment.metric]
    arms = split_arms(frame)
    primary = comparer.compare(arms, experiment.metric, Role.PRIMARY, with_mean=True)
    ratio = _check_ratio(frame, plan, design)
    judgement = judge(
        primary.effect,
        experiment.success_criterion,
        better=definition.better,
        margin_pct=plan.margin_pct,
        invalid=ratio.sentence if ratio is not None and ratio.status is RatioStatus.INVALID else None,
    )
    guardrails, decision = _judge_all(arms, experiment, comparer, judgement)
    quality = assess_quality(frame, experiment, plan, primary.effect, ratio, [*warnings, *judgement.notes])
    return Evaluation(
        experiment=experiment,
        plan=plan,
        window=Window(start_ms=start.window_start_ms, end_ms=start.window_end_ms),
        as_of_ms=as_of_ms,
        alpha=plan.alpha,
        effective_alpha=primary.effect.alpha,
        design=design.kind.value,
        verdict=judgement.verdict,
        confidence_at_target=judgement.confidence_at_target,
        judgement=judgement.sentence,
        decision=decision,
        primary=primary,
        secondary=_compare_others(arms, experiment, comparer),
        guardrails=guardrails,
        excluded=count_reasons(frame),
        quality=quality,
        flags=(*flags, *_derive_flags(frame, experiment, plan, start, design)),
        segments=compute_segments(frame, experiment.metric, plan.alpha),
        series=compute_series(frame, experiment.metric, comparer),
        curves=compute_curves(frame, experiment.metric),
        provenance=dict(provenance),
        next_actions=suggest_actions(experiment, start, judgement.verdict, decision, quality, as_of_ms),
    )


def count_reasons(frame: pl.DataFrame) -> dict[str, int]:
    """Return how many sessions were excluded for each reason, most frequent first."""
    excluded = frame.filter(pl.col("reason").is_not_null())
    counts = excluded.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return {reason: int(count) for reason, count in counts.iter_rows()}


def compute_segments(frame: pl.DataFrame, metric: Metric, alpha: float) -> tuple[Segment, ...]:
    """Return the metric among the sessions of each agent, model and workspace, each as one fixed look.

    A dimension with a single value would repeat the whole, so it gives no segment. Segments explore; they are not
    corrected for their number.
    """
    arms = frame.filter(pl.col("variant").is_in(ARMS))
    comparer = Comparer(alpha=alpha, design=Design())
    segments: list[Segment] = []
    for dimension in ("agent", "model", "workspace"):
        counts = arms.drop_nulls(dimension).group_by(dimension).len().sort(["len", dimension], descending=[True, False])
        values = counts[dimension].to_list() if counts.height > 1 else []
        for value in values[:SEGMENT_VALUES]:
            sessions = split_arms(arms.filter(pl.col(dimension) == value))
            result = comparer.compare(sessions, metric, Role.SECONDARY)
            segments.append(Segment(dimension=dimension, value=value, result=result))
    return tuple(segments)


def compute_series(frame: pl.DataFrame, metric: Metric, comparer: Comparer) -> tuple[SeriesPoint, ...]:
    """Return the percent change as sessions came in, at up to `SERIES_POINTS` moments with both arms present."""
    arms = frame.filter(pl.col("variant").is_in(ARMS) & pl.col(metric.column).is_not_null())
    arms = arms.sort("started_at_ms", "session_id")
    is_treatment = (arms["variant"] == Classification.TREATMENT.value).to_numpy()
    n_treatment = np.cumsum(is_treatment)
    n_control = np.arange(1, is_treatment.size + 1) - n_treatment
    both = np.flatnonzero((n_control > 0) & (n_treatment > 0))
    if both.size == 0:
        return ()
    picked = np.unique(np.linspace(both[0], is_treatment.size - 1, SERIES_POINTS).round().astype(int))
    times = arms["started_at_ms"].to_numpy()[picked].tolist()
    counts = list(zip(n_control[picked].tolist(), n_treatment[picked].tolist(), strict=True))
    percents = comparer.follow(split_arms(arms), metric, counts)
    return tuple(
        SeriesPoint(
            at_ms=at_ms,
            n_control=control,
            n_treatment=treatment,
            estimate=None if percent is None else percent.estimate,
            low=None if percent is None else percent.low,
            high=None if percent is None else percent.high,
        )
        for at_ms, (control, treatment), percent in zip(times, counts, percents, strict=True)
    )


def compute_curves(frame: pl.DataFrame, metric: Metric) -> tuple[Curve, ...]:
    """Return the quantiles of the metric in both arms; none for a proportion, whose values are 0 and 1."""
    if REGISTRY[metric].kind is MetricKind.PROPORTION:
        return ()
    levels = np.linspace(0.0, 1.0, CURVE_POINTS)
    curves = []
    for arm in ARMS:
        values = frame.filter(pl.col("variant") == arm)[metric.column].drop_nulls().to_numpy()
        if values.size:
            quantiles = np.quantile(values, levels)
            curves.append(Curve(arm=arm.lower(), quantiles=tuple(levels.tolist()), values=tuple(quantiles.tolist())))
    return tuple(curves)


def suggest_actions(
    experiment: Experiment,
    start: Start,
    verdict: Verdict,
    decision: Decision,
    quality: Quality,
    as_of_ms: int,
) -> tuple[str, ...]:
    """Return what to do next, the most important first."""
    is_over = as_of_ms >= start.window_end_ms
    actions = [_act_on(verdict, decision, quality, is_over=is_over)]
    running = experiment.state is State.RUNNING
    if running and not is_over and decision.headline is Headline.UNDECIDED:
        actions.append(f"Keep collecting until {render_time(start.window_end_ms)}, then evaluate again.")
    elif running:
        actions.append(f"Freeze the result: kaizen-analytics exp conclude {experiment.id}")
    if quality.warnings:
        actions.append("Read the warnings on data quality before quoting a number.")
    return tuple(actions)


_REMEDIES = {
    Verdict.INVALID: "Find out which sessions went missing, then start a new experiment.",
    Verdict.PERCENT_UNDEFINED: "Judge this metric by its difference, or choose one whose control is above zero.",
}


def _act_on(verdict: Verdict, decision: Decision, quality: Quality, *, is_over: bool) -> str:
    if decision.headline is Headline.SHIP:
        return "Ship the change."
    if decision.headline is Headline.DO_NOT_SHIP:
        return "Do not ship the change as it is; revert it or try another one."
    if verdict in _REMEDIES:
        return _REMEDIES[verdict]
    empty = [name for name, arm in (("control", quality.control), ("treatment", quality.treatment)) if not arm.sessions]
    if is_over and empty:
        return (
            f"The {' and the '.join(empty)} arm {'has' if len(empty) == 1 else 'have'} no session, out of "
            f"{quality.candidates:,} in the window and workspaces: look whether the sessions were read "
            "('kaizen-analytics ingest'), and whether the arms are what you meant."
        )
    if is_over:
        return "The window is over: plan a larger experiment ('kaizen-analytics exp power' says how large)."
    return "Collect more sessions."


def cluster_keys(column: pl.Series) -> list[str]:
    """Return the cluster of each session; those of nobody known are one cluster."""
    return column.fill_null("").to_list()


def _check_ratio(frame: pl.DataFrame, plan: Plan, design: Design) -> SampleRatio | None:
    if plan.control_share is None:
        return None
    n_control, n_treatment = (frame.filter(pl.col("variant") == arm).height for arm in ARMS)
    return check_sample_ratio(
        n_control,
        n_treatment,
        expected_share=1 - plan.control_share,
        sequential=design.sequential,
    )


def _judge_all(
    arms: Arms,
    experiment: Experiment,
    comparer: Comparer,
    judgement: Judgement,
) -> tuple[tuple[GuardrailResult, ...], Decision]:
    results = [comparer.compare(arms, spec.metric, Role.GUARDRAIL) for spec in experiment.guardrails]
    effects = [(spec, result.effect) for spec, result in zip(experiment.guardrails, results, strict=True)]
    judged = judge_guardrails(effects, alpha=comparer.alpha)
    guardrails = tuple(
        GuardrailResult(
            spec=item.spec,
            result=result,
            status=item.status,
            p_adjusted=item.p_adjusted,
            sentence=item.sentence,
        )
        for item, result in zip(judged, results, strict=True)
    )
    return guardrails, decide(judgement, judged)


def _compare_others(arms: Arms, experiment: Experiment, comparer: Comparer) -> tuple[MetricResult, ...]:
    shown = {experiment.metric, *(spec.metric for spec in experiment.guardrails)}
    return tuple(comparer.compare(arms, metric, Role.SECONDARY) for metric in REGISTRY if metric not in shown)


def _derive_flags(
    frame: pl.DataFrame,
    experiment: Experiment,
    plan: Plan,
    start: Start,
    design: Design,
) -> list[str]:
    used = frame.filter(pl.col("variant").is_in(ARMS))
    words = set(" ".join(used["flags"].to_list()).split())
    marks = [
        ("retrospective", start.retrospective),
        ("adopted", start.adopted),
        ("before_after", isinstance(experiment.binding, GitCommit)),
        ("interim_look", plan.design is PlanDesign.FIXED and design.sequential),
        *((word, True) for word in sorted(words)),
    ]
    return [name for name, is_set in marks if is_set]
