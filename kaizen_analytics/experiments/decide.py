"""What an effect means for the success criterion, for the guardrails, and for the decision to ship.

Everything is pure: an effect and a criterion go in, enumerations and numbers come out; `pages.sentences` says them in
words.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from kaizen_analytics.core.model import Absolute, Criterion, DesignKind, Direction, GitCommit, GuardrailSpec, Metric
from kaizen_analytics.stats import Effect, Interval, adjust_holm
from kaizen_analytics.stats.before_after import MIN_DATES

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from kaizen_analytics.core.model import Binding
    from kaizen_analytics.stats.before_after import BeforeAfter

_SLACK = 1e-9
"""Relative distance within which an end of an interval has reached the target: percentages are rounded floats."""


class Verdict(StrEnum):
    """What an experiment showed, in the order in which it is decided."""

    INVALID = "invalid"
    """The arms cannot be compared: a sample ratio mismatch or a broken binding."""
    INSUFFICIENT_DATA = "insufficient_data"
    """There is no interval at all."""
    PERCENT_UNDEFINED = "percent_undefined"
    """There is no percent change, as with a control median of zero; the difference is shown, nothing is decided."""
    DEGENERATE = "degenerate"
    """The interval decides nothing: it has no width, or too many sessions share the median."""
    MET = "met"
    """The whole interval is at or beyond the target."""
    REGRESSED = "regressed"
    """The whole interval is on the wrong side of zero."""
    NO_EFFECT = "no_effect"
    """The whole interval is within the equivalence margin."""
    IMPROVED_TARGET_PLAUSIBLE = "improved_target_plausible"
    """Better than zero; the target is inside the interval."""
    IMPROVED_BELOW_TARGET = "improved_below_target"
    """Better than zero; the target is beyond the interval."""
    INCONCLUSIVE = "inconclusive"
    """Zero and the target are both inside the interval."""
    TARGET_EXCLUDED = "target_excluded"
    """Zero is inside the interval, the target beyond it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """What an experiment showed about its success criterion.

    `confidence_at_target` is how strongly the data say that the target is reached, as if this were the only analysis;
    None without a percent change.
    """

    verdict: Verdict
    confidence_at_target: float | None = None


def judge(
    effect: Effect, criterion: Criterion, *, better: Direction, margin_pct: float | None = None, is_valid: bool = True
) -> Judgement:
    """Judge an effect against a success criterion.

    Args:
        criterion: A percent change in a direction, or a value for the treatment arm alone.
        better: The metric's better side; decides the direction of an Absolute criterion.
        margin_pct: Changes smaller than this many percent count as none; None never says `no_effect`.

    >>> from kaizen_analytics.core.model import Delta
    >>> from kaizen_analytics.stats import median_effect
    >>> effect = median_effect([10, 11, 12, 13, 14, 15, 16], [5, 6, 7, 8, 9, 10, 11])
    >>> judge(effect, Delta(Direction.DECREASE, -10), better=Direction.DECREASE).verdict
    <Verdict.MET: 'met'>
    """
    if not is_valid:
        return Judgement(verdict=Verdict.INVALID)
    interval = effect.treatment.interval if isinstance(criterion, Absolute) else effect.difference
    if interval is None:
        return Judgement(verdict=Verdict.INSUFFICIENT_DATA)
    if effect.degeneracy is not None:
        return Judgement(verdict=Verdict.DEGENERATE)
    if isinstance(criterion, Absolute):
        return Judgement(verdict=_classify_absolute(interval, criterion.metric_value, better))
    if effect.percent is None:
        return Judgement(verdict=Verdict.PERCENT_UNDEFINED)
    gain = gain_of(effect.percent, criterion.direction)
    return Judgement(
        verdict=classify(gain.low, gain.high, abs(criterion.target_pct), margin_pct),
        confidence_at_target=effect.confidence(criterion.signed_pct, criterion.direction),
    )


