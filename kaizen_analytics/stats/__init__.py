"""Pure statistics on numpy arrays: medians, means, shares, clusters, interim analyses.

    distributions   the sampling distribution of a median, computed instead of simulated
    comparison      arrays become checked samples, a design becomes a level; what clusters do to precision
    medians, means  one `Effect` from two arms: medians; means, ratios of totals and shares
    before_after    arms that are separated in time, beside their history
    sequential      when the data may be analysed, and at which level; several tests at once
    srm             sample ratio mismatch

Results are numbers and enumerations; `pages.sentences` says them in words. Nothing here draws a random number.
See docs/explanation/statistics.md for the methods and their sources.
"""

from __future__ import annotations

from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval
from kaizen_analytics.stats.means import mean_effect, proportion_effect
from kaizen_analytics.stats.medians import median_effect
from kaizen_analytics.stats.sequential import Design, adjust_benjamini_hochberg, adjust_holm, sessions_within_plan
from kaizen_analytics.stats.srm import RatioStatus, SampleRatio, check_sample_ratio

__all__ = [
    "ArmSummary",
    "Design",
    "Effect",
    "EffectKind",
    "Interval",
    "RatioStatus",
    "SampleRatio",
    "adjust_benjamini_hochberg",
    "adjust_holm",
    "check_sample_ratio",
    "mean_effect",
    "median_effect",
    "proportion_effect",
    "sessions_within_plan",
]
