"""Clusters and covariates."""

import numpy as np
import pytest

from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.stats import mean_effect, median_effect, proportion_effect
from kaizen_analytics.stats.comparison import (
    ArmSample,
    _read_samples,
    student_inflation,
)
from kaizen_analytics.stats.distributions import Distribution, Quantile
from kaizen_analytics.stats.effect import Obstacle, Shortage
from kaizen_analytics.stats.medians import _MedianPair

CODES = np.repeat(np.arange(12), 20)


def median_distribution(sample: np.ndarray) -> Distribution:
    return Quantile.of(sample, 0.5).distribution()


def clustered(seed: int, *, joint: bool = False, icc: float = 0.5):
    rng = np.random.default_rng(seed)
    levels = rng.normal(0, np.sqrt(icc), (2, 12))
    if joint:
        levels[1] = levels[0]
    arms = [np.exp(9 + level[CODES] + rng.normal(0, np.sqrt(1 - icc), CODES.size)) for level in levels]
    return arms[0], arms[1], (CODES, CODES if joint else CODES + 100)


def width(effect) -> float:
    return effect.percent.high - effect.percent.low


def test_variance_of_equal_clusters_is_that_of_their_means():
    control, _, _ = clustered(1)
    means = control.reshape(12, 20).mean(axis=1)

    precision = ArmSample("control", control, CODES).measure(control, None)

    assert precision.variance == pytest.approx(means.var(ddof=1) / 12, rel=1e-12)
    assert precision.degrees == pytest.approx(11)
    assert precision.n_effective == pytest.approx(control.var() / (12 * 20) * 240 / precision.variance, rel=1e-9)


def test_one_large_cluster_costs_degrees_of_freedom():
    rng = np.random.default_rng(2)
    sizes = np.array([200, 10, 10, 10, 10, 10])
    codes = np.repeat(np.arange(6), sizes)
    values = rng.normal(0, 1, 6)[codes] + rng.normal(0, 0.1, codes.size)

    precision = ArmSample("control", values, codes).measure(values, None)

    assert 1 <= precision.degrees < 2


def test_clusters_never_make_sessions_count_for_more():
    rng = np.random.default_rng(3)
    values = np.tile(np.arange(20.0), 12) + rng.normal(0, 1e-3, 240)

    precision = ArmSample("control", values, CODES).measure(values, None)

    assert precision.design_effect == pytest.approx(1.0)


def test_student_inflation_is_one_without_clusters():
    assert student_inflation(np.inf, 0.05) == 1.0
    assert student_inflation(3, 0.05) == pytest.approx((3.182446 / 1.959964) ** 2, rel=1e-6)


@pytest.mark.parametrize("compare", [median_effect, mean_effect])
def test_clusters_widen_and_shared_clusters_narrow_the_interval(compare):
    control, treatment, codes = clustered(4, joint=True)

    plain = compare(control, treatment)
    separate = compare(control, treatment, clusters=(CODES, CODES + 100))
    joint = compare(control, treatment, clusters=codes)

    assert width(plain) < width(separate)
    assert width(joint) < 0.8 * width(separate)
    assert (joint.control.clusters, joint.treatment.clusters) == (12, 12)


def test_correlation_of_shared_clusters_is_high():
    control, treatment, codes = clustered(5, joint=True, icc=0.9)
    samples = _read_samples(control, treatment, codes, None)
    precisions = [sample.measure(sample.values, None) for sample in (samples.control, samples.treatment)]

    assert samples.correlate(*precisions) > 0.6
    assert samples.degrees(*precisions) == pytest.approx(11)


def test_separate_clusters_are_not_correlated():
    control, treatment, codes = clustered(6)
    samples = _read_samples(control, treatment, codes, None)
    precisions = [sample.measure(sample.values, None) for sample in (samples.control, samples.treatment)]

    assert not samples.joint
    assert samples.correlate(*precisions) == 0.0


def test_swapping_arms_with_shared_clusters_mirrors_the_difference():
    control, treatment, codes = clustered(7, joint=True)

    there = median_effect(control, treatment, clusters=codes).difference
    back = median_effect(treatment, control, clusters=codes[::-1]).difference

    assert (there.low, there.high) == (-back.high, -back.low)


def test_a_correlated_pair_keeps_the_distribution_of_each_arm():
    rng = np.random.default_rng(0)
    constant, spread = median_distribution(np.zeros(50)), median_distribution(rng.normal(size=51))

    pair = _MedianPair.joined(constant, spread, 0.9)

    for point in np.quantile(spread.values, (0.2, 0.4, 0.5, 0.6, 0.8)):
        shifted = _MedianPair.joined(median_distribution(np.full(50, point)), spread, 0.9)
        assert shifted.difference_tails()[0] == pytest.approx(spread.at_most(point), abs=5e-3)
    assert pair.difference_limits(0.05) == pytest.approx(spread.limits(0.05), abs=0.02)