def classify(low: float, high: float, target: float, margin: float | None = None) -> Verdict:
    """Return the verdict of an interval of the gain in percent, positive being better, against a target >= 0.

    A target of 0 asks for any true improvement, so an interval that only touches 0 does not meet it.

    >>> classify(2.0, 8.0, 10.0)
    <Verdict.IMPROVED_BELOW_TARGET: 'improved_below_target'>
    """
    reached = target * (1 - _SLACK)
    if low >= reached and low > 0:
        return Verdict.MET
    if high < 0:
        return Verdict.REGRESSED
    if margin is not None and -margin < low and high < margin:
        return Verdict.NO_EFFECT
    plausible = high >= reached and high > 0
    if low > 0:
        return Verdict.IMPROVED_TARGET_PLAUSIBLE if plausible else Verdict.IMPROVED_BELOW_TARGET
    return Verdict.INCONCLUSIVE if plausible else Verdict.TARGET_EXCLUDED


def gain_of(percent: Interval, direction: Direction) -> Interval:
    """Return a percent change as a gain: positive where it goes in `direction`.

    >>> gain_of(Interval(estimate=-20.0, low=-30.0, high=-10.0), Direction.DECREASE)
    Interval(estimate=20.0, low=10.0, high=30.0)
    """
    if direction is Direction.INCREASE:
        return percent
    return Interval(estimate=-percent.estimate, low=-percent.high, high=-percent.low)


def _classify_absolute(interval: Interval, value: float, better: Direction) -> Verdict:
    slack = _SLACK * abs(value)
    rising = better is Direction.INCREASE
    if interval.low >= value - slack if rising else interval.high <= value + slack:
        return Verdict.MET
    if interval.high < value - slack if rising else interval.low > value + slack:
        return Verdict.TARGET_EXCLUDED
    return Verdict.INCONCLUSIVE


class GuardrailStatus(StrEnum):
    """What happened to a metric that must not get worse."""

    VIOLATED = "violated"
    """It got worse, beyond chance and after allowing for the number of guardrails."""
    PASSED = "passed"
    """Its whole interval is within the tolerated change."""
    UNRESOLVED = "unresolved"
    """Neither is shown."""


def judge_guardrails(
    guardrails: Sequence[tuple[GuardrailSpec, Effect]], *, alpha: float = 0.05
) -> list[tuple[GuardrailStatus, float | None]]:
    """Return the status of every guardrail and its p value of deterioration, adjusted for their number (Holm).

    A guardrail is violated when the adjusted one-sided p value is at most `alpha`. It passes when the bad end of its
    interval is within the tolerated percent: all have to pass, so no adjustment is needed there (intersection-union
    test). A guardrail without data, or with an interval that decides nothing, has no p value and does not count for
    the adjustment.

    >>> from kaizen_analytics.stats import median_effect
    >>> effect = median_effect([10, 11, 12, 13, 14, 15, 16], [5, 6, 7, 8, 9, 10, 11])
    >>> judge_guardrails([(GuardrailSpec(Metric.TOOL_LOOPS, Direction.INCREASE, 5.0), effect)])[0][0]
    <GuardrailStatus.PASSED: 'passed'>
    """
    p_values = [_deterioration(spec, effect) for spec, effect in guardrails]
    adjusted = iter(adjust_holm([p for p in p_values if p is not None]))
    kept = [None if p is None else next(adjusted) for p in p_values]
    return [(_status(spec, effect, p, alpha), p) for (spec, effect), p in zip(guardrails, kept, strict=True)]


def _deterioration(spec: GuardrailSpec, effect: Effect) -> float | None:
    """Return the one-sided p value of a change in the feared direction.

    Half the two-sided one when the estimate points that way. The open design has no half: its two-sided bound is used
    for one side, which is cautious.
    """
    if effect.p_value is None or effect.difference is None or effect.degeneracy is not None:
        return None
    one_sided = effect.p_value if effect.design.kind is DesignKind.OPEN else effect.p_value / 2
    sign = 1 if spec.regression_direction is Direction.INCREASE else -1
    return one_sided if sign * effect.difference.estimate > 0 else 1 - effect.p_value / 2


