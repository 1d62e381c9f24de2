"""Verdicts: what an effect means for the success criterion, the guardrails and the decision to ship.

Everything is pure: an effect and a criterion go in, a judgement with one plain sentence comes out.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.model import Absolute, Criterion, Delta, Direction
from kaizen_analytics.stats.effect import Effect, EffectKind, Interval, format_number, format_percent
from kaizen_analytics.stats.multiplicity import adjust_holm
from kaizen_analytics.stats.sequential import DesignKind

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.model import GuardrailSpec

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
    """A verdict with its reason.

    Attributes:
        verdict: What the experiment showed.
        confidence_at_target: How strongly the data say that the target is reached, as if this were the only look;
            None without a percent change.
        sentence: What a reader without statistics can act on.
        notes: Plain sentences on contradictions in the criterion.
    """

    verdict: Verdict
    confidence_at_target: float | None
    sentence: str
    notes: tuple[str, ...] = ()


def judge(
    effect: Effect,
    criterion: Criterion,
    *,
    better: Direction,
    margin_pct: float | None = None,
    invalid: str | None = None,
) -> Judgement:
    """Judge an effect against a success criterion.

    Args:
        effect: What the treatment did.
        criterion: A percent change in a direction, or a value for the treatment arm alone.
        better: The metric's better side; decides the direction of an Absolute criterion.
        margin_pct: Changes smaller than this many percent count as none; None never says `no_effect`.
        invalid: Plain sentence why the arms cannot be compared, or None.

    Raises:
        ExperimentError: `margin_pct` is not positive.
    """
    if margin_pct is not None and not 0 < margin_pct < math.inf:
        raise ExperimentError(f"The equivalence margin is {margin_pct} %; expected a positive percent, or none.")
    if invalid is not None:
        return Judgement(verdict=Verdict.INVALID, confidence_at_target=None, sentence=invalid)
    if isinstance(criterion, Absolute):
        return _judge_absolute(effect, criterion, better)
    return _judge_delta(effect, criterion, margin_pct)


def _judge_delta(effect: Effect, criterion: Delta, margin_pct: float | None) -> Judgement:
    notes = _contradiction(criterion)
    if effect.insufficient is not None:
        return _without_interval(Verdict.INSUFFICIENT_DATA, effect.insufficient, notes)
    if effect.percent is None:
        reason = effect.percent_undefined or "There is no percent change."
        return _without_interval(Verdict.PERCENT_UNDEFINED, f"The target cannot be judged: {_lowered(reason)}", notes)
    target = abs(criterion.target_pct)
    gain = _gain(effect.percent, criterion.direction)
    verdict = classify(gain.low, gain.high, target, margin_pct)
    signed = target if criterion.direction is Direction.INCREASE else -target
    return Judgement(
        verdict=verdict,
        confidence_at_target=effect.confidence(signed, criterion.direction),
        sentence=_delta_sentence(verdict, effect, gain, criterion.direction, target),
        notes=notes,
    )


def classify(low: float, high: float, target: float, margin: float | None = None) -> Verdict:
    """Return the verdict of an interval of the gain in percent, positive being better, against a target >= 0.

    A target of 0 asks for any true improvement, so an interval that only touches 0 does not meet it.
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


def _gain(percent: Interval, direction: Direction) -> Interval:
    if direction is Direction.INCREASE:
        return percent
    return Interval(estimate=-percent.estimate, low=-percent.high, high=-percent.low)


def _contradiction(criterion: Delta) -> tuple[str, ...]:
    rising = criterion.direction is Direction.INCREASE
    if criterion.target_pct == 0 or rising == (criterion.target_pct > 0):
        return ()
    read = f"{_change_word(criterion.direction)} of at least {abs(criterion.target_pct):g} %"
    note = (
        f"The criterion says {criterion.direction} but its target is {criterion.target_pct:+g} %; "
        f"the direction decides, so it is read as {read}."
    )
    return (note,)


def _without_interval(verdict: Verdict, sentence: str, notes: tuple[str, ...]) -> Judgement:
    return Judgement(verdict=verdict, confidence_at_target=None, sentence=sentence, notes=notes)