def test_names_and_numbers_of_clusters_mean_the_same():
    control, treatment, codes = clustered(8, joint=True)
    names = tuple([f"workspace {code}" for code in part] for part in codes)

    assert median_effect(control, treatment, clusters=names) == median_effect(control, treatment, clusters=codes)


def test_the_order_of_sessions_changes_nothing():
    control, treatment, codes = clustered(9, joint=True)
    order = np.random.default_rng(0).permutation(control.size)

    plain = median_effect(control, treatment, clusters=codes)
    shuffled = median_effect(control[order], treatment, clusters=(codes[0][order], codes[1]))

    assert (shuffled.difference.low, shuffled.difference.high) == pytest.approx(
        (plain.difference.low, plain.difference.high),
        rel=1e-9,
    )


def test_a_cluster_that_is_nearly_the_whole_arm_gives_no_interval():
    control, treatment, _ = clustered(9)
    sizes = [216, *[6] * 4]
    codes = np.repeat(np.arange(5), sizes)

    effect = median_effect(control, treatment, clusters=(codes, CODES + 100))

    assert effect.shortage == Shortage(obstacle=Obstacle.UNEQUAL_CLUSTERS, arm="control", found=216, needed=240)
    assert median_effect(control, treatment, clusters=(codes, codes)).difference is not None
    even = np.repeat(np.arange(2), 120)
    assert median_effect(control, treatment, clusters=(even, even + 2)).difference is not None


def test_fewer_than_two_clusters_are_insufficient():
    control, treatment, _ = clustered(10)

    effect = median_effect(control, treatment, clusters=(np.zeros(240, int), CODES))

    assert (effect.shortage.obstacle, effect.shortage.found) == (Obstacle.FEW_CLUSTERS, 1)


def test_two_clusters_are_too_few_for_a_covariate():
    control, treatment, _ = clustered(11)
    codes, covariate = CODES % 2, np.arange(240.0)

    effect = median_effect(control, treatment, clusters=(codes, codes + 2), covariate=(covariate, covariate))

    assert (effect.shortage.obstacle, effect.shortage.needed) == (Obstacle.FEW_CLUSTERS, 3)


@pytest.mark.parametrize("compare", [median_effect, mean_effect])
def test_a_covariate_that_explains_the_values_narrows_the_interval(compare):
    rng = np.random.default_rng(12)
    before = rng.normal(9, 1, (2, 300))
    control, treatment = np.exp(before + rng.normal(0, 0.3, (2, 300)))

    plain = compare(control, treatment)
    adjusted = compare(control, treatment, covariate=(before[0], before[1]))

    assert width(adjusted) < 0.7 * width(plain)


def test_a_covariate_removes_an_imbalance_from_before():
    rng = np.random.default_rng(13)
    before = np.stack((rng.normal(9.0, 1, 400), rng.normal(9.4, 1, 400)))
    control, treatment = np.exp(before + rng.normal(0, 0.3, (2, 400)))

    plain = median_effect(control, treatment)
    adjusted = median_effect(control, treatment, covariate=(before[0], before[1]))

    assert plain.percent.low > 0
    assert adjusted.percent.low < 0 < adjusted.percent.high


def test_a_constant_covariate_changes_little():
    control, treatment, _ = clustered(14)
    constant = np.ones(240)

    plain = median_effect(control, treatment)
    adjusted = median_effect(control, treatment, covariate=(constant, constant))

    assert width(adjusted) == pytest.approx(width(plain), rel=0.1)


def test_clusters_and_covariate_work_together():
    rng = np.random.default_rng(15)
    control, treatment, codes = clustered(15)
    level = np.log(control).reshape(12, 20).mean(axis=1)[CODES], np.log(treatment).reshape(12, 20).mean(axis=1)[CODES]
    covariate = tuple(part + 0.05 * rng.normal(size=12)[CODES] for part in level)

    plain = median_effect(control, treatment, clusters=codes)
    adjusted = median_effect(control, treatment, clusters=codes, covariate=covariate)

    assert width(adjusted) < 0.7 * width(plain)


def test_lengths_that_disagree_are_rejected():
    with pytest.raises(StatisticsError, match=r"clusters of the treatment arm has shape \(3,\); expected \(5,\)"):
        median_effect([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], clusters=([1, 2, 1, 2, 1], [1, 2, 1]))
    with pytest.raises(StatisticsError, match="covariate of the control arm"):
        median_effect([1, 2, 3, 4, 5], [1, 2, 3, 4, 5], covariate=([1, 2], [1, 2, 3, 4, 5]))


def test_a_missing_covariate_is_rejected():
    with pytest.raises(StatisticsError, match="covariate of the control"):
        proportion_effect([1, 0, 1, 0, 1], [1, 0, 1, 0, 1], covariate=([1, 2, 3, 4, np.nan], [1, 2, 3, 4, 5]))
