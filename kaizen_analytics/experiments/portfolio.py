"""All experiments of a store at once: outcomes, decisions, and which of them need somebody's attention.

An experiment *runs out of time* when it runs, and at its pace so far an arm has fewer sessions than planned at the end
of its window. It is *under-powered* when even with all planned sessions it would probably miss a change of the size of
its target. It is *left open* when its window has passed and nobody concluded it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from scipy import special

from kaizen_analytics.core.errors import KaizenError
from kaizen_analytics.core.model import Delta, Direction, GitCommit, Metric, State
from kaizen_analytics.core.times import DAY_MS
from kaizen_analytics.experiments.decide import Decision, Headline, Verdict
from kaizen_analytics.experiments.lifecycle import evaluate
from kaizen_analytics.stats import Interval
from kaizen_analytics.stats.sequential import effective_alpha
from kaizen_analytics.store.experiments import list_experiments, unreadable_experiments

if TYPE_CHECKING:
    from kaizen_analytics.core.model import Experiment
    from kaizen_analytics.experiments.evaluation import Evaluation
    from kaizen_analytics.store import Store

_BEST_FIRST = (Headline.SHIP, Headline.BETTER, Headline.UNDECIDED, Headline.WORSE, Headline.DO_NOT_SHIP)
_POWER = 0.8
"""Probability with which an experiment should find a change of the size of its target."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _PortfolioArm:
    """Sessions of one arm with a value: now, planned (None: no plan), and at the end of the window at today's pace."""

    n: int
    planned_n: int | None
    expected_n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioLine:
    """One experiment. What only an evaluation knows is None for one that has not started or cannot be evaluated.

    `percent` is the percent change of the primary metric, `target_pct` the signed change that counts as success (None
    for an absolute value).
    `final_n` are the sessions of the smaller arm at the end, as planned or else as expected, `detectable_pct` the
    smallest change in the direction of the target that they find in 80 of 100 cases: None where the data do not tell.
    Times are milliseconds since the Unix epoch.
    """

    id: str
    name: str
    state: State
    metric: Metric
    created_at_ms: int
    concluded_at_ms: int | None
    concluded_by: str | None = None
    problem: str | None = None
    verdict: Verdict | None = None
    decision: Decision | None = None
    better: Direction | None = None
    percent: Interval | None = None
    target_pct: float | None = None
    final_n: int | None = None
    detectable_pct: float | None = None
    started_at_ms: int | None = None
    end_ms: int | None = None
    control: _PortfolioArm | None = None
    treatment: _PortfolioArm | None = None

    @property
    def headline(self) -> Headline | None:
        """What to do with the change; None without an evaluation."""
        return None if self.decision is None else self.decision.headline

    @property
    def gain(self) -> float | None:
        """The percent change, positive where it is for the better."""
        if self.percent is None:
            return None
        return self.percent.estimate if self.better is Direction.INCREASE else -self.percent.estimate

    @property
    def slowest(self) -> _PortfolioArm | None:
        """The arm that will be furthest behind its plan, None where none will be."""
        arms = [arm for arm in (self.control, self.treatment) if arm is not None and arm.planned_n]
        behind = [arm for arm in arms if arm.expected_n < (arm.planned_n or 0)]
        return min(behind, key=lambda arm: arm.expected_n / (arm.planned_n or 1), default=None)

    @property
    def is_underpowered(self) -> bool:
        """Whether it runs, or ended undecided, and would probably miss a change of the size of its target."""
        still_open = self.state is State.RUNNING or self.headline is Headline.UNDECIDED
        if not still_open or not self.target_pct or self.detectable_pct is None:
            return False
        return abs(self.detectable_pct) > abs(self.target_pct)

    def is_left_open(self, now_ms: int) -> bool:
        """Return whether its window has passed and it still runs."""
        return self.state is State.RUNNING and self.end_ms is not None and self.end_ms <= now_ms

    def is_running_out(self, now_ms: int) -> bool:
        """Return whether it runs and will have too few sessions at the end of its window."""
        in_window = self.state is State.RUNNING and self.end_ms is not None and self.end_ms > now_ms
        return in_window and self.slowest is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Portfolio:
    """All experiments of a store at `as_of_ms`, the best outcome first; `unreadable` says what could not be read.

    Archived experiments are counted, not shown.
    """

    as_of_ms: int
    lines: tuple[PortfolioLine, ...]
    archived: int
    unreadable: tuple[str, ...]

    @property
    def decided(self) -> tuple[PortfolioLine, ...]:
        """Experiments with a verdict, concluded ones first."""
        return tuple(line for line in self.lines if line.verdict is not None)

    @property
    def left_open(self) -> tuple[PortfolioLine, ...]:
        """Experiments past their end that nobody concluded, the longest first."""
        found = [line for line in self.lines if line.is_left_open(self.as_of_ms)]
        return tuple(sorted(found, key=lambda line: (line.end_ms or 0, line.id)))

    @property
    def running_out(self) -> tuple[PortfolioLine, ...]:
        """Experiments that will have too few sessions, the next to end first."""
        found = [line for line in self.lines if line.is_running_out(self.as_of_ms)]
        return tuple(sorted(found, key=lambda line: (line.end_ms or 0, line.id)))

    @property
    def underpowered(self) -> tuple[PortfolioLine, ...]:
        """Experiments that would probably miss their target, the worst first."""
        found = [line for line in self.lines if line.is_underpowered]
        return tuple(sorted(found, key=lambda line: (-_shortfall(line), line.id)))

    @property
    def waiting(self) -> tuple[PortfolioLine, ...]:
        """Drafts, and experiments that cannot be evaluated, the oldest first."""
        found = [line for line in self.lines if line.verdict is None]
        return tuple(sorted(found, key=lambda line: (line.created_at_ms, line.id)))


