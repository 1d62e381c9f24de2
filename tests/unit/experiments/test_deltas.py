"""Point estimates of six sessions, by hand."""

import polars as pl
import pytest

from kaizen_analytics.core.model import Absolute, Delta, Direction, Metric
from kaizen_analytics.experiments.compare import compare_with_criterion, compute_arms, compute_deltas

TOKENS, SUCCESS = Metric.TOKENS_PER_SESSION, Metric.SUCCESS_RATE
SAMPLE = pl.DataFrame(
    {
        "variant": ["Control", "Control", "Control", "Treatment", "Treatment", "Treatment", "Excluded"],
        "tokens_per_session": [100.0, 200.0, 600.0, 90.0, None, 150.0, 1e9],
        "success_rate": [1.0, 1.0, 0.0, 1.0, 1.0, 1.0, 0.0],
    }
)


def test_arms_count_values_and_missing_ones() -> None:
    assert compute_arms(SAMPLE, [TOKENS]).rows() == [
        ("tokens_per_session", "Control", 3, 0, 200.0, 300.0),
        ("tokens_per_session", "Treatment", 2, 1, 120.0, 120.0),
    ]


def test_an_empty_arm_has_a_row() -> None:
    controls = SAMPLE.filter(pl.col("variant") == "Control")
    assert compute_arms(controls, [TOKENS]).row(1) == ("tokens_per_session", "Treatment", 0, 0, None, None)


def test_quantities_are_compared_by_medians_and_proportions_by_shares() -> None:
    tokens, success = compute_deltas(SAMPLE, [TOKENS, SUCCESS]).to_dicts()
    assert tokens == {
        "metric": "tokens_per_session",
        "control_n": 3,
        "treatment_n": 2,
        "control": 200.0,
        "treatment": 120.0,
        "difference": -80.0,
        "percent": pytest.approx(-40.0),
    }
    assert (success["control"], success["treatment"]) == (pytest.approx(2 / 3), 1.0)
    assert success["percent"] == pytest.approx(50.0)


def test_a_control_of_zero_has_no_percent_change() -> None:
    zero = SAMPLE.with_columns(tokens_per_session=pl.lit(0.0))
    assert compute_deltas(zero, [TOKENS])["percent"].to_list() == [None]


@pytest.mark.parametrize(
    ("criterion", "target", "gain", "reached"),
    [
        (Delta(direction=Direction.DECREASE, target_pct=-30.0), -30.0, 40.0, True),
        (Delta(direction=Direction.DECREASE, target_pct=50.0), -50.0, 40.0, False),
        (Delta(direction=Direction.INCREASE, target_pct=10.0), 10.0, -40.0, False),
        (Absolute(metric_value=120.0), 120.0, 0.0, True),
        (Absolute(metric_value=100.0), 100.0, -20.0, False),
    ],
)
def test_deltas_against_the_criterion(
    criterion: Delta | Absolute, target: float, gain: float, *, reached: bool
) -> None:
    [row] = compare_with_criterion(compute_deltas(SAMPLE, [TOKENS]), TOKENS, criterion).to_dicts()
    assert (row["target"], row["reached"]) == (target, reached)
    assert row["gain"] == pytest.approx(gain)
