"""What judging one experiment found: every number that a report shows, and no sentence.

`Evaluation` is plain, immutable data. `conclude` freezes it with `core.codec`; `pages.documents` prints it as JSON and
`pages.sentences` says it in words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping  # noqa: TC003 - the codec reads annotations
from dataclasses import dataclass
from enum import StrEnum

from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import Direction, Experiment, GuardrailSpec, Metric, State, Window, WorkUnit
from kaizen_analytics.experiments.decide import Claim, Decision, GuardrailStatus, Headline, Verdict
from kaizen_analytics.experiments.plan import Plan
from kaizen_analytics.stats import Effect, EffectKind, Interval, SampleRatio
from kaizen_analytics.stats.before_after import BeforeAfter, StratifiedEffect


class Role(StrEnum):
    """Why a metric is in the evaluation."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    GUARDRAIL = "guardrail"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmStats:
    """One arm of one metric: sessions with a value, sessions without one, and the centre of the values.

    `mean` is the share of a proportion and the ratio of the totals of a rate.
    """

    n: int
    n_missing: int
    median: float | None
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricResult:
    """One metric compared between the arms.

    `effect` decides. `companion` is the other statistic of a primary metric that is a quantity: the means beside the
    medians, or the reverse. `per` is what values are added up over. `p_adjusted` is Benjamini and Hochberg's over all
    secondary metrics, or over all segments; None for the primary metric, for guardrails, and without a p value.
    """

    metric: Metric
    role: Role
    control: ArmStats
    treatment: ArmStats
    effect: Effect
    companion: Effect | None = None
    p_adjusted: float | None = None
    per: WorkUnit = WorkUnit.SESSION

    @property
    def label(self) -> str:
        """The metric's name in words, with what it is added up over."""
        return REGISTRY[self.metric].label.replace("per session", f"per {self.per.value}")

    @property
    def unit(self) -> str:
        """The metric's unit."""
        return REGISTRY[self.metric].unit

    @property
    def better(self) -> Direction:
        """The metric's better side."""
        return REGISTRY[self.metric].better

    @property
    def kind(self) -> MetricKind:
        """What the metric is."""
        return REGISTRY[self.metric].kind

    @property
    def is_clear(self) -> bool:
        """Whether the difference is more than chance, after allowing for the number of comparisons."""
        seen, level = self.effect.percent or self.effect.difference, 1 - self.effect.level
        if seen is None or self.effect.degeneracy is not None or seen.low <= 0 <= seen.high:
            return False
        return self.p_adjusted is None or self.p_adjusted <= level

    @property
    def centres(self) -> tuple[float | None, float | None]:
        """What is compared, of control and of treatment: the medians, or else the means."""
        if self.effect.kind is EffectKind.MEDIAN:
            return self.control.median, self.treatment.median
        return self.control.mean, self.treatment.mean


