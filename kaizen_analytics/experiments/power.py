"""How large an experiment has to be: whole experiments simulated from the sessions that the store already has.

Each simulated experiment draws past sessions (or whole clusters) into two arms, changes the treatment's by a true
effect, and decides by the rule of `assess`: the success metric with its companion and its guardrails, at the end of the
window. Only planning draws random numbers, and with a fixed seed; no verdict does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import special

from kaizen_analytics.core.errors import ExperimentError
from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import Delta, Direction, GuardrailSpec, Metric, Window
from kaizen_analytics.experiments.compare import cluster_keys, compare_arms
from kaizen_analytics.experiments.decide import GuardrailStatus, Verdict, judge, judge_guardrails, opposes
from kaizen_analytics.experiments.plan import DAY_MS, Cluster, Statistic
from kaizen_analytics.stats import Design, DesignKind
from kaizen_analytics.stats.medians import median_reaches
from kaizen_analytics.stats.sequential import MIN_PLANNED_N, effective_alpha

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import numpy.typing as npt

    from kaizen_analytics.stats import Effect

    IntArray = npt.NDArray[np.int64]
    _Units = IntArray | list[IntArray]

MIN_HISTORY = 20
"""Past sessions with a value that a simulation needs."""

REACH_DAYS = 180
"""Days beyond which no experiment is planned."""

EFFECTS_PCT = (10.0, 20.0, 30.0, 50.0)
"""True changes, in the metric's better direction, that the table answers for."""
_SIMULATIONS = 200
"""Experiments behind a probability; twice as many behind a number of sessions."""
_HISTORIES = 8
_OF_HISTORY = 50
"""Resampled histories that show how much the answer depends on the past at hand."""
_ROUNDS = 4
"""Sizes that are simulated at most to find the one of the wanted probability; one within its error ends the search."""
_SEED = 2_026


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerRow:
    """What an experiment decides when the true change is `true_pct`.

    `probability` is that of the right decision with as many sessions as the history holds; `low` and `high` are its
    10 and 90 % points over resampled histories. `n_per_arm` and `days` are what the wanted probability takes: None
    where the truth does not lie beyond the target, or no size within `REACH_DAYS` is enough. `n_low` and `n_high` are
    the 10 and 90 % points of the probability that this size has in another history.
    """

    true_pct: float
    probability: float
    low: float
    high: float
    n_per_arm: int | None
    days: int | None
    n_low: float | None = None
    n_high: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerTable:
    """How large an experiment on one metric has to be.

    `sessions` are past sessions with a value in `window`, `per_day` their rate. `detectable_pct` is the smallest change
    in the better direction that as many sessions as the window holds decide rightly with probability `power`: None
    where not even the largest change of the table is. `simulations` is the number of experiments behind a probability.
    `after_days` are the days after the change where arms are separated in time; None where they are drawn by lot.
    """

    metric: Metric
    window: Window
    sessions: int
    per_day: float
    target_pct: float
    alpha: float
    power: float
    design: DesignKind
    statistic: Statistic
    guardrails: int
    simulations: int
    detectable_pct: float | None
    rows: tuple[PowerRow, ...]
    after_days: int | None = None

    @property
    def per_arm(self) -> int:
        """Sessions per arm in the history."""
        return self.sessions // 2

    @property
    def error_pct(self) -> float:
        """Largest Monte Carlo standard error of a probability, in percentage points."""
        return 50 / math.sqrt(self.simulations)

    @property
    def days(self) -> int:
        """Days of the history."""
        return self.window.length_ms // DAY_MS


