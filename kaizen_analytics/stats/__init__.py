"""Pure statistics on numpy arrays: quantiles, means, proportions, clusters, looks, power.

`median_effect`, `quantile_effect`, `mean_effect` and `proportion_effect` compare two arms and return an `Effect`: the
difference and the percent change with intervals, a p value, and one plain sentence. Nothing here draws a random number
except `simulate_power`, which plans and never judges. See docs/statistics.md for the methods and their sources.
"""

from __future__ import annotations

from kaizen_analytics.stats import lean_scipy  # noqa: F401 - before scipy
from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval
from kaizen_analytics.stats.means import mean_effect
from kaizen_analytics.stats.medians import median_effect, median_percent, quantile_effect
from kaizen_analytics.stats.multiplicity import adjust_holm
from kaizen_analytics.stats.power import (
    Pilot,
    Plan,
    minimum_detectable_effect,
    plan,
    read_pilot,
    sample_size,
    simulate_power,
)
from kaizen_analytics.stats.proportions import proportion_effect
from kaizen_analytics.stats.sequential import Design, DesignKind, sessions_within_plan
from kaizen_analytics.stats.srm import RatioStatus, SampleRatio, check_sample_ratio

__all__ = [
    "ArmSummary",
    "Design",
    "DesignKind",
    "Effect",
    "EffectKind",
    "Interval",
    "Pilot",
    "Plan",
    "RatioStatus",
    "SampleRatio",
    "adjust_holm",
    "check_sample_ratio",
    "mean_effect",
    "median_effect",
    "median_percent",
    "minimum_detectable_effect",
    "plan",
    "proportion_effect",
    "quantile_effect",
    "read_pilot",
    "sample_size",
    "sessions_within_plan",
    "simulate_power",
]
