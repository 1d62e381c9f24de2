"""How large an experiment has to be: whole experiments simulated from the sessions that the store already has.

For arms drawn by lot, each simulated experiment draws past sessions (or whole clusters) into two arms. For arms before
and after a commit, another history is drawn from the store's own: each of its days is a past day of the same weekday,
moved to a weekly level that wanders as the history does. The sessions before the change are there already, so only the
days after it are planned. Either way the treatment's sessions get a true effect, and the rule of `assess` decides at
the end of the window. Only planning draws random numbers, and with a fixed seed; no verdict does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from scipy import special

from kaizen_analytics.core.errors import ExperimentError
from kaizen_analytics.core.metrics import REGISTRY, MetricKind
from kaizen_analytics.core.model import (
    Classification,
    Delta,
    DesignKind,
    Direction,
    GuardrailSpec,
    Metric,
    Window,
    WorkUnit,
)
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.compare import (
    ARMS,
    add_up,
    cluster_key,
    compare_arms,
    compare_with_history,
    confirm_guardrail,
    draw_timeline,
    find_shared_units,
    is_work_that_must_not_fall,
    judge_dated,
    statistic_of,
)
from kaizen_analytics.experiments.decide import (
    MIN_HISTORY_DAYS,
    Claim,
    GuardrailStatus,
    Judgement,
    Verdict,
    judge,
    judge_guardrails,
    opposes,
)
from kaizen_analytics.experiments.plan import Cluster, Plan, Statistic
from kaizen_analytics.stats import Design
from kaizen_analytics.stats.before_after import Wander, compute_scores
from kaizen_analytics.stats.medians import median_reaches
from kaizen_analytics.stats.sequential import MIN_PLANNED_N, effective_alpha

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from kaizen_analytics.stats import Effect
    from kaizen_analytics.stats.distributions import FloatArray, IntArray

    _Units = IntArray | list[IntArray]

_MIN_HISTORY = 20
"""Past sessions with a value that a simulation needs."""

REACH_DAYS = 180
"""Days beyond which no experiment is planned."""

EFFECTS_PCT = (10.0, 20.0, 30.0, 50.0)
"""True changes, in the metric's better direction, that the table answers for."""
_SIMULATIONS = 200
"""Experiments behind a probability; twice as many behind a number of sessions."""
_HISTORIES = 8
"""Resampled histories that show how much the answer depends on the past at hand."""
_OF_HISTORY, _OF_DATED_HISTORY = 50, 25
"""Experiments of each resampled history."""
_OF_LENGTH = 100
"""Experiments of each number of days after a change that is tried."""
_LENGTHS = (14, 28, 56, 112, REACH_DAYS)
_ROUNDS = 4
"""Sizes that are simulated at most to find the one of the wanted probability; one within its error ends the search."""
_SEED, _DATED_SEED = 2_026, 2_027
_NINETY_PCT = 1.2816
"""Standard deviations of a normal law from its middle to its 90 % point."""
_WEEK = 7
_KINDS = ("agent", "model", "workspace", "branch", "user_name", "organisation")


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
    days: int | None = None,
    after_days: int | None = None,
    target_pct: float = 0.0,
    plan: Plan | None = None,
    power: float = 0.8,
    guardrails: Sequence[GuardrailSpec] = (),
    progress: Callable[[str], None] | None = None,
) -> PowerTable:
    """Return how probable the right decision is, and how much it takes, for true changes of several sizes.

    A decision is right when it says that the target is reached.

    Args:
        sessions: Metrics of past sessions (`sample.read_scope`), added up over the plan's unit.
        days: Length of the history; its rate of sessions is taken to go on. None takes 28 days, or with `after_days`
            all that there are.
        after_days: Days after a change, for arms before and after it; None draws the arms by lot.
        plan: The level, the statistic, the clusters, and for a lot when the data will be analysed.
        guardrails: Metrics that must not get worse; the treatment does not change them.

    Raises:
        ExperimentError: a number of days is not positive, or the history holds too few sessions with a value.

    >>> from kaizen_analytics.experiments.sample import read_scope
    >>> now_ms = 1_790_000_000_000
    >>> table = compute_power(read_scope(store, ()), Metric.TOKENS_PER_SESSION, now_ms=now_ms, target_pct=-50)
    >>> [row.n_per_arm for row in table.rows[:2]]
    [None, None]
    """
    if after_days is not None and after_days < 1:
        raise ExperimentError(f"The change is to be followed for {after_days} days; expected 1 or more.")
    plan = plan or Plan()
    better = REGISTRY[metric].better
    rule = _Rule(metric=metric, criterion=Delta(better, target_pct), plan=plan, guardrails=tuple(guardrails))
    planner = (
        _Lots(rule, sessions, now_ms, 28 if days is None else days, power)
        if after_days is None
        else _Histories.of(rule, sessions, now_ms, days, after_days=after_days, power=power)
    )
    rows = []
    for size in EFFECTS_PCT:
        true_pct = size if better is Direction.INCREASE else -size
        if progress is not None:
            progress(f"simulating a true change of {true_pct:+g} %")
        rows.append(planner.plan(true_pct))
    return PowerTable(
        metric=metric,
        window=Window(start_ms=now_ms - planner.days * DAY_MS, end_ms=now_ms),
        sessions=planner.sessions,
        per_day=planner.sessions / planner.days,
        target_pct=target_pct,
        alpha=plan.alpha,
        power=power,
        design=plan.design if after_days is None else DesignKind.FIXED,
        statistic=plan.statistic,
        guardrails=len(guardrails),
        simulations=_SIMULATIONS,
        detectable_pct=_interpolate(rows, power),
        rows=tuple(rows),
        after_days=after_days,
    )