def compute_power(
    sessions: pl.DataFrame,
    metric: Metric,
    *,
    now_ms: int,
    days: int = 28,
    target_pct: float = 0.0,
    alpha: float = 0.05,
    power: float = 0.8,
    design: DesignKind = DesignKind.PLANNED,
    cluster: Cluster = Cluster.NONE,
    statistic: Statistic = Statistic.MEDIAN,
    guardrails: Sequence[GuardrailSpec] = (),
    progress: Callable[[str], None] | None = None,
) -> PowerTable:
    """Return how probable the right decision is, and how many sessions and days it takes, for changes of several sizes.

    The arms are drawn by lot. A decision is right when it says that the target is reached.

    Args:
        sessions: Metrics of past sessions (`sample.read_scope`).
        metric: What the experiment is to move.
        now_ms: The end of the history.
        days: Length of the history; its rate of sessions is taken to go on.
        target_pct: Signed percent change to prove; 0 proves any improvement.
        alpha: Two-sided level.
        power: Wanted probability of the right decision.
        design: When the data will be analysed.
        cluster: Whose sessions resemble each other; `sessions` has its column, and whole clusters are drawn.
        statistic: How a quantity is compared.
        guardrails: Metrics that must not get worse; the treatment does not change them.
        progress: Called with a line for each change.

    Raises:
        ExperimentError: `days` is not positive, or the history holds too few sessions with a value.

    >>> from kaizen_analytics.experiments.sample import read_scope
    >>> now_ms = 1_790_000_000_000
    >>> table = compute_power(read_scope(store, ()), Metric.TOKENS_PER_SESSION, now_ms=now_ms, target_pct=-50)
    >>> [row.n_per_arm for row in table.rows[:2]]
    [None, None]
    """
    if days < 1:
        raise ExperimentError(f"The history is {days} days long; expected 1 or more.")
    window = Window(start_ms=now_ms - days * DAY_MS, end_ms=now_ms)
    recent = sessions.filter(pl.col("started_at_ms").is_between(window.start_ms, window.end_ms))
    definition = REGISTRY[metric]
    history = recent.drop_nulls([definition.numerator or metric.column, *filter(None, [definition.denominator])])
    if history.height < MIN_HISTORY:
        raise ExperimentError(
            f"Planning needs at least {MIN_HISTORY} past sessions with a value, and found {history.height} in "
            f"{days} days; look at more days or workspaces."
        )
    rule = _Rule(
        metric=metric,
        criterion=Delta(definition.better, target_pct),
        statistic=statistic,
        guardrails=tuple(guardrails),
        alpha=alpha,
        design=design,
        cluster=Cluster.NONE if cluster is Cluster.NONE else Cluster.UNIT,
    )
    per_day = history.height / days
    planner = _Planner(rule, history, cluster, per_day=per_day, power=power)
    rows = plan_rows(metric, planner.plan, progress)
    return PowerTable(
        metric=metric,
        window=window,
        sessions=history.height,
        per_day=per_day,
        target_pct=target_pct,
        alpha=alpha,
        power=power,
        design=design,
        statistic=statistic,
        guardrails=len(guardrails),
        simulations=_SIMULATIONS,
        detectable_pct=interpolate(rows, power),
        rows=rows,
    )


def plan_rows(
    metric: Metric, plan: Callable[[float], PowerRow], progress: Callable[[str], None] | None
) -> tuple[PowerRow, ...]:
    """Return a row for each true change of the table.

    Args:
        metric: What the change moves, in its better direction.
        plan: Returns the row of a signed change in percent.
        progress: Called with a line for each change.

    >>> shared = {"probability": 1.0, "low": 1.0, "high": 1.0, "n_per_arm": None, "days": None}
    >>> rows = plan_rows(Metric.TOOL_LOOPS, lambda pct: PowerRow(true_pct=pct, **shared), None)
    >>> [row.true_pct for row in rows]
    [-10.0, -20.0, -30.0, -50.0]
    """
    sign = 1.0 if REGISTRY[metric].better is Direction.INCREASE else -1.0
    rows = []
    for size in EFFECTS_PCT:
        if progress is not None:
            progress(f"simulating a true change of {sign * size:+g} %")
        rows.append(plan(sign * size))
    return tuple(rows)


