"""Verdicts: what an effect means for the success criterion, the guardrails and the decision to ship.

Everything is pure: an effect and a criterion go in, a judgement with one plain sentence comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.model import Absolute, Criterion, Delta, Direction
from kaizen_analytics.stats.effect import Effect, EffectKind, Interval, format_number, format_percent
from kaizen_analytics.stats.multiplicity import adjust_holm

if TYPE_CHECKING:
    from collections.abc import Sequence

    from kaizen_analytics.model import GuardrailSpec


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
    """
    if invalid is not None:
        return Judgement(verdict=Verdict.INVALID, confidence_at_target=None, sentence=invalid)
    raise NotImplementedError
