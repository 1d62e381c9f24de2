"""How precise the mean of a score is, with clusters and a covariate.

Medians, means and proportions are all means of a score: the share of sessions below the median, the value, the
success. Sessions of one workspace or user resemble each other, so the variance of that mean comes from the totals of
whole clusters (Woodruff 1952; the CR2 correction), with Student's quantile at clusters - 1 degrees of freedom. A
covariate from before the experiment explains part of the score (CUPED, Deng, Xu, Kohavi & Walker 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.stats.distributions import sum_products

if TYPE_CHECKING:
    from kaizen_analytics.stats.comparison import ArmSample, SamplePair
    from kaizen_analytics.stats.distributions import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Precision:
    """The precision of one arm's mean score.

    Attributes:
        mean: Mean score, adjusted for the covariate.
        shift: What the covariate added to it.
        variance: Variance of the mean.
        design_effect: Variance over the variance of as many independent sessions without covariate.
        degrees: Degrees of freedom of the variance; infinite without clusters.
        residuals: Shape (n,), what each session adds to the mean's error, before division by n.
        n: Sessions.
        units: Independent units: clusters, or else sessions.
        skewness: Of the totals of the units.
    """

    mean: float
    shift: float
    variance: float
    design_effect: float
    degrees: float
    residuals: FloatArray
    n: int
    units: int
    skewness: float

    @property
    def n_effective(self) -> float:
        """The number of independent sessions that would be as precise."""
        return self.n / self.design_effect


def student_inflation(degrees: float, alpha: float) -> float:
    """Return (Student's quantile / normal quantile)² at the two-sided level `alpha`; 1 for infinite degrees.

    >>> round(student_inflation(3, 0.05), 2)
    2.64
    """
    if math.isinf(degrees):
        return 1.0
    return float((special.stdtrit(degrees, alpha / 2) / special.ndtri(alpha / 2)) ** 2)


def measure(sample: ArmSample, score: FloatArray, covariate_mean: float | None) -> Precision:
    """Return the precision of the mean of `score`, shape (n,), over the sessions of `sample`.

    >>> from kaizen_analytics.stats.comparison import read_samples
    >>> samples = read_samples([1, 1, 3, 3], [2, 2, 4, 4], clusters=([1, 1, 2, 2], [3, 3, 4, 4]))
    >>> round(measure(samples.control, samples.control.values, None).n_effective, 6)
    1.0
    """
    centred = score - score.mean()
    slope, residuals = _residuals(sample, centred)
    fitted = int(slope != 0.0)
    shift = 0.0
    if sample.covariate is not None and covariate_mean is not None:
        shift = slope * (covariate_mean - float(sample.covariate.mean()))
    n = sample.n
    independent = sum_products(centred, centred) / n**2
    explained = sum_products(residuals, residuals) / n**2
    units = residuals
    if sample.clusters is None:
        variance, degrees = explained * n / max(n - 1 - fitted, 1), math.inf
        design_effect = explained / independent if independent > 0 else 1.0
    else:
        totals, sizes = _cluster_totals(sample.clusters, residuals)
        units = totals[np.bincount(sample.clusters) > 0]
        lost = (sizes.size - 1) / max(sizes.size - 1 - fitted, 1)
        # Sessions of one cluster never count for more than independent ones.
        variance = max(lost * sum_products(totals, totals) / n**2, explained)
        design_effect = variance / independent if independent > 0 else 1.0
        degrees = max(_degrees(sizes, design_effect) - fitted, 1.0)
    return Precision(
        mean=float(score.mean()) + shift,
        shift=shift,
        variance=variance,
        design_effect=design_effect,
        degrees=degrees,
        residuals=residuals,
        n=n,
        units=units.size,
        skewness=_skewness(units),
    )


def _skewness(units: FloatArray) -> float:
    square = sum_products(units, units)
    return math.sqrt(units.size) * float((units**3).sum()) / square**1.5 if square > 0 else 0.0


def _cluster_totals(clusters: IntArray, residuals: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Return, per code, the total residual, corrected for its own pull; and the sizes of clusters that occur.

    A large cluster pulls the mean towards itself and so hides its own error. Dividing by the root of the share of
    other sessions undoes that (CR2, Bell & McCaffrey 2002); with equal sizes it is the usual G/(G - 1) correction.
    """
    totals = np.bincount(clusters, weights=residuals)
    sizes = np.bincount(clusters).astype(np.float64)
    kept = np.maximum(1 - sizes / residuals.size, 1 / residuals.size)
    return totals / np.sqrt(kept), sizes[sizes > 0]


def _degrees(sizes: FloatArray, design_effect: float) -> float:
    """Return the degrees of freedom of a variance from cluster totals: clusters - 1 when all are of one size.

    The expected square of a total grows like n_g (1 + (n_g - 1) rho); Satterthwaite's formula turns those weights into
    an effective number of clusters. The intraclass correlation rho is read off the design effect.
    """
    typical = sum_products(sizes, sizes) / float(sizes.sum())
    rho = min(max((design_effect - 1) / (typical - 1), 0.0), 1.0) if typical > 1 else 0.0
    weights = sizes * (1 + (sizes - 1) * rho)
    return float(weights.sum()) ** 2 / sum_products(weights, weights) - 1


def _residuals(sample: ArmSample, centred: FloatArray) -> tuple[float, FloatArray]:
    if sample.covariate is None:
        return 0.0, centred
    covariate = sample.covariate - sample.covariate.mean()
    spread = sum_products(covariate, covariate)
    if spread <= 0:
        return 0.0, centred
    slope = sum_products(centred, covariate) / spread
    return slope, centred - slope * covariate


def correlate(samples: SamplePair, control: Precision, treatment: Precision, most: float = 0.99) -> float:
    """Return the correlation of both arms' mean scores, from clusters that hold sessions of both.

    It is the covariance of cluster totals over the two standard errors, and is limited to [-`most`, `most`].

    >>> from kaizen_analytics.stats.comparison import read_samples
    >>> samples = read_samples([1, 2, 3, 4], [2, 3, 4, 5], clusters=([1, 2, 3, 4], [1, 2, 3, 4]))
    >>> arms = [measure(arm, arm.values, None) for arm in (samples.control, samples.treatment)]
    >>> correlate(samples, *arms)
    0.99
    """
    if not samples.joint or control.variance <= 0 or treatment.variance <= 0:
        return 0.0
    first, second = _totals(samples.control.clusters, control), _totals(samples.treatment.clusters, treatment)
    shared = min(first.size, second.size)
    products = first[:shared] * second[:shared]
    if np.count_nonzero(products) < 2:
        return 0.0
    covariance = float(products.sum()) / (control.n * treatment.n)
    return float(np.clip(covariance / math.sqrt(control.variance * treatment.variance), -most, most))


def _totals(clusters: IntArray | None, precision: Precision) -> FloatArray:
    return np.zeros(0) if clusters is None else _cluster_totals(clusters, precision.residuals)[0]


def contrast_degrees(samples: SamplePair, control: Precision, treatment: Precision) -> float:
    """Return the degrees of freedom of a difference of two mean scores; infinite without clusters.

    Satterthwaite's for independent arms. Clusters that hold both arms make only one set of totals, so there it is at
    most their number less one.

    >>> from kaizen_analytics.stats.comparison import read_samples
    >>> samples = read_samples([1, 2, 3, 4], [2, 3, 4, 5], clusters=([1, 2, 3, 4], [1, 2, 3, 4]))
    >>> arms = [measure(arm, arm.values, None) for arm in (samples.control, samples.treatment)]
    >>> contrast_degrees(samples, *arms)
    3
    """
    if math.isinf(control.degrees):
        return math.inf
    first, second = control.design_effect / control.n, treatment.design_effect / treatment.n
    separate = (first + second) ** 2 / (first**2 / control.degrees + second**2 / treatment.degrees)
    counts = samples.control.cluster_count, samples.treatment.cluster_count
    most = max(count or 0 for count in counts) - 1 if samples.joint else math.inf
    return max(min(separate, most), 1.0)