def _lowered(sentence: str) -> str:
    return sentence[:1].lower() + sentence[1:]


def _change_word(direction: Direction) -> str:
    return "a rise" if direction is Direction.INCREASE else "a fall"


def _delta_sentence(verdict: Verdict, effect: Effect, gain: Interval, direction: Direction, target: float) -> str:
    wanted = _change_word(direction)
    goal = f"{wanted} of at least {target:g} %" if target else f"any {wanted[2:]}"
    when = " so far" if effect.design.sequential else ""
    seen = f"The data{when} show {_seen(gain, direction)} ({_between(effect, gain, direction)})"
    return f"{seen}, {_CONSEQUENCES[verdict].format(goal=goal)}."


_CONSEQUENCES = {
    Verdict.MET: "so the target of {goal} is reached",
    Verdict.REGRESSED: "so the change made things worse: revert it or find out why",
    Verdict.NO_EFFECT: "which is too small to matter: treat the change as without effect",
    Verdict.IMPROVED_TARGET_PLAUSIBLE: "so things improved, but {goal} is not proven yet: collect more sessions",
    Verdict.IMPROVED_BELOW_TARGET: "so things improved, but by less than the target of {goal}",
    Verdict.INCONCLUSIVE: "so neither no improvement nor {goal} can be ruled out: collect more sessions",
    Verdict.TARGET_EXCLUDED: "so {goal} is ruled out and no improvement is shown: try another change",
}


def _seen(gain: Interval, direction: Direction) -> str:
    if gain.estimate == 0:
        return "no change"
    rising = (gain.estimate > 0) == (direction is Direction.INCREASE)
    return f"{'a rise' if rising else 'a fall'} of {format_percent(abs(gain.estimate))}"


def _between(effect: Effect, gain: Interval, direction: Direction) -> str:
    percent = _gain(gain, direction)
    level = f"{effect.confidence_percent():.4g} % interval"
    if not math.isfinite(percent.low) and not math.isfinite(percent.high):
        return f"{level} without limits yet"
    low = "no lower limit" if math.isinf(percent.low) else format_percent(percent.low)
    high = "no upper limit" if math.isinf(percent.high) else format_percent(percent.high)
    return f"{level} {low} to {high}"


def _judge_absolute(effect: Effect, criterion: Absolute, better: Direction) -> Judgement:
    value = criterion.metric_value
    interval = effect.treatment.interval
    if interval is None:
        reason = effect.insufficient or "The treatment arm has no interval."
        return _without_interval(Verdict.INSUFFICIENT_DATA, reason, ())
    verdict = _classify_absolute(interval, value, better)
    return _without_interval(verdict, _absolute_sentence(verdict, effect, interval, value, better), ())


def _classify_absolute(interval: Interval, value: float, better: Direction) -> Verdict:
    slack = _SLACK * abs(value)
    rising = better is Direction.INCREASE
    if interval.low >= value - slack if rising else interval.high <= value + slack:
        return Verdict.MET
    if interval.high < value - slack if rising else interval.low > value + slack:
        return Verdict.TARGET_EXCLUDED
    return Verdict.INCONCLUSIVE


def _absolute_sentence(
    verdict: Verdict,
    effect: Effect,
    interval: Interval,
    value: float,
    better: Direction,
) -> str:
    side = "at least" if better is Direction.INCREASE else "at most"
    share = effect.kind is EffectKind.PROPORTION
    form = _format_share if share else format_number
    level = f"{effect.confidence_percent():.4g} % interval"
    limits = f"{level} {form(interval.low)} to {form(interval.high)}"
    measured = f"The treatment arm alone is at {form(interval.estimate)} ({limits})"
    end = {
        Verdict.MET: f"so {side} {form(value)} is reached",
        Verdict.TARGET_EXCLUDED: f"so {side} {form(value)} is missed: drop the target or try another change",
        Verdict.INCONCLUSIVE: f"so it is open whether {side} {form(value)} is reached: collect more sessions",
    }[verdict]
    return f"{measured}, {end}."


def _format_share(value: float) -> str:
    return format_percent(100 * value)