@dataclass(frozen=True, slots=True, kw_only=True)
class CriterionDelta:
    """The primary metric beside its success criterion, as `deltas.compare_with_criterion` computes it in Polars.

    Point estimates only. `control` and `treatment` are the centres of the arms, `target` is a signed percent change (a
    value of the treatment arm for an absolute criterion), and `gain` says how far the arms moved towards it.
    """

    control: float | None
    treatment: float | None
    difference: float | None
    percent: float | None
    target: float
    gain: float | None
    reached: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailResult:
    """One guardrail: its rule, its metric and its status.

    `p_adjusted` is Holm's, of a deterioration. `standardised` is the percent change over the common kinds of session
    with days as clusters, for arms that are separated in time; None for others.
    """

    spec: GuardrailSpec
    result: MetricResult
    status: GuardrailStatus
    p_adjusted: float | None
    standardised: Interval | None = None

    @property
    def percent(self) -> Interval | None:
        """The percent change that is judged."""
        return self.result.effect.percent if self.standardised is None else self.standardised


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The primary metric among the sessions that share one value of `agent`, `model` or `workspace`."""

    dimension: str
    value: str
    result: MetricResult


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPoint:
    """The percent change of the primary metric from the sessions that had started by `at_ms`."""

    at_ms: int
    n_control: int
    n_treatment: int
    estimate: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """The distribution of the primary metric in one arm: `values[i]` is its quantile at `quantiles[i]`."""

    arm: str
    quantiles: tuple[float, ...]
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmQuality:
    """How complete the data of one arm are. `unreliable_share` is None for an arm without responses."""

    sessions: int
    responses: int
    unreliable_responses: int
    unreliable_share: float | None
    unpriced_sessions: int
    missing_primary: int
    dirty_sessions: int
    inferred_commits: int
    side_branch_sessions: int

    @property
    def missing_share(self) -> float | None:
        """Share of the sessions without a value of the primary metric; None for an empty arm."""
        return self.missing_primary / self.sessions if self.sessions else None


class CautionKind(StrEnum):
    """What happened to a sample that its own numbers do not show."""

    WAITING_TAGS = "waiting_tags"
    """Sessions are tagged that the store does not hold."""
    DELEGATED_TAGS = "delegated_tags"
    """Sub-agents are tagged, which count with the session that started them."""
    UNKNOWN_CLUSTERS = "unknown_clusters"
    """Sessions have no recorded user or organisation and count as one cluster."""
    CONFLICTING_TAGS = "conflicting_tags"
    """Sessions are tagged with different arms in the stores of a lake."""
    CONFLICTING_RULES = "conflicting_rules"
    """The stores of a lake export the experiment with different rules."""
    NOT_DRAWN = "not_drawn"
    """No lot was drawn for sessions in scope; the reasons are among those of excluded sessions."""
    CONFLICTING_DRAWS = "conflicting_draws"
    """Sessions are tagged by hand with another arm than the lot's."""
    RECOMPUTED = "recomputed"
    """A concluded experiment was computed again, from a lake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Caution:
    """Something that a reader should know about a sample, with the number of sessions, tags or stores concerned."""

    kind: CautionKind
    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCheck:
    """Sessions per task in both arms (means).

    `total` compares the success metric added up per task; None where the arms do not differ in sessions per task, or
    nobody can tell.
    """

    control_sessions: float
    treatment_sessions: float
    total: Effect | None = None

    @property
    def factor(self) -> float:
        """How many times as many sessions a task has under treatment."""
        return self.treatment_sessions / self.control_sessions


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Whether the numbers can be trusted.

    `information` is the share of the planned information reached. `tasks` is None without a task in each arm.
    """

    candidates: int
    control: ArmQuality
    treatment: ArmQuality
    planned_n: int | None
    information: float | None
    sample_ratio: SampleRatio | None
    cautions: tuple[Caution, ...] = ()
    tasks: TaskCheck | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mismatch:
    """A column whose values the arms do not share, with the most frequent value of each."""

    column: str
    control: str
    treatment: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Elsewhere:
    """The same dates in workspaces without the change: a difference there is not from the change."""

    sessions: int
    effect: StratifiedEffect


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """Arms that are separated in time, beside the history of their metric.

    `change_ms` is the start of the first day after the change. `kinds` names the kinds of session that both arms hold,
    `mismatches` what leaves them without any.
    """

    claim: Claim
    change_ms: int
    found: BeforeAfter
    kinds: tuple[str, ...] = ()
    mismatches: tuple[Mismatch, ...] = ()
    elsewhere: Elsewhere | None = None

    @property
    def changed(self) -> tuple[str, ...]:
        """What came with the change and leaves the arms without a kind of session in common."""
        return tuple(mismatch.column for mismatch in self.mismatches)

    @property
    def percent(self) -> Interval | None:
        """The standardised percent change; None where there is none."""
        return percent_of(self.found.effect)


def percent_of(effect: StratifiedEffect | None) -> Interval | None:
    """Return a standardised effect in percent.

    >>> percent_of(None)
    """
    if effect is None:
        return None
    estimate, low, high = (
        100 * math.expm1(value) if value < _LARGEST_LOG else math.inf
        for value in (effect.log_ratio, effect.low, effect.high)
    )
    return Interval(estimate=estimate, low=low, high=high)


