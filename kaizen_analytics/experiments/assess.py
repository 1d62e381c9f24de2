"""From a sample to an `Evaluation`: pure, and the same for a live sample and a frozen one.

The arms and their deltas come from `compare` (Polars), the effects from `stats`, the verdict and the decision from
`decide`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from kaizen_analytics.core.metrics import OUTCOMES, REGISTRY, MetricKind
from kaizen_analytics.core.model import (
    Branch,
    Classification,
    Delta,
    DesignKind,
    Direction,
    GitCommit,
    Metric,
    WorkUnit,
)
from kaizen_analytics.core.queries import unit_of_work
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.compare import (
    ARMS,
    add_up,
    check_tasks,
    cluster_key,
    compare_arms,
    compare_with_criterion,
    compare_with_history,
    compute_arms,
    compute_deltas,
    confirm_guardrail,
    find_shared_units,
    guardrail_unit,
    judge_dated,
)
from kaizen_analytics.experiments.decide import (
    Grade,
    GuardrailStatus,
    compute_grade,
    decide,
    improves,
    judge,
    judge_guardrails,
    opposes,
    restrain,
)
from kaizen_analytics.experiments.evaluation import (
    ArmQuality,
    ArmStats,
    Caution,
    CautionKind,
    CriterionDelta,
    Curve,
    Evaluation,
    GuardrailResult,
    MetricResult,
    Quality,
    Role,
    Segment,
    SeriesPoint,
    TaskCheck,
)
from kaizen_analytics.experiments.plan import Cluster, Statistic, Unit
from kaizen_analytics.experiments.sample import NOT_DRAWN, Exclusion, Flag
from kaizen_analytics.stats import (
    Design,
    RatioStatus,
    adjust_benjamini_hochberg,
    check_sample_ratio,
    sessions_within_plan,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from kaizen_analytics.core.model import Experiment
    from kaizen_analytics.experiments.evaluation import History
    from kaizen_analytics.experiments.plan import Plan, Start
    from kaizen_analytics.stats import Effect, Interval, SampleRatio

_PENDING_MS = 3_600_000
_SERIES_POINTS = 40
_CURVE_POINTS = 121
_SEGMENT_VALUES = 8
"""Most frequent values of a dimension that become segments of their own."""


@dataclass(frozen=True, slots=True)
class _Comparer:
    """How the metrics of one sample are compared: the level, the design, the clusters and the statistic."""

    sample: pl.DataFrame
    alpha: float
    design: Design
    cluster: Cluster = Cluster.NONE
    statistic: Statistic = Statistic.MEDIAN
    per: WorkUnit = WorkUnit.SESSION

    @classmethod
    def of(cls, frame: pl.DataFrame, plan: Plan, design: Design, unit: WorkUnit) -> _Comparer:
        """Return what compares the sessions of a sample, added up over units of work."""
        drawn = plan.randomisation is not None and plan.randomisation.unit is not Unit.SESSION
        units = add_up(frame, unit, drawn=drawn)
        return cls(units, plan.alpha, design, _find_cluster(units, plan, unit), plan.statistic, unit)

    def compare(self, metrics: Sequence[Metric], role: Role) -> tuple[MetricResult, ...]:
        """Return each metric compared between the arms, the primary one with its companion."""
        arms = compute_arms(self.sample, metrics)
        controls, treatments = (arms.filter(pl.col("variant") == arm).drop("metric", "variant") for arm in ARMS)
        return tuple(
            MetricResult(
                metric=metric,
                role=role,
                control=ArmStats(**control),
                treatment=ArmStats(**treatment),
                effect=self._compare(metric, self.statistic, role=role),
                companion=self._compare(metric, self.statistic.other, role=role)
                if role is Role.PRIMARY and REGISTRY[metric].kind is MetricKind.QUANTITY
                else None,
                per=self.per,
            )
            for metric, control, treatment in zip(metrics, controls.to_dicts(), treatments.to_dicts(), strict=True)
        )

    def follow(self, metric: Metric, counts: Iterable[tuple[int, int]]) -> Iterator[Interval | None]:
        """Yield the percent change among the first sessions of each arm with a value, for each pair of `counts`."""
        control, treatment = self._arms(metric)
        for n_control, n_treatment in counts:
            arms = control.head(n_control), treatment.head(n_treatment)
            yield self._compare(metric, self.statistic, arms, role=Role.PRIMARY).percent

    def _compare(
        self, metric: Metric, statistic: Statistic, arms: tuple[pl.DataFrame, pl.DataFrame] | None = None, *, role: Role
    ) -> Effect:
        control, treatment = arms or self._arms(metric)
        return compare_arms(
            control,
            treatment,
            metric,
            statistic=statistic,
            alpha=self.alpha,
            cluster=self.cluster,
            design=self.design,
            # the covariate is the past of the success metric
            use_covariate=role is Role.PRIMARY,
        )

    def _arms(self, metric: Metric) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the sessions of both arms with a value."""
        known = self.sample.drop_nulls(metric.column)
        control, treatment = (known.filter(pl.col("variant") == arm) for arm in ARMS)
        return control, treatment


