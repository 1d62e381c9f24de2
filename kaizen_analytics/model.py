"""The nouns of the project: experiments as kaizen-cli writes them, and what an ingested session consists of.

Everything here is standard library only and immutable. `Experiment.to_json` and `Experiment.from_json` are the one
place that knows the JSON in `experiments.metadata`: the variant encoding of Rust's serde, with fields that we do
not know kept as they came.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from kaizen_analytics.errors import ExperimentError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping


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

    @property
    def column(self) -> str:
        """Name of this metric's column in `sql/marts/session_metrics.sql`."""
        return self.name.lower()

    @property
    def known_to_kaizen(self) -> bool:
        """Whether kaizen-cli's closed enumeration holds this metric."""
        return self in _KAIZEN_METRICS


_KAIZEN_METRICS = frozenset(
    {
        Metric.TOKENS_PER_SESSION,
        Metric.COST_PER_SESSION,
        Metric.SUCCESS_RATE,
        Metric.TOOL_LOOPS,
        Metric.DURATION_MINUTES,
        Metric.FILES_PER_SESSION,
        Metric.SUCCESS_RATE_BY_PROMPT,
        Metric.COST_BY_PROMPT,
    },
)


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

    @classmethod
    def from_fields(cls, metric: object, regression_direction: object, threshold_pct: object) -> GuardrailSpec:
        """Build one from raw JSON values.

        Raises:
            ExperimentError: a value is not of its type.
        """
        return cls(
            metric=_member(Metric, metric, "guardrail.metric"),
            regression_direction=_member(Direction, regression_direction, "guardrail.regression_direction"),
            threshold_pct=_finite(threshold_pct, "guardrail.threshold_pct"),
        )


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
            raise ExperimentError(
                f"duration_days is {self.duration_days}; expected 0 or more whole days.",
            )
        object.__setattr__(self, "guardrails", tuple(self.guardrails))

    def with_state(self, state: State, now_ms: int) -> Experiment:
        """Return a copy in `state`; Concluded also sets `concluded_at_ms`."""
        concluded = now_ms if state is State.CONCLUDED else self.concluded_at_ms
        return replace(self, state=state, concluded_at_ms=concluded)

    def to_json(self) -> str:
        """Return the compact JSON that kaizen-cli keeps in `experiments.metadata`."""
        record = self._record()
        for name, unknown in self.extra.items():
            if name in record:
                for key, body in _bodies(record[name]):
                    body.update(unknown.get(key, {}))
            else:
                record[name] = unknown
        return json.dumps(record, ensure_ascii=False, separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Experiment:
        """Read what `to_json`, or kaizen-cli, wrote.

        Raises:
            ExperimentError: the text is not JSON, or a field is missing, unknown as a variant, or of a wrong type.
        """
        record = _object(_parse(text), "experiment")
        missing = [name for name in _REQUIRED if name not in record]
        if missing:
            raise ExperimentError(f"The stored experiment lacks {', '.join(missing)}.")
        experiment = cls(
            id=_text(record["id"], "id"),
            name=_text(record["name"], "name"),
            hypothesis=_text(record["hypothesis"], "hypothesis"),
            change_description=_text(record["change_description"], "change_description"),
            metric=_member(Metric, record["metric"], "metric"),
            binding=_binding(record["binding"]),
            duration_days=_whole(record["duration_days"], "duration_days"),
            success_criterion=_criterion(record["success_criterion"]),
            state=_member(State, record["state"], "state"),
            created_at_ms=_whole(record["created_at_ms"], "created_at_ms"),
            concluded_at_ms=_optional_whole(record.get("concluded_at_ms"), "concluded_at_ms"),
            guardrails=tuple(_guardrail(item) for item in _list(record.get("guardrails"), "guardrails")),
        )
        unknown = _unknown(record, experiment._record())
        return replace(experiment, extra=MappingProxyType(unknown)) if unknown else experiment

    def _record(self) -> dict[str, Any]:
        return {
            "id": self.id,
            "name": self.name,
            "hypothesis": self.hypothesis,
            "change_description": self.change_description,
            "metric": self.metric.value,
            "binding": _tagged(self.binding),
            "duration_days": self.duration_days,
            "success_criterion": _tagged(self.success_criterion),
            "state": self.state.value,
            "created_at_ms": self.created_at_ms,
            "concluded_at_ms": self.concluded_at_ms,
            "guardrails": [_fields(guardrail) for guardrail in self.guardrails],
        }


E = TypeVar("E", bound=StrEnum)

_REQUIRED = (
    "id",
    "name",
    "hypothesis",
    "change_description",
    "metric",
    "binding",
    "duration_days",
    "success_criterion",
    "state",
    "created_at_ms",
)
_NESTED = ("binding", "success_criterion", "guardrails")
_BINDINGS: dict[str, type[GitCommit | Branch | PromptFingerprint | ManualTag]] = {
    kind.__name__: kind for kind in (GitCommit, Branch, PromptFingerprint, ManualTag)
}


def _parse(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise ExperimentError(f"The stored experiment is not valid JSON: {error}.") from error


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number")


def _bodies(value: Any) -> list[tuple[str, dict[str, Any]]]:  # noqa: ANN401 - a tagged object or a list of guardrails
    """Return the objects inside a nested field, each under a name that outlives a change of the others."""
    if isinstance(value, dict):
        return list(value.items())
    return [(f"{body['metric']} {body['regression_direction']}", body) for body in value or ()]


def _unknown(given: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a stored record that `ours`, the same experiment as we write it, does not have."""
    unknown: dict[str, Any] = {name: value for name, value in given.items() if name not in ours}
    for name in _NESTED:
        known = dict(_bodies(ours[name]))
        inner = {key: {n: v for n, v in body.items() if n not in known[key]} for key, body in _bodies(given.get(name))}
        if any(inner.values()):
            unknown[name] = {key: fields for key, fields in inner.items() if fields}
    return unknown


def _fields(item: object) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__dataclass_fields__}  # type: ignore[attr-defined]


def _tagged(item: Binding | Criterion) -> dict[str, Any]:
    return {type(item).__name__: _fields(item)}


def _object(value: object, name: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ExperimentError(f"{name} is {value!r}; expected a JSON object.")
    return dict(value)


def _text(value: object, name: str) -> str:
    if not isinstance(value, str):
        raise ExperimentError(f"{name} is {value!r}; expected text.")
    return value


def _whole(value: object, name: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ExperimentError(f"{name} is {value!r}; expected a whole number.")
    return value


def _list(value: object, name: str) -> list[object]:
    if value is not None and not isinstance(value, list):
        raise ExperimentError(f"{name} is {value!r}; expected a list.")
    return value or []


def _optional_whole(value: object, name: str) -> int | None:
    return None if value is None else _whole(value, name)


def _finite(value: object, name: str) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not abs(value) <= sys.float_info.max:
        raise ExperimentError(f"{name} is {value!r}; expected a finite number.")
    return float(value)


def _member(kind: type[E], value: object, name: str) -> E:
    try:
        return kind(_text(value, name))
    except ValueError:
        names = [member.value for member in kind]
        raise ExperimentError(
            f"{name} is {value!r}; expected one of {', '.join(names)}.{did_you_mean(str(value), names)}",
        ) from None


def _variant(value: object, name: str) -> tuple[str, dict[str, Any]]:
    record = _object(value, name)
    if len(record) != 1:
        raise ExperimentError(f"{name} is {record!r}; expected an object with one variant name.")
    [(tag, body)] = record.items()
    return tag, _object(body, f"{name}.{tag}")


def _binding(value: object) -> Binding:
    tag, body = _variant(value, "binding")
    kind = _BINDINGS.get(tag)
    if kind is None:
        raise ExperimentError(f"binding is {tag!r}; expected one of {', '.join(_BINDINGS)}.")
    names = tuple(kind.__dataclass_fields__)
    if not set(names) <= set(body):
        raise ExperimentError(f"binding.{tag} has {', '.join(body)}; expected {', '.join(names)}.")
    return kind(**{name: _text(body[name], name) for name in names})


def _criterion(value: object) -> Criterion:
    tag, body = _variant(value, "success_criterion")
    if tag == "Delta":
        direction = _member(Direction, body.get("direction"), "direction")
        return Delta(direction=direction, target_pct=_finite(body.get("target_pct"), "target_pct"))
    if tag == "Absolute":
        return Absolute(metric_value=_finite(body.get("metric_value"), "metric_value"))
    raise ExperimentError(f"success_criterion is {tag!r}; expected Delta or Absolute.")


def _guardrail(value: object) -> GuardrailSpec:
    body = _object(value, "guardrail")
    return GuardrailSpec.from_fields(body.get("metric"), body.get("regression_direction"), body.get("threshold_pct"))
