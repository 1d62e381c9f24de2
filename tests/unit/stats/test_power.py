"""Planning: formulas against simulation and against known scales."""

import math

import numpy as np
import pytest

from kaizen_analytics.errors import StatisticsError
from kaizen_analytics.stats import (
    Design,
    DesignKind,
    EffectKind,
    Pilot,
    minimum_detectable_effect,
    plan,
    read_pilot,
    sample_size,
    simulate_power,
)

PLANNED = Design(kind=DesignKind.PLANNED, planned_n=300)
PILOT = Pilot(kind=EffectKind.MEDIAN, n=400, scale=1.2533, design_effect=1.0)


def lognormal(n: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(9, 1, n)


def test_scale_of_a_lognormal_median_is_known():
    scales = [read_pilot(lognormal(2_000, seed)).scale for seed in range(10)]

    assert np.mean(scales) == pytest.approx(math.sqrt(math.pi / 2), rel=0.05)


def test_scale_of_a_mean_is_its_coefficient_of_variation():
    values = lognormal(500)

    pilot = read_pilot(values, kind=EffectKind.MEAN)

    assert pilot.scale == pytest.approx(values.std(ddof=1) / values.mean())


def test_scale_of_a_share_is_that_of_its_log():
    assert read_pilot(np.arange(100) < 20, kind=EffectKind.PROPORTION).scale == pytest.approx(2.0)


def test_a_high_quantile_needs_more_sessions_than_the_median():
    values = lognormal(2_000)

    assert read_pilot(values, kind=EffectKind.QUANTILE, quantile=0.9).scale > 1.1 * read_pilot(values).scale


def test_clusters_raise_the_design_effect():
    rng = np.random.default_rng(0)
    codes = np.repeat(np.arange(20), 20)
    values = np.exp(rng.normal(0, 1, 20)[codes] + rng.normal(0, 0.3, 400))

    assert read_pilot(values, clusters=codes).design_effect > 5
    assert read_pilot(values).design_effect == 1.0


def test_sample_size_and_detectable_effect_are_inverse():
    n = sample_size(PILOT, -30)

    fall, _ = minimum_detectable_effect(PILOT, n, n)
    assert fall == pytest.approx(-30, abs=0.2)


def test_the_planned_design_needs_a_fifth_more_sessions():
    assert sample_size(PILOT, -30, design=PLANNED) / sample_size(PILOT, -30) == pytest.approx(1.21, abs=0.02)


def test_proving_a_target_needs_more_than_proving_any_effect():
    assert sample_size(PILOT, -30, target_pct=-10) > 1.5 * sample_size(PILOT, -30)


def test_a_design_effect_multiplies_the_sessions():
    clustered = Pilot(kind=EffectKind.MEDIAN, n=400, scale=1.2533, design_effect=3.0)

    assert sample_size(clustered, -30) == pytest.approx(3 * sample_size(PILOT, -30), rel=0.01)


def test_formula_agrees_with_simulation():
    values = lognormal(5_000)
    n = sample_size(read_pilot(values), -30)

    assert simulate_power(values, n, n, -30, simulations=300) == pytest.approx(0.8, abs=0.1)


def test_simulation_agrees_for_a_target_and_a_rise():
    values = lognormal(5_000)
    n = sample_size(read_pilot(values), 60, target_pct=20)

    assert simulate_power(values, n, n, 60, target_pct=20, simulations=300) == pytest.approx(0.8, abs=0.1)


def test_simulation_without_an_effect_finds_little():
    assert simulate_power(lognormal(2_000), 60, 60, 0, simulations=200) < 0.06


def test_simulation_is_repeatable():
    values = lognormal(300)

    assert simulate_power(values, 50, 50, -30, simulations=40) == simulate_power(values, 50, 50, -30, simulations=40)


def test_plan_says_sessions_and_days():
    result = plan(PILOT, -30, sessions_per_day=20)

    assert result.n_per_arm == sample_size(PILOT, -30)
    assert result.days == math.ceil(2 * result.n_per_arm / 20)
    assert f"{result.n_per_arm} sessions per arm" in result.sentence
    assert f"{result.days} days" in result.sentence


def test_plan_without_any_session_coming_in_has_no_days():
    result = plan(PILOT, -30, sessions_per_day=0)

    assert result.days is None
    assert "never end" in result.sentence


@pytest.mark.parametrize(
    ("true_pct", "target_pct"),
    [(-10, -10), (-5, -10), (10, -10), (0, 0), (-100, -10)],
)
def test_truths_that_cannot_prove_the_target_are_rejected(true_pct, target_pct):
    with pytest.raises(StatisticsError):
        sample_size(PILOT, true_pct, target_pct=target_pct)


def test_pilots_without_a_percent_change_are_rejected():
    with pytest.raises(StatisticsError, match="past quantile"):
        read_pilot([0] * 30 + [1] * 30)
    with pytest.raises(StatisticsError, match="past share"):
        read_pilot([0] * 30, kind=EffectKind.PROPORTION)
    with pytest.raises(StatisticsError, match="past mean"):
        read_pilot([-1.0, -2, -3, -4, -5], kind=EffectKind.MEAN)
    with pytest.raises(StatisticsError, match="at least 5"):
        read_pilot([1.0, 2])


def test_the_exact_design_has_no_formula():
    with pytest.raises(StatisticsError, match="exact design"):
        sample_size(PILOT, -30, design=Design(kind=DesignKind.EXACT))