def read_portfolio(store: Store, *, now_ms: int) -> Portfolio:
    """Return all experiments of a store as of `now_ms`; one that cannot be evaluated says why.

    >>> [line.id for line in read_portfolio(store, now_ms=0).underpowered]
    ['plan-first', 'concise-instructions']
    """
    with store.snapshot():
        experiments = list_experiments(store)
        shown = [experiment for experiment in experiments if experiment.state is not State.ARCHIVED]
        return Portfolio(
            as_of_ms=now_ms,
            lines=_rank([_read_line(store, experiment, now_ms) for experiment in shown]),
            archived=len(experiments) - len(shown),
            unreadable=tuple(item.reason for item in unreadable_experiments(store)),
        )


def _summarise(evaluation: Evaluation, now_ms: int) -> PortfolioLine:
    """Return the line of an experiment that can be evaluated."""
    concluded_by = evaluation.provenance.get("concluded_by")
    started = evaluation.plan.started
    control, treatment = _count_arms(evaluation, now_ms)
    grows = evaluation.experiment.state is State.RUNNING and evaluation.window.end_ms > now_ms
    final = tuple(_final_n(arm, grows=grows) for arm in (control, treatment))
    return replace(
        _new_line(evaluation.experiment),
        concluded_by=None if concluded_by is None else str(concluded_by),
        verdict=evaluation.verdict,
        decision=evaluation.decision,
        better=evaluation.primary.better,
        percent=evaluation.percent,
        target_pct=_target(evaluation.experiment),
        final_n=min(final),
        detectable_pct=_detectable(evaluation, control.n, treatment.n, *final),
        started_at_ms=evaluation.window.start_ms if started is None else started.started_at_ms,
        end_ms=evaluation.window.end_ms,
        control=control,
        treatment=treatment,
    )


