"""The plan of an experiment: what kaizen-cli does not store, and what `start` freezes.

A draft carries the options of `exp new`. `Plan.started` is filled once, when the experiment starts: from then
on neither merging a branch nor rewriting a reference changes which arm a session belongs to.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.model import Experiment

if TYPE_CHECKING:
    from collections.abc import Mapping

DAY_MS = 86_400_000

_PLAIN = (
    "alpha",
    "margin_pct",
    "planned_n",
    "planned_control_n",
    "lookback_days",
    "repository",
    "control_share",
)


class Cluster(StrEnum):
    """The unit whose sessions may resemble each other."""

    NONE = "none"
    WORKSPACE = "workspace"
    USER = "user"
    ORGANISATION = "organisation"

    @property
    def column(self) -> str | None:
        """The column of a sample that holds the unit, None where sessions are independent."""
        return {Cluster.NONE: None, Cluster.USER: "user_name"}.get(self, self.value)


class PlanDesign(StrEnum):
    """How often the data may be looked at; see `docs/statistics.md`."""

    FIXED = "fixed"
    """One look, at the end."""
    PLANNED = "planned"
    """Any number of looks on the way to a planned number of sessions."""
    OPEN = "open"
    """Any number of looks, without a planned end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """What `start` froze. Times are milliseconds since the Unix epoch.

    `control_ref` and `treatment_ref` are full commit ids: the commits of a commit binding, the branch tips of
    a branch binding, None for the others.
    """

    started_at_ms: int
    window_start_ms: int
    window_end_ms: int
    control_ref: str | None = None
    treatment_ref: str | None = None
    retrospective: bool = False
    adopted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the experiment will be judged.

    `alpha` is the overall error level, `margin_pct` the equivalence margin in percent, `planned_n` the
    planned sessions per arm, `workspaces` the scope (empty: all), `repository` the root whose commits and
    branches the binding names, `control_share` the declared share of the control arm if arms are randomised.
    `planned_control_n` differs from `planned_n` where the control arm lies in the past. `design_effect` is how many
    sessions of a cluster were expected to be worth one independent session. `rule` is the experiment as
    it was when it started: a later change of its metric, criterion, guardrails or binding does not reach the verdict.
    """

    alpha: float = 0.05
    margin_pct: float | None = None
    cluster: Cluster = Cluster.NONE
    design: PlanDesign = PlanDesign.PLANNED
    planned_n: int | None = None
    planned_control_n: int | None = None
    lookback_days: int | None = None
    workspaces: tuple[str, ...] = ()
    repository: str | None = None
    control_share: float | None = None
    design_effect: float = 1.0
    rule: Experiment | None = None
    started: Start | None = None

    def __post_init__(self) -> None:
        _check_between("alpha", self.alpha, 0.0, 0.5)
        if self.control_share is not None:
            _check_between("control_share", self.control_share, 0.0, 1.0)
        if self.margin_pct is not None and self.margin_pct <= 0:
            raise ExperimentError(f"margin_pct is {self.margin_pct}; expected a percentage above 0.")
        if self.planned_n is not None and self.planned_n < 1:
            raise ExperimentError(f"planned_n is {self.planned_n}; expected 1 or more sessions per arm.")
        if not 0 < self.design_effect < math.inf:
            raise ExperimentError(f"design_effect is {self.design_effect}; expected a positive number.")
        if self.lookback_days is not None and self.lookback_days < 0:
            raise ExperimentError(f"lookback_days is {self.lookback_days}; expected 0 or more days.")

    def to_json(self) -> dict[str, Any]:
        """Return the plan as a JSON object with plain values."""
        started = self.started
        return {
            "alpha": self.alpha,
            "margin_pct": self.margin_pct,
            "cluster": self.cluster.value,
            "design": self.design.value,
            "planned_n": self.planned_n,
            "planned_control_n": self.planned_control_n,
            "lookback_days": self.lookback_days,
            "workspaces": list(self.workspaces),
            "repository": self.repository,
            "control_share": self.control_share,
            "design_effect": self.design_effect,
            "rule": None if self.rule is None else json.loads(self.rule.to_json()),
            "started": None if started is None else _start_json(started),
        }

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Plan:
        """Read what `to_json` wrote.

        Raises:
            ExperimentError: a field is missing or has a value that no version writes.
        """
        try:
            return _plan(record)
        except (KeyError, TypeError, ValueError) as error:
            raise ExperimentError(
                f"The stored plan cannot be read: {error!r}. It was changed by hand or by a newer version.",
            ) from error


def _check_between(name: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise ExperimentError(f"{name} is {value}; expected a number above {low} and below {high}.")


def _start_json(started: Start) -> dict[str, Any]:
    return {name: getattr(started, name) for name in Start.__dataclass_fields__}


def _plan(record: Mapping[str, Any]) -> Plan:
    rule, started = record["rule"], record["started"]
    return Plan(
        **{name: record[name] for name in _PLAIN},
        design_effect=record.get("design_effect", 1.0),  # the first plans expected independent sessions
        cluster=Cluster(record["cluster"]),
        design=PlanDesign(record["design"]),
        workspaces=tuple(record["workspaces"]),
        rule=None if rule is None else Experiment.from_json(json.dumps(rule)),
        started=None if started is None else Start(**started),
    )
