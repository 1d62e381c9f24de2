"""How large an experiment has to be, from the sessions that the store already has."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from kaizen_analytics.display import Displayed, Table
from kaizen_analytics.errors import ExperimentError
from kaizen_analytics.experiments.assessment import cluster_keys
from kaizen_analytics.experiments.evaluation import Window
from kaizen_analytics.experiments.plan import DAY_MS, Cluster, PlanDesign
from kaizen_analytics.metrics import REGISTRY, MetricKind
from kaizen_analytics.model import Direction, Metric
from kaizen_analytics.stats import (
    Design,
    DesignKind,
    EffectKind,
    minimum_detectable_effect,
    read_pilot,
    sample_size,
    simulate_power,
)
from kaizen_analytics.stats.effect import format_percent

if TYPE_CHECKING:
    from kaizen_analytics.stats import Pilot
    from kaizen_analytics.stats.laws import FloatArray

EFFECTS_PCT = (10.0, 20.0, 30.0, 50.0)
"""True changes, in the metric's better direction, that the table answers for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRow:
    """What it takes to prove the target when the true change is `true_pct`.

    `n_per_arm` and `days` are None when the truth does not lie beyond the target; `days` also when no session comes in.
    `simulated_power` is the share of simulated experiments of that size that proved it, None unless it was asked for.
    """

    true_pct: float
    n_per_arm: int | None
    days: int | None
    simulated_power: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTable(Displayed):
    """How large an experiment on one metric has to be.

    `sessions` are past sessions with a value in `window`, `per_day` their rate. `detectable_pct` is the smallest change
    in the better direction that as many sessions per arm as the window holds would find with probability `power`.
    """

    metric: Metric
    window: Window
    sessions: int
    per_day: float
    target_pct: float
    alpha: float
    power: float
    design: PlanDesign
    detectable_pct: float
    rows: tuple[PowerRow, ...]
    sentence: str

    def _table(self) -> Table:
        goal = f"a change of {self.target_pct:g} %" if self.target_pct else "any improvement"
        definition = REGISTRY[self.metric]
        level = f"level {100 * self.alpha:g} %, power {100 * self.power:g} %, {self.design.value} design"
        return Table(
            caption=f"{definition.label}: what it takes to prove {goal} ({level})",
            columns=("true change", "sessions per arm", "days"),
            rows=tuple(_cells(row) for row in self.rows),
            numeric=frozenset({1, 2}),
            sentences=(self.sentence, f"{self.per_day:.1f} sessions a day come in, for both arms together."),
        )

    def cells(self) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
        """Return the names of the columns and the rows as text."""
        columns = ("true change", "sessions per arm", "days")
        rows = tuple(_cells(row) for row in self.rows)
        if all(row.simulated_power is None for row in self.rows):
            return columns, rows
        powers = ["" if row.simulated_power is None else f"{100 * row.simulated_power:.0f} %" for row in self.rows]
        return (*columns, "simulated power"), tuple((*row, power) for row, power in zip(rows, powers, strict=True))

    def to_json(self) -> dict[str, Any]:
        """Return the table as plain values."""
        return {
            "metric": self.metric.value,
            "window": self.window.to_json(),
            "sessions": self.sessions,
            "per_day": self.per_day,
            "target_pct": self.target_pct,
            "alpha": self.alpha,
            "power": self.power,
            "design": self.design.value,
            "detectable_pct": self.detectable_pct,
            "rows": [asdict(row) for row in self.rows],
            "sentence": self.sentence,
        }