class GuardrailStatus(StrEnum):
    """What happened to a metric that must not get worse."""

    VIOLATED = "violated"
    """It got worse, beyond chance and after allowing for the number of guardrails."""
    PASSED = "passed"
    """Its whole interval is within the tolerated change."""
    UNRESOLVED = "unresolved"
    """Neither is shown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailJudgement:
    """What happened to one guardrail.

    Attributes:
        spec: The metric, the feared direction and the tolerated percent.
        status: Violated, passed or unresolved.
        p_value: One-sided p value of a change in the feared direction; None without data.
        p_adjusted: The same after Holm's adjustment over all guardrails with data.
        sentence: What a reader without statistics can act on.
    """

    spec: GuardrailSpec
    status: GuardrailStatus
    p_value: float | None
    p_adjusted: float | None
    sentence: str


def judge_guardrails(
    guardrails: Sequence[tuple[GuardrailSpec, Effect]],
    *,
    alpha: float = 0.05,
) -> list[GuardrailJudgement]:
    """Judge all guardrails of an experiment together, in the given order.

    A guardrail is violated when its one-sided p value of deterioration, adjusted by Holm over all guardrails, is at
    most `alpha`. It passes when the bad end of its interval is within the tolerated percent: all have to pass, so no
    adjustment is needed there (intersection-union test).
    """
    p_values = [_deterioration(spec, effect) for spec, effect in guardrails]
    adjusted = iter(adjust_holm([p for p in p_values if p is not None]))
    return [
        _judge_guardrail(spec, effect, p, None if p is None else next(adjusted), alpha)
        for (spec, effect), p in zip(guardrails, p_values, strict=True)
    ]


def _deterioration(spec: GuardrailSpec, effect: Effect) -> float | None:
    """Return the one-sided p value of a change in the feared direction.

    Half the two-sided one when the estimate points that way. The open and the exact design have no half: their
    two-sided bound is used for one side, which is cautious.
    """
    if effect.p_value is None or effect.difference is None:
        return None
    halved = effect.design.kind in (DesignKind.FIXED, DesignKind.PLANNED)
    one_sided = effect.p_value / 2 if halved else effect.p_value
    sign = 1 if spec.regression_direction is Direction.INCREASE else -1
    return one_sided if sign * effect.difference.estimate > 0 else 1 - effect.p_value / 2


def _judge_guardrail(
    spec: GuardrailSpec,
    effect: Effect,
    p_value: float | None,
    p_adjusted: float | None,
    alpha: float,
) -> GuardrailJudgement:
    if p_adjusted is None:
        status = GuardrailStatus.UNRESOLVED
        sentence = effect.insufficient or f"There is no comparison of {spec.metric}."
    else:
        status = _guardrail_status(spec, effect, p_adjusted, alpha)
        sentence = _guardrail_sentence(spec, effect, status)
    return GuardrailJudgement(spec=spec, status=status, p_value=p_value, p_adjusted=p_adjusted, sentence=sentence)


def _guardrail_status(spec: GuardrailSpec, effect: Effect, p_adjusted: float, alpha: float) -> GuardrailStatus:
    if p_adjusted <= alpha:
        return GuardrailStatus.VIOLATED
    worst = _worst(spec, effect.percent)
    if worst is not None and worst <= abs(spec.threshold_pct) * (1 + _SLACK):
        return GuardrailStatus.PASSED
    # Without a percent change, a difference that cannot be bad at all is within any tolerance.
    worst_difference = _worst(spec, effect.difference)
    if worst is None and worst_difference is not None and worst_difference <= 0:
        return GuardrailStatus.PASSED
    return GuardrailStatus.UNRESOLVED


def _worst(spec: GuardrailSpec, interval: Interval | None) -> float | None:
    """Return the bad end of an interval, positive being worse."""
    if interval is None:
        return None
    return interval.high if spec.regression_direction is Direction.INCREASE else -interval.low


def _guardrail_sentence(spec: GuardrailSpec, effect: Effect, status: GuardrailStatus) -> str:
    feared = _change_word(spec.regression_direction)
    tolerated = f"{abs(spec.threshold_pct):g} %"
    worst = _worst(spec, effect.percent)
    limit = "" if worst is None or math.isinf(worst) else f" (at worst {format_percent(max(worst, 0.0))})"
    if status is GuardrailStatus.VIOLATED:
        return (
            f"{spec.metric} shows {feared} beyond chance{limit}; {tolerated} is tolerated: "
            f"do not ship before it is explained."
        )
    if status is GuardrailStatus.PASSED:
        return f"{spec.metric} is safe: {feared} of more than {tolerated} is ruled out{limit}."
    if worst is None:
        return (
            f"{spec.metric} is open: without a percent change {feared} of more than {tolerated} cannot be "
            "judged; look at "
            f"the difference."
        )
    return (
        f"{spec.metric} is open: {feared} of more than {tolerated} cannot be ruled out yet{limit}: "
        f"collect more sessions."
    )


class Headline(StrEnum):
    """What to do with the change."""

    SHIP = "ship"
    DO_NOT_SHIP = "do_not_ship"
    UNDECIDED = "undecided"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do with the change, why, and by which rule."""

    headline: Headline
    sentence: str
    rule: str = (
        "Ship when the success metric improves and every guardrail is shown to be within its tolerance; "
        "do not ship when "
        "a guardrail is violated, or when the success metric got worse or is shown not to reach its target."
    )