def expected_design_effect(past: pl.DataFrame, metric: Metric, statistic: Statistic, cluster: Cluster) -> float:
    """Return how many past sessions are worth one independent session; 1 where they cannot tell.

    >>> expected_design_effect(pl.DataFrame({"tool_loops": [1.0]}), Metric.TOOL_LOOPS, Statistic.MEAN, Cluster.NONE)
    1.0
    """
    arm = compare_arms(past, past, metric, statistic=statistic, cluster=cluster).control
    return max(arm.n / arm.n_effective, 1.0) if arm.n else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How a simulated experiment is decided."""

    metric: Metric
    criterion: Delta
    statistic: Statistic
    guardrails: tuple[GuardrailSpec, ...]
    alpha: float
    design: DesignKind
    cluster: Cluster

    def decides(self, control: pl.DataFrame, treatment: pl.DataFrame, design: Design) -> bool:
        """Return whether the experiment ships the change because the target is reached."""
        options = {"alpha": self.alpha, "cluster": self.cluster, "design": design}

        def compare(metric: Metric, statistic: Statistic) -> Effect:
            return compare_arms(control, treatment, metric, statistic=statistic, **options)  # type: ignore[arg-type]

        better, target = self.criterion.direction, self.criterion.signed_pct
        is_quantity = REGISTRY[self.metric].kind is MetricKind.QUANTITY
        if is_quantity and self.statistic is Statistic.MEDIAN and better is Direction.DECREASE:
            reached = self._median_reaches(control, treatment, target, design)
        else:
            reached = judge(compare(self.metric, self.statistic), self.criterion, better=better).verdict is Verdict.MET
        if not reached:
            return False
        worse = is_quantity and self._companion_is_worse(control, treatment)
        if worse and opposes(Verdict.MET, compare(self.metric, self.statistic.other), better):
            return False
        guarded = [(spec, compare(spec.metric, self.statistic)) for spec in self.guardrails]
        return all(status is GuardrailStatus.PASSED for status, _ in judge_guardrails(guarded, alpha=self.alpha))

    def _companion_is_worse(self, control: pl.DataFrame, treatment: pl.DataFrame) -> bool:
        """Return whether the companion's estimate moved the wrong way: no interval around another one opposes."""
        average = np.median if self.statistic.other is Statistic.MEDIAN else np.mean
        first, second = (float(average(arm[self.metric.column].to_numpy())) for arm in (control, treatment))
        return second > first if self.criterion.direction is Direction.DECREASE else second < first

    def _median_reaches(self, control: pl.DataFrame, treatment: pl.DataFrame, target: float, design: Design) -> bool:
        arms, drawn = (control, treatment), self.cluster is not Cluster.NONE
        clusters = (arms[0]["unit"].to_numpy(), arms[1]["unit"].to_numpy()) if drawn else None
        first, second = (arm[self.metric.column].to_numpy() for arm in arms)
        return median_reaches(first, second, target, alpha=self.alpha, clusters=clusters, design=design)