def expected_design_effect(past: pl.DataFrame, metric: Metric, statistic: Statistic, cluster: Cluster) -> float:
    """Return how many past sessions are worth one independent session; 1 where they cannot tell.

    >>> expected_design_effect(pl.DataFrame({"tool_loops": [1.0]}), Metric.TOOL_LOOPS, Statistic.MEAN, Cluster.NONE)
    1.0
    """
    arm = compare_arms(past, past, metric, statistic=statistic, cluster=cluster).control
    return max(arm.n / arm.n_effective, 1.0) if arm.n else 1.0


def lies_beyond(true_pct: float, target_pct: float) -> bool:
    """Return whether a true change is larger than the target, on its side of 0.

    >>> lies_beyond(-30, -10), lies_beyond(-10, -10), lies_beyond(30, -10)
    (True, False, False)
    """
    return abs(true_pct) > abs(target_pct) and true_pct * target_pct >= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rule:
    """How a simulated experiment is decided."""

    metric: Metric
    criterion: Delta
    plan: Plan
    guardrails: tuple[GuardrailSpec, ...]

    @property
    def columns(self) -> list[str]:
        """The columns that comparing the metrics needs."""
        return _needed_columns([self.metric, *(spec.metric for spec in self.guardrails)])

    @property
    def is_quantity(self) -> bool:
        return REGISTRY[self.metric].kind is MetricKind.QUANTITY

    def is_opposed(self, control: pl.DataFrame, treatment: pl.DataFrame, cluster: Cluster, design: Design) -> bool:
        """Return whether the companion of a reached target moved against it beyond chance."""
        if not self.is_quantity:
            return False
        # no interval opposes whose estimate did not move the wrong way
        other, better = self.plan.statistic.other, self.criterion.direction
        average = np.median if other is Statistic.MEDIAN else np.mean
        first, second = (float(average(arm[self.metric.column].to_numpy())) for arm in (control, treatment))
        if not (second > first if better is Direction.DECREASE else second < first):
            return False
        return opposes(Verdict.MET, self.compare(control, treatment, self.metric, cluster, design, other), better)

    def compare(
        self,
        control: pl.DataFrame,
        treatment: pl.DataFrame,
        metric: Metric,
        cluster: Cluster,
        design: Design,
        statistic: Statistic | None = None,
    ) -> Effect:
        return compare_arms(
            control,
            treatment,
            metric,
            statistic=statistic or self.plan.statistic,
            alpha=self.plan.alpha,
            cluster=cluster,
            design=design,
        )