def _find_cluster(frame: pl.DataFrame, plan: Plan, unit: WorkUnit) -> Cluster:
    """Return whose rows resemble each other: those of what was drawn, or of a task or day in both arms."""
    planned = unit is WorkUnit.SESSION or (unit is WorkUnit.TASK and plan.cluster is not Cluster.NONE)
    if plan.randomisation is None and planned:
        return plan.cluster
    return find_shared_units(frame)


def compare_metric(sample: pl.DataFrame, metric: Metric, plan: Plan, *, as_of_ms: int) -> MetricResult:
    """Return one metric compared between the arms as the plan's success metric is: arms, effect and companion.

    Args:
        sample: One row for each session (`sample.SAMPLE_SCHEMA`), trimmed to the plan.
        as_of_ms: The time of the evaluation, which decides what a fixed design allows.

    >>> compare_metric(sample, experiment.metric, plan, as_of_ms=0).effect.control.n
    45
    """
    comparer = _Comparer.of(sample, plan, choose_design(plan, as_of_ms), plan.unit)
    [result] = comparer.compare([metric], Role.PRIMARY)
    return result


def choose_design(plan: Plan, as_of_ms: int) -> Design:
    """Return the design of an evaluation at `as_of_ms`.

    A fixed design allows one analysis, at the end of the window, and so do arms before and after a commit: their plan
    is a time, not a number of sessions. An earlier one, or an early conclusion, gets the level of an open design, which
    stays valid however often the data are analysed. The analysis of a planned design at the end of the window is its
    last.

    >>> choose_design(plan, 0).planned
    (45, 45)
    """
    start, kind = plan.started, DesignKind.FIXED if plan.is_dated else plan.design
    is_early = start is not None and not start.retrospective and as_of_ms < start.window_end_ms
    is_last = start is not None and as_of_ms >= start.window_end_ms
    if kind is DesignKind.FIXED and not is_early:
        return Design()
    if kind is DesignKind.PLANNED and plan.planned_n is not None:
        return Design(
            kind=DesignKind.PLANNED,
            planned_n=plan.planned_n,
            planned_control_n=plan.planned_control_n,
            design_effect=plan.design_effect,
            is_last=is_last,
        )
    return Design(kind=DesignKind.OPEN, planned_n=plan.planned_n)