_LARGEST_LOG = 700.0
"""Beyond this, an exponential is no finite number."""


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation:
    """Everything known about one experiment at `as_of_ms`.

    `window` holds the sessions that count, by their start, both ends included. `alpha` is the planned overall error
    level; `effective_alpha` the level of the intervals shown, after the design's allowance for interim analyses.
    `flags` are short machine-readable words (`retrospective`, `adopted`, `not_frozen`, `edited`, `side_branch`, ...).
    `provenance` says what the numbers were computed from. `history` is None unless the arms are separated in time.
    """

    experiment: Experiment
    plan: Plan
    window: Window
    as_of_ms: int
    alpha: float
    effective_alpha: float
    design: str
    verdict: Verdict
    confidence_at_target: float | None
    decision: Decision
    primary: MetricResult
    secondary: tuple[MetricResult, ...]
    guardrails: tuple[GuardrailResult, ...]
    excluded: Mapping[str, int]
    quality: Quality
    flags: tuple[str, ...]
    segments: tuple[Segment, ...]
    series: tuple[SeriesPoint, ...]
    curves: tuple[Curve, ...]
    provenance: Mapping[str, str | int | float | None]
    delta: CriterionDelta | None = None
    history: History | None = None

    def __repr__(self) -> str:
        """Return the id, the verdict and the decision; the whole has thousands of numbers."""
        return f"<Evaluation of {self.experiment.id!r}: {self.verdict.value}, {self.decision.headline.value}>"

    @property
    def percent(self) -> Interval | None:
        """The percent change that is judged: standardised where the arms are separated in time."""
        standardised = None if self.history is None else self.history.percent
        return self.primary.effect.percent if standardised is None else standardised

    @property
    def results(self) -> tuple[MetricResult, ...]:
        """Every metric that was compared: the primary one, those of guardrails, the others."""
        return (self.primary, *(guardrail.result for guardrail in self.guardrails), *self.secondary)


class NextStep(StrEnum):
    """The most important thing to do next."""

    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"
    KEEP = "keep"
    """The change is merged and things were better with it."""
    INVESTIGATE = "investigate"
    """The change is merged and things were worse with it."""
    DECIDE_OTHERWISE = "decide_otherwise"
    """The history cannot tell what the change did, however many sessions come."""
    FIND_MISSING = "find_missing"
    CHANGE_STATISTIC = "change_statistic"
    CHANGE_METRIC = "change_metric"
    CHECK_SESSIONS = "check_sessions"
    """Nothing more comes in, and an arm is empty."""
    COLLECT = "collect"
    PLAN_LARGER = "plan_larger"
    """Nothing more comes in, and nothing is decided."""


_BY_HEADLINE = {
    Headline.SHIP: NextStep.SHIP,
    Headline.DO_NOT_SHIP: NextStep.DO_NOT_SHIP,
    Headline.BETTER: NextStep.KEEP,
    Headline.WORSE: NextStep.INVESTIGATE,
}
_BY_VERDICT = {
    Verdict.INVALID: NextStep.FIND_MISSING,
    Verdict.DEGENERATE: NextStep.CHANGE_STATISTIC,
    Verdict.PERCENT_UNDEFINED: NextStep.CHANGE_METRIC,
}


def choose_next_step(evaluation: Evaluation) -> NextStep:
    """Return what to do next; sessions are asked for only while the experiment runs and its window is open.

    >>> choose_next_step(analysis.evaluate("plan-first"))
    <NextStep.PLAN_LARGER: 'plan_larger'>
    """
    headline, history = evaluation.decision.headline, evaluation.history
    if headline in _BY_HEADLINE:
        return _BY_HEADLINE[headline]
    if history is not None and history.claim not in (Claim.TOO_EARLY, Claim.TOO_FEW, Claim.HOLDS):
        return NextStep.DECIDE_OTHERWISE
    if evaluation.verdict in _BY_VERDICT:
        return _BY_VERDICT[evaluation.verdict]
    if evaluation.experiment.state in (State.DRAFT, State.RUNNING) and not is_over(evaluation):
        return NextStep.COLLECT
    arms = evaluation.quality.control, evaluation.quality.treatment
    return NextStep.PLAN_LARGER if all(arm.sessions for arm in arms) else NextStep.CHECK_SESSIONS


def is_over(evaluation: Evaluation) -> bool:
    """Return whether the window had ended at the time of the evaluation.

    >>> is_over(analysis.evaluate("plan-first"))
    True
    """
    return evaluation.as_of_ms >= evaluation.window.end_ms