class _Planner:
    """Simulates experiments of any size from one history."""

    def __init__(self, rule: _Rule, history: pl.DataFrame, cluster: Cluster, *, per_day: float, power: float) -> None:
        self._rule, self._per_day, self._power = rule, per_day, power
        self._units = _find_units(history, cluster)
        self._history = history.select(needed_columns([rule.metric, *(spec.metric for spec in rule.guardrails)]))
        self._design_effect = expected_design_effect(history, rule.metric, rule.statistic, cluster)

    def plan(self, true_pct: float) -> PowerRow:
        """Return what an experiment decides about one true change, and how large it has to be."""
        now = max(self._history.height // 2, MIN_PLANNED_N)
        found = self._probability(true_pct, now, self._units)
        low, high = self._range(true_pct, now, found)
        target = self._rule.criterion.signed_pct
        n = self._size(true_pct, now, found) if lies_beyond(true_pct, target) else None
        n_low, n_high = (None, None) if n is None else self._range(true_pct, n, self._power)
        return PowerRow(
            true_pct=true_pct,
            probability=found,
            low=low,
            high=high,
            n_per_arm=n,
            days=None if n is None else math.ceil(2 * n / self._per_day),
            n_low=n_low,
            n_high=n_high,
        )

    def _range(self, true_pct: float, n: int, found: float) -> tuple[float, float]:
        chances = [self._probability(true_pct, n, units, simulations=_OF_HISTORY) for units in self._resampled()]
        return range_of(chances, _OF_HISTORY, found)

    def _resampled(self) -> list[_Units]:
        rng, units = np.random.default_rng(_SEED), self._units
        draws = [rng.integers(0, len(units), len(units)) for _ in range(_HISTORIES)]
        return [units[draw] if isinstance(units, np.ndarray) else [units[i] for i in draw] for draw in draws]

    def _size(self, true_pct: float, n: int, found: float) -> int | None:
        """Return the sessions per arm of the wanted probability; None where no reachable size has it.

        The probability grows about like Phi(a sqrt(n) - b), b being the boundary. The next size is read off that curve
        through the last one, or between a size that was too small and one that was too large.
        """
        largest = max(int(self._per_day * REACH_DAYS / 2), MIN_PLANNED_N)
        boundary = -float(special.ndtri(effective_alpha(self._design(n), self._rule.alpha, 1.0) / 2))
        wanted = float(special.ndtri(self._power)) + boundary
        sizes = {n: self._score(found) + boundary}
        error = math.sqrt(self._power * (1 - self._power) / (2 * _SIMULATIONS))
        for _ in range(_ROUNDS):
            n = min(max(_next_size(sizes, wanted), MIN_PLANNED_N), largest)
            if n in sizes:
                break
            found = self._probability(true_pct, n, self._units, simulations=2 * _SIMULATIONS)
            sizes[n] = self._score(found) + boundary
            if abs(found - self._power) <= error / 2:
                break
        return n if n < largest or found >= self._power else None

    @staticmethod
    def _score(probability: float) -> float:
        return float(special.ndtri(min(max(probability, 0.02), 0.98)))

    def _design(self, n: int) -> Design:
        if self._rule.design is DesignKind.FIXED:
            return Design()
        return Design(
            kind=self._rule.design,
            planned_n=n,
            design_effect=self._design_effect,
            is_last=self._rule.design is DesignKind.PLANNED,
        )

    def _probability(self, true_pct: float, n: int, units: _Units, *, simulations: int | None = None) -> float:
        """Return the share of simulated experiments that decide rightly; the same seed for every size."""
        rng, design = np.random.default_rng(_SEED), self._design(n)
        found, simulations = 0, simulations or _SIMULATIONS
        for _ in range(simulations):
            control, treatment = self._draw(rng, n, units, "c"), self._draw(rng, n, units, "t")
            changed = change_metric(treatment, self._rule.metric, true_pct, rng)
            found += self._rule.decides(control, changed, design)
        return found / simulations

    def _draw(self, rng: np.random.Generator, n: int, units: _Units, arm: str) -> pl.DataFrame:
        if isinstance(units, np.ndarray):
            return self._history[units[rng.integers(0, units.size, n)]]
        drawn: list[IntArray] = []
        size = 0
        while size < n:
            drawn.append(units[rng.integers(len(units))])
            size += drawn[-1].size
        names = [f"{arm}{i}" for i, part in enumerate(drawn) for _ in range(part.size)]
        return self._history[np.concatenate(drawn)].with_columns(unit=pl.Series(names))


def range_of(probabilities: Sequence[float], simulations: int, found: float) -> tuple[float, float]:
    """Return the 10 and 90 % points of a probability over histories, without the Monte Carlo error of each.

    Args:
        probabilities: One for each history.
        simulations: Experiments behind each of them.
        found: The probability for the history at hand.

    >>> [round(limit, 2) for limit in range_of([0.6, 0.9], 50, 0.8)]
    [0.54, 1.0]
    """
    chances = np.array(probabilities)
    noise = float(np.mean(chances * (1 - chances))) / simulations
    spread = _NINETY_PCT * math.sqrt(max(float(chances.var(ddof=1)) - noise, 0.0))
    return max(found - spread, 0.0), min(found + spread, 1.0)


_NINETY_PCT = 1.2816
"""Standard deviations of a normal law from its middle to its 90 % point."""


def needed_columns(metrics: Sequence[Metric]) -> list[str]:
    """Return the columns that comparing these metrics needs.

    >>> needed_columns([Metric.TOOL_ERROR_RATE])
    ['tool_error_rate', 'tool_results']
    """
    below = [name for metric in metrics for name in (REGISTRY[metric].numerator, REGISTRY[metric].denominator)]
    return list(dict.fromkeys([*(metric.column for metric in metrics), *(name for name in below if name)]))


def _next_size(sizes: dict[int, float], wanted: float) -> int:
    """Return the size at which scores of sizes, linear in their root, reach the wanted one."""
    below = max((n for n, score in sizes.items() if score < wanted), default=None)
    above = min((n for n, score in sizes.items() if score >= wanted), default=None)
    if below is None or above is None or below >= above:
        n = below or above or 1
        return math.ceil(n * (wanted / max(sizes[n], 0.2)) ** 2)
    low, high = math.sqrt(below), math.sqrt(above)
    part = (wanted - sizes[below]) / (sizes[above] - sizes[below])
    return math.ceil((low + part * (high - low)) ** 2)


def _find_units(history: pl.DataFrame, cluster: Cluster) -> _Units:
    """Return the rows of each cluster; without clusters all rows, each a unit."""
    if cluster is Cluster.NONE:
        return np.arange(history.height)
    _, codes = np.unique(cluster_keys(history, cluster), return_inverse=True)
    return [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]


def change_metric(arm: pl.DataFrame, metric: Metric, true_pct: float, rng: np.random.Generator) -> pl.DataFrame:
    """Return the sessions with a metric that changed by `true_pct`; shares stay between 0 and 1.

    >>> sessions, rng = pl.DataFrame({"tool_loops": [2.0]}), np.random.default_rng(1)
    >>> change_metric(sessions, Metric.TOOL_LOOPS, -50, rng)["tool_loops"].item()
    1.0
    """
    factor, values = 1 + true_pct / 100, arm[metric.column].to_numpy()
    definition = REGISTRY[metric]
    if definition.kind is MetricKind.PROPORTION:
        share = values.mean()
        kept = rng.random(values.size) < min(factor, 1.0)
        won = rng.random(values.size) < (min(share * factor, 1.0) - share) / max(1 - share, 1e-9)
        changed = np.where(values > 0, kept, won).astype(np.float64)
    elif definition.unit == "share":
        changed = np.minimum(values * factor, 1.0)
    else:
        changed = values * factor
        if definition.numerator is not None:
            arm = arm.with_columns(pl.col(definition.numerator) * factor)
    return arm.with_columns(pl.Series(metric.column, changed))


def lies_beyond(true_pct: float, target_pct: float) -> bool:
    """Return whether a true change is larger than the target, on its side of 0.

    >>> lies_beyond(-30, -10), lies_beyond(-10, -10), lies_beyond(30, -10)
    (True, False, False)
    """
    return abs(true_pct) > abs(target_pct) and true_pct * target_pct >= 0


def interpolate(rows: Sequence[PowerRow], power: float) -> float | None:
    """Return the smallest change of the wanted probability, on the line between the simulated ones.

    >>> shared = {"low": 0.0, "high": 1.0, "n_per_arm": None, "days": None}
    >>> interpolate([PowerRow(true_pct=-10, probability=0.5, **shared)], 0.25)
    -5.0
    """
    before = PowerRow(true_pct=0.0, probability=0.0, low=0.0, high=0.0, n_per_arm=None, days=None)
    for row in rows:
        if row.probability >= power:
            part = (power - before.probability) / (row.probability - before.probability)
            return before.true_pct + part * (row.true_pct - before.true_pct)
        before = row
    return None