def trim_to_plan(frame: pl.DataFrame, design: Design, as_of_ms: int, unit: WorkUnit = WorkUnit.SESSION) -> pl.DataFrame:
    """Exclude what may still go on, and what started after the planned information was reached.

    Both are reported and not used. A session whose last event is less than an hour old is pending, and with it the task
    that it belongs to; so is a day that is not over. Units of work are excluded as a whole, in the order of their
    first sessions.

    >>> columns = {"session_id": ["a", "b", "c"], "started_at_ms": [1, 2, 3], "reason": [None] * 3}
    >>> frame = pl.DataFrame({**columns, "last_event_ms": 3, "variant": ["Control", "Treatment", "Control"]})
    >>> trim_to_plan(frame, Design(kind=DesignKind.PLANNED, planned_n=1), 10**9)["variant"].to_list()
    ['Control', 'Treatment', 'Excluded']
    """
    ordered = _exclude_pending(frame.sort("started_at_ms", "session_id"), as_of_ms, unit)
    arms = ordered.filter(pl.col("variant").is_in(ARMS)).with_columns(work=unit_of_work(unit))
    units = arms.unique(["variant", "work"], keep="first", maintain_order=True)
    used = sessions_within_plan((units["variant"] == Classification.TREATMENT.value).to_numpy(), design)
    late = arms.join(units[used:], on=["variant", "work"], how="semi")["session_id"]
    return _exclude(ordered, pl.col("session_id").is_in(late.to_list()), Exclusion.AFTER_PLANNED_END)


def _exclude_pending(frame: pl.DataFrame, as_of_ms: int, unit: WorkUnit) -> pl.DataFrame:
    # an evaluation as of the past does not call later events pending
    age_ms = as_of_ms - pl.col("last_event_ms")
    pending = age_ms.is_between(0, _PENDING_MS, closed="left").fill_null(value=False)
    if unit is WorkUnit.DAY:
        pending = pl.col("started_at_ms") // DAY_MS == as_of_ms // DAY_MS
    elif unit is WorkUnit.TASK:
        pending = pending.any().over(unit_of_work(unit))
    return _exclude(frame, pl.col("variant").is_in(ARMS) & pending, Exclusion.PENDING)


def _exclude(frame: pl.DataFrame, chosen: pl.Expr, reason: Exclusion) -> pl.DataFrame:
    return frame.with_columns(
        pl.when(chosen).then(pl.lit(Classification.EXCLUDED.value)).otherwise("variant").alias("variant"),
        pl.when(chosen).then(pl.lit(reason.value)).otherwise("reason").alias("reason"),
    )