class _Lots:
    """Simulates experiments of any size with arms drawn by lot, from one history."""

    def __init__(self, rule: _Rule, sessions: pl.DataFrame, now_ms: int, days: int, power: float) -> None:
        if days < 1:
            raise ExperimentError(f"The history is {days} days long; expected 1 or more.")
        recent = sessions.filter(pl.col("started_at_ms").is_between(now_ms - days * DAY_MS, now_ms))
        definition = REGISTRY[rule.metric]
        above = definition.numerator or rule.metric.column
        history = recent.drop_nulls([above, *filter(None, [definition.denominator])])
        if history.height < _MIN_HISTORY:
            raise ExperimentError(
                f"Planning needs at least {_MIN_HISTORY} past sessions with a value, and found {history.height} in "
                f"{days} days; look at more days or workspaces."
            )
        plan = rule.plan
        self._rule, self._power, self.days, self.sessions = rule, power, days, history.height
        self._per_day = self.sessions / days
        self._cluster = Cluster.NONE if plan.cluster is Cluster.NONE else Cluster.UNIT
        self._units = _find_units(history, plan.cluster)
        self._history = history.select(rule.columns)
        self._design_effect = expected_design_effect(history, rule.metric, plan.statistic, plan.cluster)

    def plan(self, true_pct: float) -> PowerRow:
        """Return what an experiment decides about one true change, and how large it has to be."""
        now = max(self.sessions // 2, MIN_PLANNED_N)
        found = self._probability(true_pct, now, self._units, _SIMULATIONS)
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
        chances = [self._probability(true_pct, n, units, _OF_HISTORY) for units in self._resampled()]
        return _range_of(chances, _OF_HISTORY, found)

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
        boundary = -float(special.ndtri(effective_alpha(self._design(n), self._rule.plan.alpha, 1.0) / 2))
        wanted = float(special.ndtri(self._power)) + boundary
        sizes = {n: _score(found) + boundary}
        error = math.sqrt(self._power * (1 - self._power) / (2 * _SIMULATIONS))
        for _ in range(_ROUNDS):
            n = min(max(_next_size(sizes, wanted), MIN_PLANNED_N), largest)
            if n in sizes:
                break
            found = self._probability(true_pct, n, self._units, 2 * _SIMULATIONS)
            sizes[n] = _score(found) + boundary
            if abs(found - self._power) <= error / 2:
                break
        return n if n < largest or found >= self._power else None

    def _design(self, n: int) -> Design:
        kind = self._rule.plan.design
        if kind is DesignKind.FIXED:
            return Design()
        is_last = kind is DesignKind.PLANNED
        return Design(kind=kind, planned_n=n, design_effect=self._design_effect, is_last=is_last)

    def _probability(self, true_pct: float, n: int, units: _Units, simulations: int) -> float:
        """Return the share of simulated experiments that decide rightly; the same seed for every size."""
        rng, design = np.random.default_rng(_SEED), self._design(n)
        found = 0
        for _ in range(simulations):
            control, treatment = self._draw(rng, n, units, "c"), self._draw(rng, n, units, "t")
            changed = _change_metric(treatment, self._rule.metric, true_pct, rng)
            found += self._decides(control, changed, design)
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

    def _decides(self, control: pl.DataFrame, treatment: pl.DataFrame, design: Design) -> bool:
        """Return whether the experiment ships the change because the target is reached."""
        rule, cluster = self._rule, self._cluster
        if not self._reaches(control, treatment, design) or rule.is_opposed(control, treatment, cluster, design):
            return False
        guarded = [(spec, rule.compare(control, treatment, spec.metric, cluster, design)) for spec in rule.guardrails]
        judged = judge_guardrails(guarded, alpha=rule.plan.alpha)
        return all(status is GuardrailStatus.PASSED for status, _ in judged)

    def _reaches(self, control: pl.DataFrame, treatment: pl.DataFrame, design: Design) -> bool:
        rule, arms = self._rule, (control, treatment)
        criterion, is_median = rule.criterion, rule.plan.statistic is Statistic.MEDIAN
        if not (rule.is_quantity and is_median and criterion.direction is Direction.DECREASE):
            effect = rule.compare(control, treatment, rule.metric, self._cluster, design)
            return judge(effect, criterion, better=criterion.direction).verdict is Verdict.MET
        drawn = self._cluster is not Cluster.NONE
        clusters = (arms[0]["unit"].to_numpy(), arms[1]["unit"].to_numpy()) if drawn else None
        first, second = (arm[rule.metric.column].to_numpy() for arm in arms)
        return median_reaches(
            first, second, criterion.signed_pct, alpha=rule.plan.alpha, clusters=clusters, design=design
        )


class _Histories:
    """Draws histories like one of whole weeks, puts a change at their end, and decides them."""

    def __init__(self, rule: _Rule, past: pl.DataFrame, after_days: int, power: float) -> None:
        self._rule, self._after, self._power = rule, after_days, power
        days = past["day"].to_numpy()
        self._weeks, self.sessions = -int(days.min()) // _WEEK, past.height
        self.days = _WEEK * self._weeks
        inside = np.ones(days.size, dtype=bool)
        line = replace(draw_timeline(past, rule.metric, 0, inside), days=days)
        by_median = statistic_of(rule.metric, rule.plan.statistic) is Statistic.MEDIAN
        self._wander = Wander.of(line, compute_scores(line, by_median=by_median))
        moved = self._wander.moved[days // _WEEK - self._wander.first_week]
        self._still = _move(past, rule.metric, -moved)
        order = np.argsort(days, kind="stable")
        starts = np.searchsorted(days[order], np.arange(-self.days, 1))
        self._rows = [order[low:high] for low, high in pairwise(starts)]

    @classmethod
    def of(
        cls, rule: _Rule, sessions: pl.DataFrame, now_ms: int, days: int | None, *, after_days: int, power: float
    ) -> _Histories:
        """Return what simulates the rule on the whole weeks of the last `days` days; -1 is the last day."""
        first_ms = 0 if days is None else now_ms - days * DAY_MS
        in_time = pl.col("started_at_ms").is_between(first_ms, now_ms, closed="left")
        kept = sessions.filter(in_time).drop_nulls(_needed_columns([rule.metric]))
        others = [name for name in _KINDS if name in kept.columns]
        past = kept.select("started_at_ms", *rule.columns, *others).with_columns(
            (pl.lit(None, pl.String).alias(name) for name in _KINDS if name not in others),
            day=(pl.col("started_at_ms") - now_ms) // DAY_MS,
            variant=pl.lit(Classification.CONTROL.value),
        )
        length = -int(past["day"].to_numpy().min(initial=0))
        past = past.filter(pl.col("day") >= -(length // _WEEK) * _WEEK).sort("started_at_ms")
        if past.height < _MIN_HISTORY or length < MIN_HISTORY_DAYS:
            raise ExperimentError(
                f"The history has {past.height} sessions with a value in {length} days. Before and after a change, a "
                f"difference is claimed only with {MIN_HISTORY_DAYS} days of history before it, and planning needs "
                f"{_MIN_HISTORY} sessions. Draw the arms by lot instead (leave --bind out)."
            )
        return cls(rule, past, after_days, power)

    def plan(self, true_pct: float) -> PowerRow:
        """Return what the rule decides about one true change, and how many days after it that takes."""
        found = self.probability(true_pct, self._after, _SIMULATIONS)
        rngs = (np.random.default_rng([_DATED_SEED, number]) for number in range(_HISTORIES))
        others = (_Histories(self._rule, self._draw(rng, 0), self._after, self._power) for rng in rngs)
        chances = [other.probability(true_pct, self._after, _OF_DATED_HISTORY) for other in others]
        low, high = _range_of(chances, _OF_DATED_HISTORY, found)
        reachable = lies_beyond(true_pct, self._rule.criterion.signed_pct)
        lengths = (days for days in _LENGTHS if self.probability(true_pct, days, _OF_LENGTH) >= self._power)
        days = next(lengths, None) if reachable else None
        return PowerRow(true_pct=true_pct, probability=found, low=low, high=high, n_per_arm=None, days=days)

    def probability(self, true_pct: float, after: int, simulations: int) -> float:
        """Return the share of drawn histories in which the change is claimed as it is; the same seed for each."""
        rng = np.random.default_rng(_DATED_SEED)
        return sum(self.decides(*self.draw_arms(rng, true_pct, after)) for _ in range(simulations)) / simulations

    def draw_arms(self, rng: np.random.Generator, true_pct: float, after: int) -> tuple[pl.DataFrame, pl.DataFrame]:
        """Return the sessions of both arms of another history with the change, and those before the window."""
        arm = pl.when(pl.col("day") < 0).then(pl.lit(Classification.CONTROL.value))
        drawn = self._draw(rng, after).with_columns(variant=arm.otherwise(pl.lit(Classification.TREATMENT.value)))
        treatment = _change_metric(drawn.filter(pl.col("day") >= 0), self._rule.metric, true_pct, rng)
        control = drawn.filter(pl.col("day").is_between(-after, -1))
        return pl.concat([control, treatment]), drawn.filter(pl.col("day") < -after)

    def _draw(self, rng: np.random.Generator, after: int) -> pl.DataFrame:
        """Return another history with `after` more days, `day` counted from its end before these."""
        days = np.arange(-self.days, after)
        sources = _WEEK * rng.integers(0, self._weeks, days.size) + days % _WEEK
        drawn = [self._rows[source] for source in sources]
        sizes = [rows.size for rows in drawn]
        day: IntArray = np.repeat(days, sizes)
        week = (day + int(rng.integers(_WEEK))) // _WEEK  # a task mix does not change on the weekday of our weeks
        levels = self._wander.draw(rng, np.arange(week.min(), week.max() + 1))
        taken = self._still[np.concatenate(drawn)]
        shift = pl.Series((day - np.repeat(days[sources], sizes)) * DAY_MS)
        frame = taken.with_columns(pl.col("started_at_ms") + shift, day=pl.Series(day))
        return _move(frame, self._rule.metric, levels[week - week.min()])

    def decides(self, frame: pl.DataFrame, around: pl.DataFrame) -> bool:
        """Return whether the change is claimed, its target reached, and nothing speaks against it."""
        rule, plan = self._rule, self._rule.plan
        history = compare_with_history(frame, around, rule.metric, plan)
        if history is None or history.claim is not Claim.HOLDS:
            return False
        found = judge_dated(Judgement(verdict=Verdict.MET), history, rule.criterion, plan)
        control, treatment = _split(frame)
        if found.verdict is not Verdict.MET or rule.is_opposed(control, treatment, plan.cluster, Design()):
            return False
        return self._passes(frame, around)

    def _passes(self, frame: pl.DataFrame, around: pl.DataFrame) -> bool:
        """Return whether every guardrail passes; as in `assess`, work that must not fall is counted per day."""
        rule, plan = self._rule, self._rule.plan
        daily = [is_work_that_must_not_fall(spec) and plan.unit is not WorkUnit.DAY for spec in rule.guardrails]
        sessions, clusters = {False: frame}, {False: plan.cluster}
        if any(daily):
            named = frame.with_columns(session_id=pl.lit(""), unit=pl.lit(None, pl.String))
            sessions[True] = add_up(named, WorkUnit.DAY)
            clusters[True] = find_shared_units(sessions[True])
        effects = [
            (spec, rule.compare(*_split(sessions[is_daily]), spec.metric, clusters[is_daily], Design()))
            for spec, is_daily in zip(rule.guardrails, daily, strict=True)
        ]
        judged = zip(rule.guardrails, daily, judge_guardrails(effects, alpha=plan.alpha), strict=True)
        return all(
            GuardrailStatus.PASSED
            is (
                status
                if is_daily
                else confirm_guardrail(spec, status, p_value, compare_with_history(frame, around, spec.metric, plan))
            )
            for spec, is_daily, (status, p_value) in judged
        )


def _split(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    control, treatment = (frame.filter(pl.col("variant") == arm) for arm in ARMS)
    return control, treatment


def _range_of(probabilities: Sequence[float], simulations: int, found: float) -> tuple[float, float]:
    """Return the 10 and 90 % points of a probability over histories, without the Monte Carlo error of each."""
    chances = np.array(probabilities)
    noise = float(np.mean(chances * (1 - chances))) / simulations
    spread = _NINETY_PCT * math.sqrt(max(float(chances.var(ddof=1)) - noise, 0.0))
    return max(found - spread, 0.0), min(found + spread, 1.0)


def _needed_columns(metrics: Sequence[Metric]) -> list[str]:
    """Return the columns that comparing these metrics needs."""
    below = [name for metric in metrics for name in (REGISTRY[metric].numerator, REGISTRY[metric].denominator)]
    return list(dict.fromkeys([*(metric.column for metric in metrics), *(name for name in below if name)]))


def _score(probability: float) -> float:
    return float(special.ndtri(min(max(probability, 0.02), 0.98)))


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
    keys = history.select(cluster_key(cluster)).to_series().to_list()
    _, codes = np.unique(keys, return_inverse=True)
    return [np.flatnonzero(codes == code) for code in range(codes.max() + 1)]


def _change_metric(arm: pl.DataFrame, metric: Metric, true_pct: float, rng: np.random.Generator) -> pl.DataFrame:
    """Return the sessions with a metric that changed by `true_pct`; shares stay between 0 and 1."""
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


def _move(sessions: pl.DataFrame, metric: Metric, by: FloatArray) -> pl.DataFrame:
    """Return the sessions with a metric that is moved by `by` log units, shape (n,); proportions cannot be moved."""
    definition = REGISTRY[metric]
    if definition.kind is MetricKind.PROPORTION:
        return sessions
    names = [metric.column] if definition.numerator is None else [metric.column, definition.numerator]
    factor = pl.Series(np.exp(by))
    top = 1.0 if definition.unit == "share" else math.inf
    return sessions.with_columns((pl.col(name) * factor).clip(upper_bound=top) for name in names)


def _interpolate(rows: Sequence[PowerRow], power: float) -> float | None:
    """Return the smallest change of the wanted probability, on the line between the simulated ones."""
    true_pct = probability = 0.0
    for row in rows:
        if row.probability >= power:
            part = (power - probability) / (row.probability - probability)
            return true_pct + part * (row.true_pct - true_pct)
        true_pct, probability = row.true_pct, row.probability
    return None