_IMPROVED = (Verdict.MET, Verdict.IMPROVED_TARGET_PLAUSIBLE, Verdict.IMPROVED_BELOW_TARGET)
_FAILED = {
    Verdict.REGRESSED: "the success metric got worse",
    Verdict.NO_EFFECT: "the success metric did not change by an amount that matters",
    Verdict.TARGET_EXCLUDED: "the success metric shows no improvement and its target is ruled out",
}
_OPEN = {
    Verdict.INVALID: "the arms cannot be compared",
    Verdict.INSUFFICIENT_DATA: "there are not enough sessions",
    Verdict.PERCENT_UNDEFINED: "the success metric has no percent change",
    Verdict.INCONCLUSIVE: "the success metric may or may not have improved",
}
_SHORTFALL = {
    Verdict.MET: "",
    Verdict.IMPROVED_TARGET_PLAUSIBLE: ", though its target is not proven yet",
    Verdict.IMPROVED_BELOW_TARGET: ", though by less than its target",
}


def decide(judgement: Judgement, guardrails: Sequence[GuardrailJudgement]) -> Decision:
    """Return whether to ship, by the rule of Schultzberg, Ankargren & Frånberg 2024.

    Args:
        judgement: That of the success metric.
        guardrails: Those of all guardrails; may be empty.
    """
    verdict = judgement.verdict
    if verdict is Verdict.INVALID:
        return Decision(
            headline=Headline.UNDECIDED, sentence=f"Do not decide on these data: {_lowered(judgement.sentence)}"
        )
    violated = _named(guardrails, GuardrailStatus.VIOLATED)
    if violated:
        return Decision(headline=Headline.DO_NOT_SHIP, sentence=f"Do not ship: {violated} got worse beyond chance.")
    if verdict in _FAILED:
        return Decision(headline=Headline.DO_NOT_SHIP, sentence=f"Do not ship: {_FAILED[verdict]}.")
    if verdict not in _IMPROVED:
        return Decision(headline=Headline.UNDECIDED, sentence=f"Do not decide yet: {_OPEN[verdict]}.")
    unresolved = _named(guardrails, GuardrailStatus.UNRESOLVED)
    if unresolved:
        sentence = (
            f"Do not ship yet: the success metric improved, but {unresolved} may have got worse; collect more sessions."
        )
        return Decision(headline=Headline.UNDECIDED, sentence=sentence)
    safe = " and every guardrail is within its tolerance" if guardrails else "; no guardrail was set"
    return Decision(headline=Headline.SHIP, sentence=f"Ship: the success metric improved{_SHORTFALL[verdict]}{safe}.")


def _named(guardrails: Sequence[GuardrailJudgement], status: GuardrailStatus) -> str:
    return " and ".join(str(guardrail.spec.metric) for guardrail in guardrails if guardrail.status is status)
