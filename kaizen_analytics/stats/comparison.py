"""What every comparison of two arms does before its own formula: check, count, and choose the level."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from kaizen_analytics.errors import StatisticsError
from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval
from kaizen_analytics.stats.samples import Sample, SamplePair, shortage
from kaizen_analytics.stats.sequential import (
    MIN_SEQUENTIAL_N,
    Design,
    DesignKind,
    adjust_p_value,
    effective_alpha,
)
from kaizen_analytics.text import counted


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two checked arms, the plan of looking, and how precise each arm is."""

    kind: EffectKind
    samples: SamplePair
    design: Design
    nominal_alpha: float
    quantile: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.nominal_alpha < 0.5:
            raise StatisticsError(f"alpha is {self.nominal_alpha}; expected a level between 0 and 0.5, such as 0.05.")

    def shortage(self) -> str | None:
        """Return a sentence why there is no interval, or None when there is one."""
        share = self.kind is EffectKind.PROPORTION
        for sample in (self.samples.control, self.samples.treatment):
            if (sentence := shortage(sample, constant_allowed=share)) is not None:
                return sentence
        return self._too_early() or self._not_independent()

    def _too_early(self) -> str | None:
        smallest = min(self.samples.control.n, self.samples.treatment.n)
        asymptotic = self.design.kind in (DesignKind.PLANNED, DesignKind.OPEN)
        if not asymptotic or smallest >= MIN_SEQUENTIAL_N:
            return None
        return (
            f"It is too early to look: the smaller arm has {counted(smallest, 'session')}, and the {self.design.kind} "
            f"design starts at {MIN_SEQUENTIAL_N} per arm, so wait for more."
        )

    def _not_independent(self) -> str | None:
        sample = self.samples.control
        if self.design.kind is not DesignKind.EXACT or (sample.clusters is None and sample.covariate is None):
            return None
        return (
            "The exact design holds for independent sessions only: compare without clusters and covariate, or plan "
            "the number of sessions and use the planned design."
        )

    def level(self, control: float, treatment: float) -> Level:
        """Return the level at which arms of this many independent sessions are compared now."""
        sessions = self.samples.control.n, self.samples.treatment.n
        information = self.design.information((control, treatment), sessions)
        arms = [self.design.arm_information(i, n, sessions[i]) for i, n in enumerate((control, treatment))]
        return Level(
            design=self.design,
            nominal=self.nominal_alpha,
            information=information,
            alpha=effective_alpha(self.design, self.nominal_alpha, information),
            treatment_alpha=effective_alpha(self.design, self.nominal_alpha, arms[1]),
            control_alpha=effective_alpha(self.design, self.nominal_alpha, arms[0]),
        )

    def unavailable(self, sentence: str) -> Effect:
        """Return the effect that only says why there is none."""
        return Effect(
            kind=self.kind,
            control=summarise(self.samples.control, self.kind),
            treatment=summarise(self.samples.treatment, self.kind),
            difference=None,
            percent=None,
            p_value=None,
            alpha=self.nominal_alpha,
            insufficient=sentence,
            nominal_alpha=self.nominal_alpha,
            quantile=self.quantile,
            design=self.design,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The level at which two arms are compared now."""

    design: Design
    nominal: float
    information: float
    alpha: float
    treatment_alpha: float
    control_alpha: float

    def p_value(self, fixed: float) -> float:
        """Return the p value that is valid at every look, from that of one look."""
        return adjust_p_value(self.design, fixed, self.nominal, self.information)

    @property
    def reported_information(self) -> float | None:
        """Share of the planned information, under a sequential design."""
        return self.information if self.design.sequential else None

    def notes(self, *intervals: Interval | None) -> list[str]:
        """Return what a reader should know about this level."""
        found = []
        if self.design.kind is DesignKind.PLANNED and self.information > 1 + 1e-9:
            found.append(
                f"The arms hold {100 * self.information:.0f} % of the planned information; sessions after the planned "
                f"end must be left out, or the error rate of repeated looks is no longer kept.",
            )
        if any(interval is not None and not interval.bounded for interval in intervals):
            found.append(
                "At least one end of an interval has no limit: it is too early, or there are too few independent "
                "sessions, for this level of confidence.",
            )
        return found


def summarise(
    sample: Sample,
    kind: EffectKind,
    *,
    n_effective: float | None = None,
    median: float | None = None,
    interval: Interval | None = None,
) -> ArmSummary:
    """Return one arm in numbers; `median` spares its computation when it is known."""
    empty = sample.n == 0
    wants_median = not empty and kind is not EffectKind.PROPORTION
    return ArmSummary(
        n=sample.n,
        n_effective=float(sample.n) if n_effective is None else n_effective,
        clusters=sample.cluster_count,
        median=(float(np.median(sample.values)) if median is None else median) if wants_median else None,
        mean=None if empty else float(sample.values.mean()),
        interval=interval,
    )


def cluster_note(samples: SamplePair, control: float, treatment: float) -> list[str]:
    """Return a sentence on what clustering cost, when there are clusters."""
    first, second = samples.control, samples.treatment
    if first.clusters is None:
        return []
    note = (
        f"Sessions of one cluster resemble each other: {first.n} control and {second.n} treatment sessions from "
        f"{first.cluster_count} and {second.cluster_count} clusters count as about {control:.0f} and {treatment:.0f} "
        f"independent ones."
    )
    return [note]