def _rank(lines: list[PortfolioLine]) -> tuple[PortfolioLine, ...]:
    """Return concluded experiments, then running ones, then drafts; in each, ships first, then the larger gain."""
    states = [State.CONCLUDED, State.RUNNING, State.DRAFT, State.ARCHIVED]
    headlines = [*_BEST_FIRST, None]

    def key(line: PortfolioLine) -> tuple[int, int, float, str]:
        gain = -math.inf if line.gain is None else line.gain
        return states.index(line.state), headlines.index(line.headline), -gain, line.id

    return tuple(sorted(lines, key=key))


def _read_line(store: Store, experiment: Experiment, now_ms: int) -> PortfolioLine:
    if experiment.state is State.DRAFT:
        return _new_line(experiment)
    try:
        return _summarise(evaluate(store, experiment.id, now_ms=now_ms), now_ms)
    except KaizenError as error:
        # one broken experiment must not hide the others; its line says what is wrong
        return replace(_new_line(experiment), problem=str(error))


def _new_line(experiment: Experiment) -> PortfolioLine:
    return PortfolioLine(
        id=experiment.id,
        name=experiment.name,
        state=experiment.state,
        metric=experiment.metric,
        created_at_ms=experiment.created_at_ms,
        concluded_at_ms=experiment.concluded_at_ms,
        target_pct=_target(experiment),
    )


def _count_arms(evaluation: Evaluation, now_ms: int) -> tuple[_PortfolioArm, _PortfolioArm]:
    plan, primary = evaluation.plan, evaluation.primary
    before_after = isinstance(evaluation.experiment.binding, GitCommit)
    growth = _growth(evaluation, now_ms)
    control, treatment = primary.control.n, primary.treatment.n
    return (
        _PortfolioArm(
            n=control,
            planned_n=plan.planned_control_n or plan.planned_n,
            # the control arm of a commit lies in the past
            expected_n=control if before_after else round(control * growth),
        ),
        _PortfolioArm(n=treatment, planned_n=plan.planned_n, expected_n=round(treatment * growth)),
    )


def _growth(evaluation: Evaluation, now_ms: int) -> float:
    """Return by which factor an arm grows until the end of the window, if sessions come in as they did so far."""
    started = evaluation.plan.started
    if evaluation.experiment.state is not State.RUNNING or started is None:
        return 1.0
    elapsed_ms = now_ms - max(started.started_at_ms, evaluation.window.start_ms)
    left_ms = evaluation.window.end_ms - now_ms
    return 1.0 if elapsed_ms < DAY_MS / 24 or left_ms <= 0 else 1 + left_ms / elapsed_ms


def _detectable(
    evaluation: Evaluation, n_control: int, n_treatment: int, final_control: int, final_treatment: int
) -> float | None:
    """Return the smallest change that is found with probability `POWER`, from the width of the interval so far."""
    effect, target = evaluation.primary.effect, _target(evaluation.experiment)
    error = _log_error(effect.percent, effect.alpha)
    if error is None or target is None:
        return None
    shrink = (1 / final_control + 1 / final_treatment) / (1 / n_control + 1 / n_treatment)
    level = effective_alpha(effect.design, evaluation.alpha, 1.0)
    reach = float(special.ndtri(_POWER) - special.ndtri(level / 2))
    return 100 * math.expm1(math.copysign(reach * error * math.sqrt(shrink), target))


def _final_n(arm: _PortfolioArm, *, grows: bool) -> int:
    return max(arm.n, arm.planned_n or arm.expected_n) if grows else arm.n


def _log_error(percent: Interval | None, alpha: float) -> float | None:
    """Return the standard error of the log ratio that an interval of this level stands for."""
    if percent is None or not percent.bounded or percent.low <= -100 or percent.low == percent.high:
        return None
    width = math.log1p(percent.high / 100) - math.log1p(percent.low / 100)
    return width / (-2 * float(special.ndtri(alpha / 2)))


def _target(experiment: Experiment) -> float | None:
    criterion = experiment.success_criterion
    return criterion.signed_pct if isinstance(criterion, Delta) else None


def _shortfall(line: PortfolioLine) -> float:
    return abs(line.detectable_pct or 0.0) / abs(line.target_pct or 1.0)