def assess(
    frame: pl.DataFrame,
    experiment: Experiment,
    plan: Plan,
    start: Start,
    *,
    as_of_ms: int,
    provenance: Mapping[str, str | int | float | None],
    cautions: Sequence[Caution] = (),
    flags: Sequence[str] = (),
    assigned: bool = False,
    around: pl.DataFrame | None = None,
) -> Evaluation:
    """Judge one experiment on its sample.

    Args:
        frame: The sample (`sample.SAMPLE_SCHEMA`), trimmed to the plan.
        assigned: Whether arms were drawn by lot and recorded when each session started.
        around: Sessions around the sample (`sample.Sample.around`), for arms that are separated in time.

    >>> start, sources = plan.require_start("plan-first"), evaluation.provenance
    >>> assess(sample, experiment, plan, start, as_of_ms=0, provenance=sources).verdict
    <Verdict.INCONCLUSIVE: 'inconclusive'>
    """
    metric, criterion = experiment.metric, experiment.success_criterion
    design = choose_design(plan, as_of_ms)
    comparer = _Comparer.of(frame, plan, design, plan.unit)
    units = comparer.sample
    [primary] = comparer.compare([metric], Role.PRIMARY)
    ratio = _check_ratio(frame, plan, design)
    judgement = judge(
        primary.effect,
        criterion,
        better=primary.better,
        margin_pct=plan.margin_pct,
        is_valid=ratio is None or ratio.status is not RatioStatus.INVALID,
    )
    guardrails = _judge_guardrails(frame, experiment, plan, comparer)
    starts = (frame.filter(pl.col("variant") == arm)["started_at_ms"].to_numpy() for arm in ARMS)
    grade = compute_grade(experiment.binding, *starts, assigned=assigned)
    history = None
    if grade is Grade.BEFORE_AFTER:
        past = units.clear() if around is None else add_up(around, plan.unit)
        is_over = as_of_ms >= start.window_end_ms
        compare = partial(compare_with_history, units, past, plan=plan, is_over=is_over)
        history = compare(metric)
        judgement = judge_dated(judgement, history, criterion, plan)
        guardrails = tuple(_confirm(item, plan, compare) for item in guardrails)
    shown = {metric, *(spec.metric for spec in experiment.guardrails)}
    # with one branch per arm, a branch is an arm and no task
    tasks = None if isinstance(experiment.binding, Branch) else check_tasks(frame, metric, plan.alpha)
    better = criterion.direction if isinstance(criterion, Delta) else primary.better
    delta = compare_with_criterion(compute_deltas(units, [metric], plan.statistic), metric, criterion)
    decision = decide(
        judgement.verdict,
        [(item.spec.metric, item.status) for item in guardrails],
        grade,
        exploratory=start.retrospective,
        moved=_direction(primary.effect.percent or primary.effect.difference, history),
        opposed=primary.companion is not None and opposes(judgement.verdict, primary.companion, better),
        split_tasks=_is_split(tasks, plan, better),
    )
    return Evaluation(
        experiment=experiment,
        plan=plan,
        window=start.window,
        as_of_ms=as_of_ms,
        alpha=plan.alpha,
        effective_alpha=primary.effect.alpha,
        design=design.kind.value,
        verdict=judgement.verdict,
        confidence_at_target=judgement.confidence_at_target,
        decision=decision if history is None else restrain(decision, history.claim, history.changed),
        primary=primary,
        secondary=_adjust(comparer.compare(_others(frame, shown), Role.SECONDARY)),
        guardrails=guardrails,
        excluded=_count_reasons(frame),
        quality=Quality(
            candidates=frame.height,
            control=_describe_arm(frame, ARMS[0], metric),
            treatment=_describe_arm(frame, ARMS[1], metric),
            planned_n=plan.planned_n,
            information=primary.effect.information,
            sample_ratio=ratio,
            cautions=(*cautions, *(found for found in _count_unknown(frame, plan.cluster) if found.count)),
            tasks=tasks,
        ),
        flags=(*flags, *_derive_flags(frame, experiment, plan, start, design)),
        segments=_compute_segments(units, metric, plan.alpha),
        series=_compute_series(comparer, metric),
        curves=_compute_curves(units, metric),
        provenance=dict(provenance),
        delta=CriterionDelta(**delta.drop("metric", "control_n", "treatment_n").to_dicts()[0]),
        history=history,
    )


def _confirm(found: GuardrailResult, plan: Plan, compare: Callable[[Metric], History | None]) -> GuardrailResult:
    """Return a guardrail that is judged by the interval and the history of its own metric, as the primary is.

    One that is compared by days has no history beyond them, so that a deterioration is never claimed.
    """
    if found.result.per is not plan.unit:
        is_violated = found.status is GuardrailStatus.VIOLATED
        return replace(found, status=GuardrailStatus.UNRESOLVED) if is_violated else found
    history = compare(found.spec.metric)
    percent = None if history is None else history.percent
    return replace(
        found,
        status=confirm_guardrail(found.spec, found.status, found.p_adjusted, history),
        standardised=None if percent is None or percent.low == percent.high else percent,
    )


def _direction(seen: Interval | None, history: History | None) -> Direction | None:
    """Return which way the metric went, by the standardised effect where there is one; None without a difference."""
    seen = seen if history is None or history.percent is None else history.percent
    if seen is None or seen.estimate == 0:
        return None
    return Direction.INCREASE if seen.estimate > 0 else Direction.DECREASE


def _is_split(tasks: TaskCheck | None, plan: Plan, better: Direction) -> bool:
    """Return whether tasks take another number of sessions and are not shown to be better as a whole."""
    if tasks is None or tasks.total is None or plan.unit is not WorkUnit.SESSION:
        return False
    return not improves(tasks.total, better)


