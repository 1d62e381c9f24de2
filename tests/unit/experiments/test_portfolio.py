"""Which experiments need attention: from the plan, the sessions so far and the time that is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from experiment_cases import DAY_MS, make_experiment, make_frame, make_line

from kaizen_analytics.core.model import Absolute, Delta, DesignKind, Direction, Experiment, GitCommit, State
from kaizen_analytics.experiments.assess import assess
from kaizen_analytics.experiments.decide import Headline
from kaizen_analytics.experiments.plan import Plan, Start
from kaizen_analytics.experiments.portfolio import (
    Portfolio,
    PortfolioLine,
    _PortfolioArm,
    _rank,
    _summarise,
    read_portfolio,
)
from kaizen_analytics.stats import Interval
from kaizen_analytics.store import Store, save_experiment

EXPERIMENT = make_experiment(id="e1", duration_days=20, state=State.RUNNING)
START = Start(started_at_ms=0, window_start_ms=0, window_end_ms=20 * DAY_MS)
VALUES = list(np.exp(np.linspace(-1, 1, 40)) * 1000)


def around(estimate: float) -> Interval:
    return Interval(estimate=estimate, low=-40.0, high=40.0)


def arm(n: int, planned_n: int | None, expected_n: int) -> _PortfolioArm:
    return _PortfolioArm(n=n, planned_n=planned_n, expected_n=expected_n)


@pytest.fixture
def summarised() -> Callable[..., PortfolioLine]:
    """Return a function that summarises 40 and 40 sessions after 10 of 20 days."""

    def make(
        experiment: Experiment = EXPERIMENT, now_ms: int = 10 * DAY_MS, planned_n: int | None = 100
    ) -> PortfolioLine:
        plan = Plan(design=DesignKind.PLANNED if planned_n else DesignKind.OPEN, planned_n=planned_n, started=START)
        frame = make_frame(VALUES, [0.8 * value for value in VALUES])
        return _summarise(assess(frame, experiment, plan, START, as_of_ms=now_ms, provenance={}), now_ms)

    return make


def test_half_of_the_time_doubles_the_sessions(summarised: Callable[..., PortfolioLine]) -> None:
    found = summarised()
    assert (found.control, found.treatment) == (arm(40, 100, 80), arm(40, 100, 80))
    assert found.slowest == found.control
    assert found.is_running_out(10 * DAY_MS)
    assert not summarised(planned_n=80).is_running_out(10 * DAY_MS)
    assert not summarised(planned_n=None).is_running_out(10 * DAY_MS), "without a plan there is nothing to miss"


def test_after_the_end_nothing_is_expected_and_it_is_left_open(summarised: Callable[..., PortfolioLine]) -> None:
    assert summarised().final_n == 100
    found = summarised(now_ms=20 * DAY_MS)
    assert found.final_n == 40
    assert found.treatment == arm(40, 100, 40)
    assert found.is_left_open(20 * DAY_MS)
    assert not found.is_running_out(20 * DAY_MS)
    concluded = summarised(replace(EXPERIMENT, state=State.CONCLUDED), now_ms=20 * DAY_MS)
    assert not concluded.is_left_open(20 * DAY_MS)


def test_the_control_arm_of_a_commit_lies_in_the_past(summarised: Callable[..., PortfolioLine]) -> None:
    found = summarised(replace(EXPERIMENT, binding=GitCommit("a", "b")))
    assert (found.control, found.treatment) == (arm(40, 100, 40), arm(40, 100, 80))


def test_more_planned_sessions_find_smaller_changes(summarised: Callable[..., PortfolioLine]) -> None:
    few, many = (summarised(planned_n=n).detectable_pct for n in (50, 200))
    assert few < many < 0
    # the error falls with the square root of the sessions; the two analyses have intervals of different levels
    assert math.log1p(few / 100) / math.log1p(many / 100) == pytest.approx(2, rel=0.05)


def test_an_experiment_is_underpowered_when_its_target_is_smaller_than_what_it_can_see(
    summarised: Callable[..., PortfolioLine],
) -> None:
    assert summarised(planned_n=50).is_underpowered
    assert not summarised(planned_n=50_000).is_underpowered
    demanding = Delta(direction=Direction.INCREASE, target_pct=20.0)
    assert summarised(replace(EXPERIMENT, success_criterion=demanding)).detectable_pct > 0
    absolute = summarised(replace(EXPERIMENT, success_criterion=Absolute(metric_value=5)))
    assert (absolute.target_pct, absolute.detectable_pct, absolute.is_underpowered) == (None, None, False)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"detectable_pct": -30.0}, True),
        ({"detectable_pct": -20.0}, False),
        ({"detectable_pct": None}, False),
        ({"detectable_pct": -30.0, "state": State.CONCLUDED}, True),
        ({"detectable_pct": -30.0, "state": State.CONCLUDED, "headline": Headline.SHIP}, False),
        ({"detectable_pct": -30.0, "target_pct": 0.0}, False),
    ],
)
def test_only_open_questions_are_underpowered(fields: dict[str, object], expected: bool) -> None:  # noqa: FBT001
    assert make_line(**fields).is_underpowered is expected


def test_the_arm_that_is_furthest_behind_is_named() -> None:
    behind = make_line(control=arm(5, 100, 90), treatment=arm(5, 50, 40))
    assert behind.slowest == arm(5, 50, 40)
    assert make_line(control=arm(5, 100, 100), treatment=arm(5, None, 6)).slowest is None


def test_the_ranking_is_state_then_decision_then_gain() -> None:
    lines = [
        make_line(id="draft", state=State.DRAFT, decision=None, percent=None),
        make_line(id="running"),
        make_line(id="bad", state=State.CONCLUDED, headline=Headline.DO_NOT_SHIP),
        make_line(
            id="good",
            state=State.CONCLUDED,
            headline=Headline.SHIP,
            percent=around(-10.0),
        ),
        make_line(
            id="best",
            state=State.CONCLUDED,
            headline=Headline.SHIP,
            percent=around(20.0),
            better=Direction.INCREASE,
        ),
        make_line(id="unknown", state=State.CONCLUDED, headline=Headline.SHIP, percent=None),
    ]
    assert [item.id for item in _rank(lines)] == ["best", "good", "unknown", "bad", "running", "draft"]


def test_lists_are_ordered_by_urgency() -> None:
    lines = (
        make_line(id="b", end_ms=5 * DAY_MS, detectable_pct=-40.0),
        make_line(id="a", end_ms=4 * DAY_MS, detectable_pct=-60.0),
        make_line(id="late", end_ms=12 * DAY_MS, control=arm(1, 9, 2)),
        make_line(id="soon", end_ms=11 * DAY_MS, control=arm(1, 9, 2)),
        make_line(id="draft", state=State.DRAFT, verdict=None, decision=None),
    )
    found = Portfolio(as_of_ms=10 * DAY_MS, lines=lines, archived=0, unreadable=())
    assert [item.id for item in found.left_open] == ["a", "b"]
    assert [item.id for item in found.running_out] == ["soon", "late"]
    assert [item.id for item in found.underpowered] == ["a", "b"]
    assert [item.id for item in found.waiting] == ["draft"]
    assert [item.id for item in found.decided] == ["b", "a", "late", "soon"]


def test_a_store_gives_every_experiment_and_says_what_is_wrong(store: Store) -> None:
    for place, state in enumerate((State.DRAFT, State.RUNNING, State.ARCHIVED)):
        save_experiment(store, replace(EXPERIMENT, id=f"e{place}", state=state))
    store.native("insert into experiments (id, name, created_at_ms, metadata) values ('e9', 'x', 6, '{') returning 1")
    found = read_portfolio(store, now_ms=DAY_MS)
    assert [item.id for item in found.lines] == ["e1", "e0"]
    assert "exp start e1" in (found.lines[0].problem or "")
    assert found.archived == 1
    assert len(found.unreadable) == 1
    assert "e9" in found.unreadable[0]