def _status(spec: GuardrailSpec, effect: Effect, p_adjusted: float | None, alpha: float) -> GuardrailStatus:
    if p_adjusted is None:
        return GuardrailStatus.UNRESOLVED
    if p_adjusted <= alpha:
        return GuardrailStatus.VIOLATED
    if is_tolerated(spec, effect.percent):
        return GuardrailStatus.PASSED
    # Without a percent change, a difference that cannot be bad at all is within any tolerance.
    worst_difference = worst_of(spec, effect.difference)
    if effect.percent is None and worst_difference is not None and worst_difference <= 0:
        return GuardrailStatus.PASSED
    return GuardrailStatus.UNRESOLVED


def worst_of(spec: GuardrailSpec, interval: Interval | None) -> float | None:
    """Return the bad end of an interval, positive being worse.

    >>> spec = GuardrailSpec(Metric.SUCCESS_RATE, Direction.DECREASE, 5.0)
    >>> worst_of(spec, Interval(estimate=0.0, low=-8.0, high=2.0))
    8.0
    """
    if interval is None:
        return None
    return interval.high if spec.regression_direction is Direction.INCREASE else -interval.low


def is_tolerated(spec: GuardrailSpec, percent: Interval | None) -> bool:
    """Return whether the whole interval of a percent change is within what a guardrail tolerates.

    >>> rise = GuardrailSpec(Metric.COST_PER_SESSION, Direction.INCREASE, 5.0)
    >>> is_tolerated(rise, Interval(estimate=1.0, low=-3.0, high=4.0))
    True
    """
    worst = worst_of(spec, percent)
    return worst is not None and worst <= abs(spec.threshold_pct) * (1 + _SLACK)


class Claim(StrEnum):
    """What may be said about arms that are separated in time, in the order in which it is decided."""

    TOO_EARLY = "too_early"
    """The window is not over; there is one claim, at its end."""
    TOO_FEW = "too_few"
    """An arm has too few sessions, or has them on too few days."""
    NOT_COMPARABLE = "not_comparable"
    """The arms have no kind of session in common: another model, agent or workspace came with the change."""
    UNDEFINED = "undefined"
    """There is no percent change, as with a median of zero."""
    NO_DIFFERENCE = "no_difference"
    """The standardised interval holds no change."""
    DRIFT = "drift"
    """There is a difference, and this history moves as much by itself."""
    COMMON_JUMP = "common_jump"
    """There is a difference, and jumps of this size are seen at other dates."""
    SHORT_HISTORY = "short_history"
    """There is a difference, and too little history to tell whether it is usual."""
    HOLDS = "holds"
    """Lower or higher after the change, beyond what this history does by itself."""


MIN_HISTORY_DAYS = 35
"""Days of history below which a difference is never claimed."""


def judge_claim(found: BeforeAfter, *, alpha: float = 0.05, is_over: bool = True) -> Claim:
    """Return what may be said about arms that are separated in time; the first condition that fails decides.

    Every condition only lowers the rate of false claims, so their levels are not combined. The drift test keeps the
    level; the rank among placebo dates is no p value.

    Args:
        alpha: Level of the drift test, and the largest share of dates with a jump as large.

    >>> from kaizen_analytics.stats.before_after import Timeline, compare_before_after
    >>> days = np.repeat(np.arange(-14, 14), 20)
    >>> values = np.tile(np.geomspace(1, 9, 20), 28) * np.where(days < 0, 2, 1) * (1 + days % 3)
    >>> line = Timeline(days=days, after=days >= 0, strata=days * 0, values=values, in_window=days >= -14)
    >>> judge_claim(compare_before_after(line, by_median=True))
    <Claim.SHORT_HISTORY: 'short_history'>
    """
    checks = (
        (Claim.TOO_EARLY, not is_over),
        (Claim.TOO_FEW, not found.has_sessions),
        (Claim.NOT_COMPARABLE, not found.common),
        (Claim.UNDEFINED, found.effect is None),
        (Claim.NO_DIFFERENCE, found.effect is not None and not found.effect.is_clear),
        (Claim.DRIFT, _is_drift(found, alpha)),
        (Claim.COMMON_JUMP, found.placebo is not None and found.placebo.rank > alpha and _has_dates(found)),
        (Claim.SHORT_HISTORY, found.drift is None or not _has_dates(found)),
    )
    return next((claim for claim, failed in checks if failed), Claim.HOLDS)