def _judge_guardrails(
    frame: pl.DataFrame, experiment: Experiment, plan: Plan, comparer: _Comparer
) -> tuple[GuardrailResult, ...]:
    specs = experiment.guardrails
    units = [guardrail_unit(spec, experiment, plan) for spec in specs]
    others = {unit: _Comparer.of(frame, plan, comparer.design, unit) for unit in {*units} - {plan.unit}}
    comparers = {plan.unit: comparer, **others}
    results = [
        result
        for spec, unit in zip(specs, units, strict=True)
        for result in comparers[unit].compare([spec.metric], Role.GUARDRAIL)
    ]
    effects = [(spec, result.effect) for spec, result in zip(specs, results, strict=True)]
    judged = judge_guardrails(effects, alpha=plan.alpha)
    return tuple(
        GuardrailResult(spec=spec, result=result, status=status, p_adjusted=p_adjusted)
        for spec, result, (status, p_adjusted) in zip(specs, results, judged, strict=True)
    )


def _others(frame: pl.DataFrame, shown: Collection[Metric]) -> list[Metric]:
    """Return the secondary metrics; outcomes are among them once 'outcomes' has looked."""
    return [
        metric
        for metric in REGISTRY
        if metric not in shown and (metric not in OUTCOMES or frame[metric.column].is_not_null().any())
    ]


def _count_reasons(frame: pl.DataFrame) -> dict[str, int]:
    """Return how many sessions were excluded for each reason, most frequent first."""
    excluded = frame.filter(pl.col("reason").is_not_null())
    counts = excluded.group_by("reason").len().sort(["len", "reason"], descending=[True, False])
    return {reason: int(count) for reason, count in counts.iter_rows()}


def _compute_segments(frame: pl.DataFrame, metric: Metric, alpha: float) -> tuple[Segment, ...]:
    """Return the metric by agent, model and workspace; a dimension with a single value would repeat the whole."""
    arms = frame.filter(pl.col("variant").is_in(ARMS))
    found: list[tuple[str, str, MetricResult]] = []
    for dimension in ("agent", "model", "workspace"):
        counts = arms.drop_nulls(dimension).group_by(dimension).len().sort(["len", dimension], descending=[True, False])
        values = counts[dimension].to_list() if counts.height > 1 else []
        for value in values[:_SEGMENT_VALUES]:
            sessions = arms.filter(pl.col(dimension) == value)
            [result] = _Comparer(sessions, alpha, Design()).compare([metric], Role.SECONDARY)
            found.append((dimension, value, result))
    adjusted = _adjust([result for *_, result in found])
    return tuple(
        Segment(dimension=dimension, value=value, result=result)
        for (dimension, value, _), result in zip(found, adjusted, strict=True)
    )


def _adjust(results: Sequence[MetricResult]) -> tuple[MetricResult, ...]:
    """Return the results with p values that allow for their number."""
    decided = [None if item.effect.degeneracy else item.effect.p_value for item in results]
    adjusted = iter(adjust_benjamini_hochberg([p for p in decided if p is not None]))
    return tuple(
        item if p is None else replace(item, p_adjusted=next(adjusted))
        for item, p in zip(results, decided, strict=True)
    )


def _compute_series(comparer: _Comparer, metric: Metric) -> tuple[SeriesPoint, ...]:
    """Return the percent change as sessions came in, at up to `_SERIES_POINTS` moments with both arms present.

    The comparer's sample is in the order in which the sessions started.
    """
    arms = comparer.sample.filter(pl.col("variant").is_in(ARMS) & pl.col(metric.column).is_not_null())
    is_treatment = (arms["variant"] == Classification.TREATMENT.value).to_numpy()
    n_treatment = np.cumsum(is_treatment)
    n_control = np.arange(1, is_treatment.size + 1) - n_treatment
    both = np.flatnonzero((n_control > 0) & (n_treatment > 0))
    if both.size == 0:
        return ()
    picked = np.unique(np.linspace(both[0], is_treatment.size - 1, _SERIES_POINTS).round().astype(int))
    times = arms["started_at_ms"].to_numpy()[picked].tolist()
    counts = list(zip(n_control[picked].tolist(), n_treatment[picked].tolist(), strict=True))
    percents = comparer.follow(metric, counts)
    nothing = dict.fromkeys(("estimate", "low", "high"))
    return tuple(
        SeriesPoint(
            at_ms=at_ms, n_control=control, n_treatment=treatment, **(nothing if percent is None else asdict(percent))
        )
        for at_ms, (control, treatment), percent in zip(times, counts, percents, strict=True)
    )


