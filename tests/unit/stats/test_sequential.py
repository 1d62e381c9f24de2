"""Levels under interim analyses."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.core.model import DesignKind
from kaizen_analytics.stats import Design, median_effect, proportion_effect, sessions_within_plan
from kaizen_analytics.stats.effect import Obstacle
from kaizen_analytics.stats.sequential import FIXED, _last_boundary, _planned_boundary, adjust_p_value, effective_alpha

PLANNED = Design(kind=DesignKind.PLANNED, planned_n=300)
OPEN = Design(kind=DesignKind.OPEN, planned_n=300)


def lognormal(seed: int, n: int, scale: float = 1.0) -> np.ndarray:
    return scale * np.random.default_rng(seed).lognormal(9, 1, n)


def test_planned_boundary_is_the_reflection_principle():
    assert _planned_boundary(0.05) == pytest.approx(2.2414, abs=1e-4)
    assert 4 * stats.norm.sf(_planned_boundary(0.01)) == pytest.approx(0.01)


def test_fixed_design_keeps_the_level():
    assert effective_alpha(FIXED, 0.05, 0.3) == 0.05
    assert adjust_p_value(FIXED, 0.03, 0.05, 0.3) == 0.03


def test_planned_level_rises_with_information_and_stays_at_the_end():
    levels = [effective_alpha(PLANNED, 0.05, share) for share in (0.1, 0.25, 0.5, 1.0, 1.5)]

    assert levels == sorted(levels)
    assert levels[3] == levels[4] == pytest.approx(2 * stats.norm.sf(2.2414), rel=1e-4)
    assert levels[1] == pytest.approx(2 * stats.norm.sf(2.2414 / 0.5), rel=1e-3)


def spent(share: float, alpha: float = 0.05) -> float:
    """Lan and DeMets' spending function of the O'Brien-Fleming type, both sides."""
    return 4 * float(stats.norm.sf(stats.norm.ppf(1 - alpha / 4) / math.sqrt(share)))


def boundaries(shares: np.ndarray, targets: list[float]) -> list[float]:
    """Return the critical values of looks at these shares of the information (Armitage, McPherson & Rowe 1969)."""
    grid, density, before, used, found = np.zeros(1), np.ones(1), 0.0, 0.0, []
    for share, target in zip(shares, targets, strict=True):
        sd = math.sqrt(share - before)

        def beyond(b: float, grid=grid, density=density, sd=sd) -> float:
            return float(density @ (stats.norm.sf((b - grid) / sd) + stats.norm.cdf((-b - grid) / sd)))

        b = optimize.brentq(lambda b: beyond(b) - (target - used), 1e-6, 12.0)  # noqa: B023 - called at once
        used += beyond(b)
        points = np.linspace(-b, b, 601)
        weights = np.full(601, points[1] - points[0])
        weights[[0, -1]] /= 2
        density = weights * (stats.norm.pdf((points[:, None] - grid) / sd) @ density) / sd
        grid, before = points, share
        found.append(b / math.sqrt(share))
    return found


def test_the_recursion_gives_the_published_boundaries_of_lan_and_demets():
    # five equally spaced looks at 5 %, two-sided: Lan & DeMets 1983; Jennison & Turnbull 2000, ch. 7
    shares = np.arange(1, 6) / 5
    found = boundaries(shares, [spent(share) for share in shares])
    assert found == pytest.approx([4.8769, 3.3569, 2.6803, 2.2898, 2.0310], abs=2e-3)


@pytest.mark.parametrize("end", [0.4, 0.7, 0.9])
def test_the_last_look_spends_what_many_looks_before_have_left(end):
    shares = np.linspace(end / 60, end, 60)
    targets = [spent(share) for share in shares[:-1]] + [0.05]
    last = boundaries(shares, targets)[-1]
    ours = _last_boundary(0.05, end) / math.sqrt(end)
    assert last - 1e-3 <= ours <= last + 0.03  # we allow for a look after every session


def test_the_last_look_has_nearly_the_whole_level_and_at_the_plan_what_any_look_has():
    last = replace(PLANNED, is_last=True)
    assert effective_alpha(last, 0.05, 0.4) == pytest.approx(0.05, abs=1e-4)
    assert effective_alpha(last, 0.05, 1.0) == pytest.approx(effective_alpha(PLANNED, 0.05, 1.0), rel=1e-3)
    levels = [effective_alpha(last, 0.05, share) for share in (0.1, 0.5, 0.8, 0.95, 1.0)]
    assert levels == sorted(levels, reverse=True)


@pytest.mark.parametrize("information", [0.05, 0.4, 0.8, 0.99])
def test_the_p_value_of_the_last_look_is_the_level_that_it_reaches(information):
    last = replace(PLANNED, is_last=True)
    for level in (0.001, 0.05, 0.3):
        p_value = effective_alpha(last, level, information)
        assert adjust_p_value(last, p_value, 0.05, information) == pytest.approx(level, rel=1e-6)
    assert adjust_p_value(last, 1.0, 0.05, information) == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("came", [100, 200, 250])
def test_looks_until_the_end_of_the_window_keep_the_level(came):
    rng = np.random.default_rng(came)
    runs, share = 20_000, np.arange(1, came + 1) / 250
    paths = rng.normal(0, math.sqrt(1 / 250), (runs, came)).cumsum(axis=1)
    early = (np.abs(paths[:, :-1]) > _planned_boundary(0.05)).any(axis=1)
    wrong = np.mean(early | (np.abs(paths[:, -1]) > _last_boundary(0.05, share[-1])))
    assert 0.04 < wrong < 0.0545  # Monte Carlo error 0.0015


def test_the_minimum_follows_the_plan():
    assert [replace(PLANNED, planned_n=n).minimum for n in (8, 30, 44, 300)] == [10, 15, 22, 30]
    assert replace(PLANNED, planned_control_n=20, planned_n=80).minimum == 10
    assert replace(PLANNED, is_last=True).minimum == 10
    assert (OPEN.minimum, FIXED.minimum) == (30, 0)


@pytest.mark.parametrize("share", [0.5, 0.3])
def test_a_coin_per_session_reaches_its_plan_and_is_judged(share):
    design = Design(kind=DesignKind.PLANNED, planned_n=30)
    for seed in range(100):
        treated = np.random.default_rng(seed).random(400) < share
        used = treated[: sessions_within_plan(treated, design)]
        assert min(used.sum(), (~used).sum()) >= design.minimum


def test_open_level_is_tightest_near_its_plan():
    levels = {share: effective_alpha(OPEN, 0.05, share) for share in (0.01, 0.5, 1.0, 2.0, 100.0)}

    assert max(levels, key=levels.get) in (0.5, 1.0, 2.0)
    assert levels[1.0] < 0.02
    assert effective_alpha(OPEN, 0.05, 0.0) == 0.0


def share(design: Design, n_control: int, n_treatment: int) -> float:
    """The information of independent sessions."""
    return design.information((n_control, n_treatment), (n_control, n_treatment))


def test_information_weighs_the_smaller_arm():
    # 300 control and 100 treatment sessions are as good as 150 and 150.
    assert share(PLANNED, 300, 100) == pytest.approx(0.5)
    assert share(PLANNED, 300, 300) == 1.0
    assert share(PLANNED, 300, 0) == 0.0


def test_a_complete_control_arm_has_its_own_plan():
    design = Design(kind=DesignKind.PLANNED, planned_n=200, planned_control_n=1000)

    assert share(design, 1000, 200) == pytest.approx(1.0)
    assert share(design, 1000, 50) == pytest.approx(0.2857, abs=1e-4)


def test_an_expected_design_effect_lowers_the_planned_information():
    design = Design(kind=DesignKind.PLANNED, planned_n=300, design_effect=3.0)

    assert design.information((100, 100), (300, 300)) == pytest.approx(1.0)
    assert design.arm_information(1, 100, 300) == pytest.approx(1.0)


def test_more_information_than_expected_does_not_let_the_plan_run_over():
    # A design effect of 6 was expected where there is none: half the sessions are half the plan.
    wrong = Design(kind=DesignKind.PLANNED, planned_n=300, design_effect=6.0)
    assert share(wrong, 150, 150) == pytest.approx(0.5)
    assert wrong.arm_information(0, 150, 150) == pytest.approx(0.5)
    # A covariate makes 150 sessions worth 300.
    assert PLANNED.information((300, 300), (150, 150)) == pytest.approx(0.5)
    # The open design has no end to run over.
    assert replace(wrong, kind=DesignKind.OPEN).information((150, 150), (150, 150)) == pytest.approx(3.0)


@pytest.mark.parametrize("design", [PLANNED, OPEN])
@pytest.mark.parametrize("information", [0.2, 0.7, 1.0])
def test_adjusted_p_value_is_the_level_at_which_the_design_rejects(design, information):
    fixed = effective_alpha(design, 0.05, information)

    assert adjust_p_value(design, fixed, 0.05, information) == pytest.approx(0.05, rel=1e-6)


def test_adjusted_p_values_are_no_larger_than_one():
    assert adjust_p_value(PLANNED, 1.0, 0.05, 0.5) == 1.0
    assert adjust_p_value(OPEN, 1.0, 0.05, 0.5) == 1.0


def test_brownian_motion_crosses_the_planned_boundary_in_five_percent():
    rng = np.random.default_rng(0)
    steps = rng.normal(size=(4_000, 500)) / math.sqrt(500)
    motion = np.cumsum(steps, axis=1)

    crossed = np.mean(np.abs(motion).max(axis=1) > _planned_boundary(0.05))

    assert 0.03 < crossed < 0.055


@pytest.mark.parametrize("design", [PLANNED, OPEN])
def test_sequential_intervals_contain_the_fixed_one(design):
    control, treatment = lognormal(1, 150), lognormal(2, 150)

    fixed, sequential = median_effect(control, treatment), median_effect(control, treatment, design=design)

    assert sequential.difference.low < fixed.difference.low
    assert sequential.difference.high > fixed.difference.high
    assert sequential.p_value > fixed.p_value
    assert sequential.alpha < 0.05 == sequential.nominal_alpha
    assert sequential.information == pytest.approx(0.5)


def test_an_analysis_that_is_too_early_has_no_limits():
    design = Design(kind=DesignKind.PLANNED, planned_n=5_000)

    effect = median_effect(lognormal(1, 40), lognormal(2, 40), design=design)

    assert (effect.difference.low, effect.difference.high) == (-math.inf, math.inf)
    assert not math.isnan(effect.p_value)


@pytest.mark.parametrize("design", [PLANNED, OPEN])
def test_asymptotic_designs_wait_for_thirty_sessions(design):
    early = median_effect(lognormal(1, 29), lognormal(2, 90), design=design)
    assert (early.shortage.obstacle, early.shortage.found, early.shortage.needed) == (Obstacle.TOO_EARLY, 29, 30)
    assert median_effect(lognormal(1, 30), lognormal(2, 90), design=design).shortage is None


def test_sessions_within_plan_stop_at_the_planned_information():
    arms = np.tile([False, True], 500)

    assert sessions_within_plan(arms, PLANNED) == 600
    assert sessions_within_plan(arms[:100], PLANNED) == 100
    assert sessions_within_plan(arms, FIXED) == 1000


def test_sessions_within_plan_count_an_arm_that_came_first():
    arms = np.concatenate((np.zeros(600, bool), np.ones(600, bool)))

    # 600 control and 200 treatment sessions hold as much as 300 and 300.
    assert sessions_within_plan(arms, PLANNED) == 800


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kind": DesignKind.PLANNED}, "planned_n"),
        ({"kind": DesignKind.OPEN, "planned_n": 0}, "planned_n is 0"),
        ({"planned_n": 10, "planned_control_n": -1}, "planned_control_n is -1"),
        ({"design_effect": 0.0}, "design_effect"),
    ],
)
def test_impossible_designs_are_rejected(arguments, message):
    with pytest.raises(StatisticsError, match=message):
        Design(**arguments)


def test_proportions_use_the_design_too():
    control, treatment = np.arange(150) % 3 == 0, np.arange(150) % 2 == 0

    fixed, planned = proportion_effect(control, treatment), proportion_effect(control, treatment, design=PLANNED)

    assert planned.percent.low < fixed.percent.low
    assert planned.p_value > fixed.p_value


@pytest.mark.parametrize("came", [10, 40, 80])
def test_a_short_past_is_judged_and_never_too_early_and_over_the_plan_at_once(came):
    design = Design(kind=DesignKind.PLANNED, planned_n=80, planned_control_n=20)
    control, treatment = lognormal(1, 20), lognormal(2, came, scale=0.14)
    arms = np.repeat([False, True], [20, came])

    effect = median_effect(control, treatment, design=design)

    assert effect.shortage is None
    assert sessions_within_plan(arms, design) == arms.size
    assert effect.information <= 1.05
    if came == 80:
        assert effect.percent.high < 0