def _is_drift(found: BeforeAfter, alpha: float) -> bool:
    effect, drift = found.effect, found.drift
    if effect is None or drift is None:
        return False
    return drift.p_value > alpha or drift.step * effect.log_ratio <= 0


def _has_dates(found: BeforeAfter) -> bool:
    enough = found.placebo is not None and found.placebo.dates >= MIN_DATES
    return enough and found.history_days >= MIN_HISTORY_DAYS


_MIDDLE = (0.05, 0.95)
"""Quantiles of an arm's session starts between which the arm is taken to have run; a few strays do not count."""
_SHARED = 0.5
"""Share of each arm's sessions that must start while the other arm runs, for the arms to be concurrent."""


class Grade(StrEnum):
    """How the arms came about, the strongest design first."""

    RANDOMISED = "randomised"
    """Arms were drawn by lot, and the draw was recorded when each session started."""
    CONCURRENT = "concurrent"
    """Both arms ran at the same time; people chose the arm of a session."""
    BEFORE_AFTER = "before_after"
    """The arms are separated in time."""


def compute_grade(
    binding: Binding, control_starts: npt.NDArray[np.int64], treatment_starts: npt.NDArray[np.int64], *, assigned: bool
) -> Grade:
    """Return the grade of a design from its facts.

    Args:
        control_starts: Starts of the control sessions in milliseconds, shape (n,).

    >>> from kaizen_analytics.core.model import Branch
    >>> day = np.arange(10)
    >>> compute_grade(Branch("main", "short"), day, day + 100, assigned=False)
    <Grade.BEFORE_AFTER: 'before_after'>
    """
    if assigned:
        return Grade.RANDOMISED
    if isinstance(binding, GitCommit) or not _overlap(control_starts, treatment_starts):
        return Grade.BEFORE_AFTER
    return Grade.CONCURRENT


