"""The result of judging one experiment: every number a report shows, and the reason for the decision.

`Evaluation` is plain, immutable data. `Evaluation.to_json` is the object that `exp evaluate --json` prints
and that `conclude` freezes: finite numbers only, an unbounded end of an interval is null and a note says why.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping  # noqa: TC003 - the frozen form is read back by these types
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from kaizen_analytics.display import Displayed, Table
from kaizen_analytics.experiments.plan import Plan  # noqa: TC001 - see above
from kaizen_analytics.experiments.verdict import Decision, GuardrailStatus, Verdict  # noqa: TC001
from kaizen_analytics.metrics import MetricKind  # noqa: TC001
from kaizen_analytics.model import Direction, Experiment, GuardrailSpec, Metric  # noqa: TC001
from kaizen_analytics.stats import ArmSummary, Effect, Interval, SampleRatio  # noqa: TC001


class Role(StrEnum):
    """Why a metric is in the evaluation."""

    PRIMARY = "primary"
    SECONDARY = "secondary"
    GUARDRAIL = "guardrail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """The sessions that count, by their start; milliseconds since the Unix epoch, both ends included."""

    start_ms: int
    end_ms: int

    def to_json(self) -> dict[str, Any]:
        """Return both ends in milliseconds and as ISO 8601 text in UTC."""
        return {
            "start_ms": self.start_ms,
            "end_ms": self.end_ms,
            "start": render_time(self.start_ms),
            "end": render_time(self.end_ms),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmStats:
    """One arm of one metric: sessions with a value, sessions without one, and the centre of the values."""

    n: int
    n_missing: int
    median: float | None
    mean: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricResult:
    """One metric compared between the arms; `sentence` says the result in words.

    `effect` compares medians (shares for a proportion), `mean_effect` the means of the primary metric beside it.
    """

    metric: Metric
    label: str
    unit: str
    better: Direction
    kind: MetricKind
    role: Role
    control: ArmStats
    treatment: ArmStats
    effect: Effect
    mean_effect: Effect | None
    sentence: str

    @property
    def missing(self) -> dict[str, int]:
        """Sessions without a value, per arm."""
        return {"control": self.control.n_missing, "treatment": self.treatment.n_missing}

    def to_json(self) -> dict[str, Any]:
        """Return the metric, both arms and the effect as plain values."""
        return {
            "metric": self.metric.value,
            "label": self.label,
            "unit": self.unit,
            "better": self.better.value,
            "kind": self.kind.value,
            "role": self.role.value,
            "arms": {"control": _plain(self.control), "treatment": _plain(self.treatment)},
            "difference": _interval_json(self.effect.difference),
            "percent": _interval_json(self.effect.percent),
            "effect": _effect_json(self.effect),
            "mean_effect": None if self.mean_effect is None else _effect_json(self.mean_effect),
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class GuardrailResult:
    """One guardrail: its rule, its metric and its status. `p_adjusted` is Holm's, of a deterioration."""

    spec: GuardrailSpec
    result: MetricResult
    status: GuardrailStatus
    p_adjusted: float | None
    sentence: str

    def to_json(self) -> dict[str, Any]:
        """Return the rule, the status and the whole metric as plain values."""
        return {
            "metric": self.spec.metric.value,
            "regression_direction": self.spec.regression_direction.value,
            "threshold_pct": self.spec.threshold_pct,
            "status": self.status.value,
            "p_adjusted": self.p_adjusted,
            "sentence": self.sentence,
            "result": self.result.to_json(),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """The primary metric among the sessions that share one value of `agent`, `model` or `workspace`."""

    dimension: str
    value: str
    result: MetricResult

    def to_json(self) -> dict[str, Any]:
        """Return the segment's name and its whole result as plain values."""
        return {"dimension": self.dimension, "value": self.value, "result": self.result.to_json()}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Whether the numbers can be trusted. `information` is the share of the planned information reached."""

    candidates: int
    control: ArmQuality
    treatment: ArmQuality
    planned_n: int | None
    information: float | None
    sample_ratio: SampleRatio | None
    warnings: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return all counts, shares and warnings as plain values."""
        return {
            "candidates": self.candidates,
            "control": _plain(self.control),
            "treatment": _plain(self.treatment),
            "planned_n": self.planned_n,
            "information": self.information,
            "sample_ratio": None if self.sample_ratio is None else _plain(self.sample_ratio),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Evaluation(Displayed):
    """Everything known about one experiment at `as_of_ms`; a notebook shows it as a table, `print` as a box.

    `alpha` is the planned overall error level; `effective_alpha` the level of the intervals shown, after the design's
    allowance for repeated looks. `judgement` says the verdict in words, `decision` what to do. `flags` are short
    machine-readable marks (`retrospective`, `adopted`, `not_frozen`, `side_branch`, ...). `provenance` says what the
    numbers were computed from.
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
    judgement: str
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
    next_actions: tuple[str, ...]

    def __repr__(self) -> str:
        """Return the id, the verdict and the decision; the whole has thousands of numbers."""
        return (
            f"<Evaluation of {self.experiment.id!r}: {self.verdict.value}, {self.decision.headline.value}, "
            f"as of {render_time(self.as_of_ms)}>"
        )

    def __str__(self) -> str:
        """Return `render_text()`."""
        return self.render_text()

    def _table(self) -> Table:
        from kaizen_analytics.experiments.summary import tabulate

        return tabulate(self)

    def render_text(self) -> str:
        """Return the evaluation as one box of plain text for a terminal."""
        from kaizen_analytics.experiments.summary import render_box

        return render_box(self)

    def to_json(self) -> dict[str, Any]:
        """Return one JSON object; every number in it is finite or null."""
        experiment = self.experiment
        primary = self.primary.to_json()
        return {
            "experiment_id": experiment.id,
            "name": experiment.name,
            "state": experiment.state.value,
            "metric": experiment.metric.value,
            "criterion": criterion_json(experiment),
            "window": self.window.to_json(),
            "as_of_ms": self.as_of_ms,
            "arms": primary["arms"],
            "difference": primary["difference"],
            "percent": primary["percent"],
            "alpha": self.alpha,
            "effective_alpha": self.effective_alpha,
            "design": self.design,
            "verdict": self.verdict.value,
            "confidence_at_target": self.confidence_at_target,
            "judgement": self.judgement,
            "decision": _plain(self.decision),
            "primary": primary,
            "secondary": [result.to_json() for result in self.secondary],
            "guardrails": [result.to_json() for result in self.guardrails],
            "excluded": dict(self.excluded),
            "quality": self.quality.to_json(),
            "flags": list(self.flags),
            "segments": [segment.to_json() for segment in self.segments],
            "series": [_plain(point) for point in self.series],
            "curves": [_plain(curve) for curve in self.curves],
            "next_actions": list(self.next_actions),
            "plan": self.plan.to_json(),
            "experiment": json.loads(experiment.to_json()),
            "provenance": dict(self.provenance),
        }


def render_time(at_ms: int) -> str:
    """Return a time as ISO 8601 text in UTC, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def criterion_json(experiment: Experiment) -> dict[str, Any]:
    """Return the success criterion in the encoding that kaizen-cli uses, `{"Delta": {...}}`."""
    criterion = experiment.success_criterion
    return {type(criterion).__name__: _plain(criterion)}


def _plain(item: object) -> dict[str, Any]:
    names = item.__dataclass_fields__  # type: ignore[attr-defined]
    return {name: _plain_value(getattr(item, name)) for name in names}


def _plain_value(value: object) -> object:
    if isinstance(value, StrEnum):
        return value.value
    if isinstance(value, tuple):
        return [_plain_value(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _interval_json(interval: Interval | None) -> dict[str, Any] | None:
    return None if interval is None else _plain(interval)


def _effect_json(effect: Effect) -> dict[str, Any]:
    return {
        "kind": effect.kind.value,
        "control": _arm_json(effect.control),
        "treatment": _arm_json(effect.treatment),
        "difference": _interval_json(effect.difference),
        "percent": _interval_json(effect.percent),
        "p_value": effect.p_value,
        "alpha": effect.alpha,
        "information": effect.information,
        "insufficient": effect.insufficient,
        "percent_undefined": effect.percent_undefined,
        "notes": list(effect.notes),
        "sentence": effect.sentence,
    }


def _arm_json(arm: ArmSummary) -> dict[str, Any]:
    return {
        "n": arm.n,
        "n_effective": arm.n_effective,
        "clusters": arm.clusters,
        "median": arm.median,
        "mean": arm.mean,
        "interval": _interval_json(arm.interval),
    }
