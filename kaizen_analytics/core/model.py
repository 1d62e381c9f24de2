"""The nouns of the project: experiments as kaizen-cli writes them, and what an ingested session consists of.

Everything here is standard library only and immutable; `codec` writes and reads it.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping  # noqa: TC003 - the codec reads annotations
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from kaizen_analytics.core.errors import ExperimentError


class Metric(StrEnum):
    """What is measured for each session. Values are kaizen-cli's names; see `metrics.py` for definitions."""

    TOKENS_PER_SESSION = "TokensPerSession"
    COST_PER_SESSION = "CostPerSession"
    SUCCESS_RATE = "SuccessRate"
    TOOL_LOOPS = "ToolLoops"
    DURATION_MINUTES = "DurationMinutes"
    FILES_PER_SESSION = "FilesPerSession"
    SUCCESS_RATE_BY_PROMPT = "SuccessRateByPrompt"
    COST_BY_PROMPT = "CostByPrompt"
    # kaizen-cli does not know the ones below.
    TOTAL_TOKENS_PER_SESSION = "TotalTokensPerSession"
    ACTIVE_MINUTES = "ActiveMinutes"
    TOOL_ERROR_RATE = "ToolErrorRate"
    CACHE_HIT_RATE = "CacheHitRate"
    PROMPTS_PER_SESSION = "PromptsPerSession"
    CHECKS_PASSED = "ChecksPassed"
    COMMITS_PER_SESSION = "CommitsPerSession"
    LANDED = "Landed"
    REVERTED = "Reverted"
    REWORK = "Rework"
    COST_PER_COMMIT = "CostPerCommit"
    TOKENS_PER_COMMIT = "TokensPerCommit"
    COST_PER_SURVIVING_LINE = "CostPerSurvivingLine"
    SESSION_SCORE = "SessionScore"
    FINDING_RATE = "FindingRate"

    @property
    def column(self) -> str:
        """Name of this metric's column in `sql/marts/session_metrics.sql`."""
        return self.name.lower()


class DesignKind(StrEnum):
    """When the data may be analysed; see docs/explanation/statistics.md."""

    FIXED = "fixed"
    """Once, at the end."""
    PLANNED = "planned"
    """At any time up to a number of sessions that was fixed beforehand."""
    OPEN = "open"
    """At any time, with no planned end."""


class WorkUnit(StrEnum):
    """What metrics are added up over before arms are compared."""

    SESSION = "session"
    TASK = "task"
    """A pull request, else a branch that is not the default one, else the session."""
    DAY = "day"
    """A calendar day, UTC."""

    @property
    def plural(self) -> str:
        """The word for several of them."""
        return f"{self.value}s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A span of time in milliseconds since the Unix epoch; whoever uses it says whether its ends belong to it."""

    start_ms: int
    end_ms: int

    @property
    def length_ms(self) -> int:
        """How long the window is."""
        return self.end_ms - self.start_ms


class State(StrEnum):
    """Where an experiment stands in its life."""

    DRAFT = "Draft"
    RUNNING = "Running"
    CONCLUDED = "Concluded"
    ARCHIVED = "Archived"


class Direction(StrEnum):
    """Which way a metric is meant, or feared, to move."""

    INCREASE = "Increase"
    DECREASE = "Decrease"


class Classification(StrEnum):
    """The arm of an experiment that a session belongs to."""

    CONTROL = "Control"
    TREATMENT = "Treatment"
    EXCLUDED = "Excluded"


@dataclass(frozen=True, slots=True)
class GitCommit:
    """Sessions before and after a change, told apart by the commit they started on."""

    control_commit: str
    treatment_commit: str


@dataclass(frozen=True, slots=True)
class Branch:
    """Sessions on two branches."""

    control_branch: str
    treatment_branch: str


@dataclass(frozen=True, slots=True)
class PromptFingerprint:
    """Sessions that ran under two sets of instructions."""

    control_fingerprint: str
    treatment_fingerprint: str


@dataclass(frozen=True, slots=True)
class ManualTag:
    """Sessions tagged by hand, or by the value of one key in an event's payload."""

    variant_field: str


Binding = GitCommit | Branch | PromptFingerprint | ManualTag


@dataclass(frozen=True, slots=True)
class Delta:
    """Success is a percent change of at least `|target_pct|` in `direction`."""

    direction: Direction
    target_pct: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "target_pct", _finite(self.target_pct, "target_pct"))

    @property
    def signed_pct(self) -> float:
        """The change that counts as success; where the stored sign contradicts the direction, the direction decides."""
        return abs(self.target_pct) if self.direction is Direction.INCREASE else -abs(self.target_pct)

    @property
    def is_contradictory(self) -> bool:
        """Whether the sign of `target_pct` points away from `direction`."""
        return self.target_pct != 0 and (self.target_pct > 0) != (self.direction is Direction.INCREASE)


@dataclass(frozen=True, slots=True)
class Absolute:
    """Success is a treatment arm on the good side of `metric_value`."""

    metric_value: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "metric_value", _finite(self.metric_value, "metric_value"))


Criterion = Delta | Absolute


@dataclass(frozen=True, slots=True)
class GuardrailSpec:
    """A metric that must not move in `regression_direction` by more than `threshold_pct` percent."""

    metric: Metric
    regression_direction: Direction
    threshold_pct: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold_pct", _finite(self.threshold_pct, "guardrail.threshold_pct"))


_NO_EXTRA: Mapping[str, Any] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    """One planned change and how it will be judged; arguments are named like the JSON fields.

    `created_at_ms` and `concluded_at_ms` are milliseconds since the Unix epoch. `extra` holds fields of a stored
    experiment that this version does not know, those inside `binding`, `success_criterion` and `guardrails` by the name
    of their variant or guardrail; they survive a load and a save.
    """

    id: str
    name: str
    hypothesis: str
    change_description: str
    metric: Metric
    binding: Binding
    duration_days: int
    success_criterion: Criterion
    state: State = State.DRAFT
    created_at_ms: int
    concluded_at_ms: int | None = None
    guardrails: tuple[GuardrailSpec, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=lambda: _NO_EXTRA)

    def __post_init__(self) -> None:
        if not self.id:
            raise ExperimentError("An experiment needs a non-empty id.")
        if self.duration_days < 0:
            raise ExperimentError(f"duration_days is {self.duration_days}; expected 0 or more whole days.")
        object.__setattr__(self, "guardrails", tuple(self.guardrails))

    def with_state(self, state: State, now_ms: int) -> Experiment:
        """Return a copy in `state`; Concluded also sets `concluded_at_ms`."""
        concluded = now_ms if state is State.CONCLUDED else self.concluded_at_ms
        return replace(self, state=state, concluded_at_ms=concluded)


def _finite(value: object, name: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
        raise ExperimentError(f"{name} is {value!r}; expected a finite number.")
    return float(value)