def _overlap(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> bool:
    """Return whether half of each arm started while the other arm ran; an empty arm overlaps with anything."""
    if not first.size or not second.size:
        return True
    return min(_share_within(first, second), _share_within(second, first)) >= _SHARED


def _share_within(starts: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> float:
    low, high = np.quantile(others, _MIDDLE)
    return float(np.mean((starts >= low) & (starts <= high)))


class Headline(StrEnum):
    """What to do with the change; arms that were not drawn by lot only say that a difference was seen."""

    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"
    BETTER = "better"
    """Better with the change; what caused it is not shown."""
    WORSE = "worse"
    """Worse with the change; what caused it is not shown."""
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with the change, and which of the guardrails speak against it.

    `grade` says how the arms came about, None where the result was frozen before grades were computed. `exploratory`
    says that the rule was chosen after the data, `moved` which way the primary metric went. `n_guardrails` counts all
    guardrails. `opposed` says that the companion of the success metric, its mean beside its median or the reverse,
    moved against the verdict beyond chance; `split_tasks` that a branch takes another number of sessions with the
    change, and the total per branch is not shown to be better. `claim` is what may be said about arms that are
    separated in time, None for others; `changed` names what came with the change: agent, model or workspace.
    """

    headline: Headline
    grade: Grade | None = None
    exploratory: bool = False
    moved: Direction | None = None
    violated: tuple[Metric, ...] = ()
    unresolved: tuple[Metric, ...] = ()
    n_guardrails: int = 0
    opposed: bool = False
    split_tasks: bool = False
    claim: Claim | None = None
    changed: tuple[str, ...] = ()


IMPROVED = (Verdict.MET, Verdict.IMPROVED_TARGET_PLAUSIBLE, Verdict.IMPROVED_BELOW_TARGET)
_FAILED = (Verdict.REGRESSED, Verdict.NO_EFFECT, Verdict.TARGET_EXCLUDED)


def opposes(verdict: Verdict, companion: Effect, better: Direction) -> bool:
    """Return whether the companion of a success metric moved against its verdict beyond chance.

    >>> from kaizen_analytics.stats import mean_effect
    >>> opposes(Verdict.MET, mean_effect([1, 2, 3, 4, 5], [11, 12, 13, 14, 15]), Direction.DECREASE)
    True
    """
    worse = Direction.DECREASE if better is Direction.INCREASE else Direction.INCREASE
    return (verdict in IMPROVED and improves(companion, worse)) or (verdict in _FAILED and improves(companion, better))


def improves(effect: Effect, better: Direction) -> bool:
    """Return whether an effect goes in a direction beyond chance.

    >>> from kaizen_analytics.stats import mean_effect
    >>> improves(mean_effect([1, 2, 3, 4, 5], [11, 12, 13, 14, 15]), Direction.INCREASE)
    True
    """
    moved = effect.difference
    return moved is not None and effect.degeneracy is None and gain_of(moved, better).low > 0


def decide(
    verdict: Verdict,
    guardrails: Sequence[tuple[Metric, GuardrailStatus]],
    grade: Grade | None,
    *,
    exploratory: bool = False,
    moved: Direction | None = None,
    opposed: bool = False,
    split_tasks: bool = False,
) -> Decision:
    """Return what to do with the change.

    Arms that were drawn by lot follow the rule of Schultzberg, Ankargren & Frånberg 2024: ship when the success metric
    improves and every guardrail is shown to be within its tolerance; do not ship when a guardrail is violated, or when
    the success metric got worse or is shown not to reach its target. Other arms, and a rule that was chosen after the
    data, only say that things were better or worse with the change. Nothing is decided where the typical and the
    average session moved in opposite directions.

    Args:
        grade: How the arms came about; None for a result that was frozen before grades, which keeps its rule.

    >>> decide(Verdict.MET, [], Grade.RANDOMISED).headline
    <Headline.SHIP: 'ship'>
    >>> decide(Verdict.MET, [], Grade.BEFORE_AFTER).headline
    <Headline.BETTER: 'better'>
    """
    violated, unresolved = (
        tuple(metric for metric, status in guardrails if status is wanted)
        for wanted in (GuardrailStatus.VIOLATED, GuardrailStatus.UNRESOLVED)
    )
    causal = grade in (None, Grade.RANDOMISED) and not exploratory
    if verdict is Verdict.INVALID:
        headline = Headline.UNDECIDED
    elif violated or (verdict in (_FAILED if causal else (Verdict.REGRESSED,)) and not opposed):
        headline = Headline.DO_NOT_SHIP if causal else Headline.WORSE
    elif verdict in IMPROVED and not (unresolved or opposed or split_tasks):
        headline = Headline.SHIP if causal else Headline.BETTER
    else:
        headline = Headline.UNDECIDED
    return Decision(
        headline=headline,
        grade=grade,
        exploratory=exploratory,
        moved=moved,
        violated=violated,
        unresolved=unresolved,
        n_guardrails=len(guardrails),
        opposed=opposed,
        split_tasks=split_tasks,
    )


def restrain(decision: Decision, claim: Claim, changed: tuple[str, ...] = ()) -> Decision:
    """Return the decision of arms that are separated in time: undecided unless the history lets the claim hold.

    A violated guardrail stays, because its own history has let it.

    >>> restrain(decide(Verdict.MET, [], Grade.BEFORE_AFTER), Claim.DRIFT).headline
    <Headline.UNDECIDED: 'undecided'>
    """
    headline = decision.headline if claim is Claim.HOLDS or decision.violated else Headline.UNDECIDED
    return replace(decision, claim=claim, changed=changed, headline=headline)