def compute_power(
    sessions: pl.DataFrame,
    metric: Metric,
    *,
    now_ms: int,
    days: int = 28,
    target_pct: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    design: PlanDesign = PlanDesign.PLANNED,
    cluster: Cluster = Cluster.NONE,
    simulate: bool = False,
) -> PowerTable:
    """Return how many sessions and days it takes to prove changes of several sizes.

    Args:
        sessions: Metrics of past sessions (`sample.read_scope`).
        metric: What the experiment is to move.
        now_ms: The end of the history.
        days: Length of the history; its rate of sessions is taken to go on.
        target_pct: Signed percent change to prove; 0 proves any improvement.
        alpha: Two-sided level.
        power: Probability of proving a true change.
        design: How often the data will be looked at.
        cluster: Whose sessions resemble each other; `sessions` has its column.
        simulate: Check each size with 400 experiments drawn from the past sessions, with a seed: where their values
            have two peaks, the formula is only a guide.

    Raises:
        ExperimentError: `days` is not positive, or a simulation was asked for with clusters or of a share.
        StatisticsError: fewer than five sessions have a value, or no percent change is defined for them.
    """
    if days < 1:
        raise ExperimentError(f"The history is {days} days long; expected 1 or more.")
    window = Window(start_ms=now_ms - days * DAY_MS, end_ms=now_ms)
    recent = sessions.filter(pl.col("started_at_ms").is_between(window.start_ms, window.end_ms))
    definition = REGISTRY[metric]
    pilot = read_history(recent, metric, cluster)
    plan = Design(
        kind=DesignKind(design.value), planned_n=max(pilot.n // 2, 1), design_effect=max(pilot.design_effect, 1.0)
    )
    sign = 1.0 if definition.better is Direction.INCREASE else -1.0
    fall, rise = minimum_detectable_effect(pilot, pilot.n / 2, pilot.n / 2, alpha=alpha, power=power, design=plan)
    per_day = pilot.n / days
    if simulate and (pilot.kind is not EffectKind.MEDIAN or cluster is not Cluster.NONE):
        raise ExperimentError(
            f"Only medians of independent sessions are simulated, not {pilot.kind.value}s with clusters by "
            f"{cluster.value}. Plan without the simulation, or a metric that has medians with --cluster none."
        )
    detectable = rise if sign > 0 else fall
    rows = tuple(
        _row(pilot, sign * size, target_pct, per_day, alpha=alpha, power=power, design=plan) for size in EFFECTS_PCT
    )
    if simulate:
        values = recent[metric.column].drop_nulls().to_numpy()
        rows = tuple(_simulate(row, values, target_pct, alpha, plan) for row in rows)
    return PowerTable(
        metric=metric,
        window=window,
        sessions=pilot.n,
        per_day=per_day,
        target_pct=target_pct,
        alpha=alpha,
        power=power,
        design=design,
        detectable_pct=detectable,
        rows=rows,
        sentence=(
            f"With as many sessions as the last {days} days ({pilot.n // 2} per arm), an experiment finds a change of "
            f"{format_percent(detectable)} or more in {100 * power:.0f} of 100 cases."
        ),
    )


def _simulate(row: PowerRow, values: FloatArray, target_pct: float, alpha: float, design: Design) -> PowerRow:
    n = row.n_per_arm
    if n is None:
        return row
    found = simulate_power(values, n, n, row.true_pct, target_pct=target_pct, alpha=alpha, design=design)
    return replace(row, simulated_power=found)


def read_history(sessions: pl.DataFrame, metric: Metric, cluster: Cluster) -> Pilot:
    """Return the scale and the design effect of a metric in past sessions.

    Raises:
        StatisticsError: fewer than five sessions have a value, or no percent change is defined for them.
    """
    known = sessions.drop_nulls(metric.column)
    column = cluster.column
    return read_pilot(
        known[metric.column].to_numpy(),
        kind=EffectKind.PROPORTION if REGISTRY[metric].kind is MetricKind.PROPORTION else EffectKind.MEDIAN,
        clusters=None if column is None else cluster_keys(known[column]),
    )


def _cells(row: PowerRow) -> tuple[str, str, str]:
    if row.n_per_arm is None:
        return f"{row.true_pct:+g} %", "not beyond the target", ""
    return f"{row.true_pct:+g} %", f"{row.n_per_arm:,}", "never" if row.days is None else f"{row.days:,}"


def _row(
    pilot: Pilot,
    true_pct: float,
    target_pct: float,
    per_day: float,
    *,
    alpha: float,
    power: float,
    design: Design,
) -> PowerRow:
    if abs(true_pct) <= abs(target_pct) or true_pct * target_pct < 0:
        return PowerRow(true_pct=true_pct, n_per_arm=None, days=None)
    n = sample_size(pilot, true_pct, target_pct=target_pct, alpha=alpha, power=power, design=design)
    return PowerRow(true_pct=true_pct, n_per_arm=n, days=-int(-2 * n // per_day) if per_day > 0 else None)
