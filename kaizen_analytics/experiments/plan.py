"""The plan of an experiment: what kaizen-cli does not store, and what `start` freezes.

A draft carries the options of `exp new`. `Plan.started` is filled once, when the experiment starts: from then
on neither merging a branch nor rewriting a reference changes which arm a session belongs to.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from kaizen_analytics.core import codec
from kaizen_analytics.core.errors import ConfigError, ExperimentError
from kaizen_analytics.core.model import DesignKind, Experiment, GitCommit, Window, WorkUnit
from kaizen_analytics.store.experiments import load_plan

if TYPE_CHECKING:
    from kaizen_analytics.store import Store


class Cluster(StrEnum):
    """The unit whose sessions may resemble each other."""

    NONE = "none"
    DAY = "day"
    """A calendar day, UTC."""
    BRANCH = "branch"
    """A branch of a workspace, which stands for a task."""
    WORKSPACE = "workspace"
    USER = "user"
    ORGANISATION = "organisation"
    UNIT = "unit"
    """What a lot drew; never planned, because the lot says it."""


class Statistic(StrEnum):
    """How the arms are compared where a metric is a quantity, such as tokens, cost or minutes."""

    MEDIAN = "median"
    """The typical session; a few extreme ones cannot move it."""
    MEAN = "mean"
    """The average session, that is the bill."""

    @property
    def other(self) -> Statistic:
        """The statistic that is looked at beside this one."""
        return Statistic.MEAN if self is Statistic.MEDIAN else Statistic.MEDIAN


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

    @property
    def window(self) -> Window:
        """The sessions that count, by their start; both ends belong to it."""
        return Window(start_ms=self.window_start_ms, end_ms=self.window_end_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How the experiment will be judged.

    `alpha` is the overall error level, `statistic` how quantities are compared, `margin_pct` the equivalence margin
    in percent, `unit` what metrics are added up over, `planned_n` the planned number of units per arm, `workspaces` the
    scope (empty: all), `repository` the root whose commits and branches the binding names, `control_share` the declared
    share of the control arm if arms are randomised. `planned_control_n` differs from `planned_n` where the control arm
    lies in the past. `design_effect` is how many sessions of a cluster were expected to be worth one independent
    session. `rule` is the experiment as it was
    when it started: a later change of its metric, criterion, guardrails or binding does not reach the verdict.
    `randomisation` says how arms are drawn by lot; None where they are not. `covariate` lets such arms be adjusted for
    the metric before the start. `cancelled` is why a started experiment was withdrawn.
    """

    alpha: float = 0.05
    statistic: Statistic = Statistic.MEDIAN
    margin_pct: float | None = None
    cluster: Cluster = Cluster.NONE
    unit: WorkUnit = WorkUnit.SESSION
    design: DesignKind = DesignKind.PLANNED
    planned_n: int | None = None
    planned_control_n: int | None = None
    lookback_days: int | None = None
    workspaces: tuple[str, ...] = ()
    repository: str | None = None
    control_share: float | None = None
    design_effect: float = 1.0
    covariate: bool = True
    rule: Experiment | None = None
    started: Start | None = None
    randomisation: Randomisation | None = None
    cancelled: str | None = None

    def __post_init__(self) -> None:
        _check("alpha", self.alpha, 0.0, 0.5)
        _check("control_share", self.control_share, 0.0, 1.0)
        _check("margin_pct", self.margin_pct, 0.0, math.inf)
        _check("design_effect", self.design_effect, 0.0, math.inf)
        _check("planned_n", self.planned_n, 0, math.inf)
        if self.unit is WorkUnit.DAY and self.cluster is not Cluster.NONE:
            raise ConfigError("A day adds up the sessions of every workspace and user; leave the cluster out.")
        if self.cluster is Cluster.UNIT:
            raise ConfigError("What is drawn by lot is the cluster by itself; expected another cluster, or none.")
        _check("lookback_days", self.lookback_days, -1, math.inf)

    @property
    def is_dated(self) -> bool:
        """Whether the arms lie before and after a commit."""
        return self.rule is not None and isinstance(self.rule.binding, GitCommit)

    def apply_rule(self, experiment: Experiment) -> Experiment:
        """Return the experiment with the rule that was frozen when it started."""
        rule = self.rule
        if rule is None:
            return experiment
        return replace(
            experiment,
            metric=rule.metric,
            binding=rule.binding,
            success_criterion=rule.success_criterion,
            guardrails=rule.guardrails,
            duration_days=rule.duration_days,
        )

    def require_start(self, experiment_id: str) -> Start:
        """Return what `start` froze.

        Raises:
            ExperimentError: the experiment has not started.
        """
        if self.started is None:
            raise ExperimentError(f"Experiment {experiment_id} has not started; run 'exp start {experiment_id}' first.")
        return self.started


def _check(name: str, value: float | None, low: float, high: float) -> None:
    if value is not None and not low < value < high:
        limits = f"above {low:g}" if math.isinf(high) else f"above {low:g} and below {high:g}"
        raise ConfigError(f"{name} is {value}; expected a number {limits}.")


def get_plan(store: Store, experiment_id: str) -> Plan | None:
    """Return the plan of an experiment, or None when another tool made it.

    Raises:
        RecordError: the stored plan was changed by hand.

    >>> get_plan(store, "plan-first").planned_n
    45
    """
    record = load_plan(store, experiment_id)
    return None if record is None else codec.load(Plan, record, f"The stored plan of experiment {experiment_id}")


class Unit(StrEnum):
    """What is drawn: all sessions of one unit are in one arm."""

    SESSION = "session"
    DAY = "day"
    """A calendar day, UTC."""
    BRANCH = "branch"
    USER = "user"
    """A login name."""

    @property
    def plural(self) -> str:
        """The word for several of them."""
        return {"day": "days", "branch": "branches"}.get(self.value, f"{self.value}s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Randomisation:
    """How arms are drawn. `start` sets the seed: 16 bytes as hexadecimal digits.

    The digests are SHA-256 of what the arms' sessions get; the content itself stays in the store and is exported
    nowhere.
    """

    unit: Unit
    control_sha256: str
    treatment_sha256: str
    seed: str | None = None