def _compute_curves(frame: pl.DataFrame, metric: Metric) -> tuple[Curve, ...]:
    """Return the quantiles of the metric in both arms; none for a proportion, whose values are 0 and 1."""
    if REGISTRY[metric].kind is MetricKind.PROPORTION:
        return ()
    levels = np.linspace(0.0, 1.0, _CURVE_POINTS)
    curves = []
    for arm in ARMS:
        values = frame.filter(pl.col("variant") == arm)[metric.column].drop_nulls().to_numpy()
        if values.size:
            quantiles = np.quantile(values, levels)
            curves.append(Curve(arm=arm.lower(), quantiles=tuple(levels.tolist()), values=tuple(quantiles.tolist())))
    return tuple(curves)


def _describe_arm(frame: pl.DataFrame, arm: str, metric: Metric) -> ArmQuality:
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


def _count_unknown(frame: pl.DataFrame, cluster: Cluster) -> Iterator[Caution]:
    """Yield how many sessions have no recorded cluster, and for how many in scope no lot was drawn."""
    if cluster in (Cluster.USER, Cluster.ORGANISATION, Cluster.BRANCH):
        unknown = frame.filter(pl.col("variant").is_in(ARMS) & (cluster_key(cluster) == "")).height
        yield Caution(kind=CautionKind.UNKNOWN_CLUSTERS, count=unknown)
    yield Caution(kind=CautionKind.NOT_DRAWN, count=frame.filter(pl.col("reason").is_in(list(NOT_DRAWN))).height)


def _check_ratio(frame: pl.DataFrame, plan: Plan, design: Design) -> SampleRatio | None:
    """Compare the sizes of the arms with the declared split: sessions, or units where these were drawn."""
    if plan.control_share is None:
        return None
    unit, counted = _drawn_unit(frame, plan)
    arms = frame.select("variant", counted=counted).unique()
    n_control, n_treatment = (arms.filter(pl.col("variant") == arm).height for arm in ARMS)
    return check_sample_ratio(
        n_control, n_treatment, expected_share=1 - plan.control_share, sequential=design.sequential, unit=unit
    )


def _drawn_unit(frame: pl.DataFrame, plan: Plan) -> tuple[str, pl.Expr]:
    """Return what was drawn and the column that names it.

    Without a lot of ours it is the cluster, if no cluster holds sessions of both arms; else the session.
    """
    if plan.randomisation is not None:
        return plan.randomisation.unit.value, pl.coalesce("unit", "session_id")
    arms = frame.filter(pl.col("variant").is_in(ARMS))
    if plan.cluster is not Cluster.NONE and arms.height:
        key = cluster_key(plan.cluster)
        per_cluster = arms.group_by(key.alias("key")).agg(pl.col("variant").n_unique())["variant"]
        if per_cluster.max() == 1:
            return plan.cluster.value, key
    return "session", pl.col("session_id")


def _derive_flags(frame: pl.DataFrame, experiment: Experiment, plan: Plan, start: Start, design: Design) -> list[str]:
    used = frame.filter(pl.col("variant").is_in(ARMS))
    words = set(" ".join(used["flags"].to_list()).split())
    flags = [
        ("retrospective", start.retrospective),
        ("adopted", start.adopted),
        ("before_after", isinstance(experiment.binding, GitCommit)),
        ("covariate", frame["covariate"].n_unique() > 1),
        ("interim_look", (plan.is_dated or plan.design is DesignKind.FIXED) and design.sequential),
        *((word, True) for word in sorted(words)),
    ]
    return [name for name, is_set in flags if is_set]
