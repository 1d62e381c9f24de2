"""What every comparison needs: arrays become checked samples, a design the level of the intervals, scores a precision.

Medians, means and proportions are all means of a score: the share of sessions below the median, the value, the
success. Sessions of one workspace or user resemble each other, so the variance of that mean comes from the totals of
whole clusters (Woodruff 1952; the CR2 correction), with Student's quantile at clusters - 1 degrees of freedom. A
covariate from before the experiment explains part of the score (CUPED, Deng, Xu, Kohavi & Walker 2013).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from scipy import special

from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.stats.distributions import sum_products
from kaizen_analytics.stats.effect import ArmSummary, Effect, EffectKind, Interval, Obstacle, Shortage, Tails
from kaizen_analytics.stats.sequential import FIXED, Design, adjust_p_value, effective_alpha

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.distributions import FloatArray, IntArray

    ArrayPair = tuple[npt.ArrayLike, npt.ArrayLike]

_MIN_N = 5
"""Sessions per arm below which there is no interval."""

_MIN_CLUSTERS = 1.7
"""Effective number of clusters (Kish) of an arm below which there is no interval.

With 1.2, as where one of ten clusters holds 90 % of the sessions, intervals of 95 % cover 78 to 88 %; from 1.7 on 95 %.
"""

_LARGEST = 1e150
"""Largest magnitude whose square is still finite."""


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


@dataclass(frozen=True, slots=True)
class ArmSample:
    """One arm's sessions.

    Attributes:
        values: Shape (n,), finite.
        clusters: Shape (n,), codes 0 .. g - 1 that both arms share; None without clusters.
        covariate: Shape (n,), finite; None without covariate.
        denominators: Shape (n,), 0 or more: `values` are compared by their total per total of these; None counts each
            session once.
    """

    name: str
    values: FloatArray
    clusters: IntArray | None = None
    covariate: FloatArray | None = None
    denominators: FloatArray | None = None

    @property
    def n(self) -> int:
        """Sessions."""
        return int(self.values.size)

    @property
    def cluster_count(self) -> int | None:
        """Clusters with at least one session; None without clusters."""
        return None if self.clusters is None else int(np.count_nonzero(np.bincount(self.clusters)))

    @property
    def has_mean(self) -> bool:
        """Whether there is a session, and for a ratio of totals something to divide by."""
        return self.n > 0 and (self.denominators is None or bool(self.denominators.any()))

    @property
    def largest_cluster(self) -> int:
        """Sessions of the largest cluster."""
        return 0 if self.clusters is None else int(np.bincount(self.clusters).max())

    @property
    def effective_clusters(self) -> float:
        """How many clusters of equal size would be as good (Kish 1965); infinite without clusters."""
        if self.clusters is None:
            return math.inf
        sizes = np.bincount(self.clusters).astype(np.float64)
        return float(sizes.sum() ** 2 / sum_products(sizes, sizes))

    @property
    def score(self) -> FloatArray:
        """What each session adds to the mean, shape (n,).

        Its value; for a ratio of totals the ratio and the session's linearised distance from it (delta method), whose
        mean is the ratio and whose variance is that of the ratio.
        """
        if self.denominators is None:
            return self.values
        ratio = self.values.sum() / self.denominators.sum()
        score: FloatArray = ratio + (self.values - ratio * self.denominators) / self.denominators.mean()
        return score

    @property
    def constant(self) -> bool:
        """Whether all sessions have the same value."""
        if self.n == 0:
            return False
        if self.denominators is None:
            return bool(self.values[0] == self.values[-1] and (self.values == self.values[0]).all())
        # a / b = c / d without a division by 0
        place = int(self.denominators.argmax())
        value, below = self.values[place], self.denominators[place]
        return bool((self.values * below == value * self.denominators).all())

    def shortage(self, *, constant_allowed: bool) -> Shortage | None:
        """Return why this arm has no interval, or None when it has one."""
        if self.n == 0:
            return self._lack(Obstacle.NO_SESSION, 0, _MIN_N)
        if self.n < _MIN_N:
            return self._lack(Obstacle.FEW_SESSIONS, self.n, _MIN_N)
        needed = 2 if self.covariate is None else 3
        if not self.has_mean:
            return self._lack(Obstacle.NO_DENOMINATOR, self.n, 1)
        clusters = self.cluster_count
        if clusters is not None and clusters < needed:
            return self._lack(Obstacle.FEW_CLUSTERS, clusters, needed)
        if self.constant and not constant_allowed:
            return self._lack(Obstacle.CONSTANT, float(self.score[0]), self.n)
        return None

    def measure(self, score: FloatArray, covariate_mean: float | None) -> Precision:
        """Return the precision of the mean of `score`, shape (n,), over the sessions."""
        centred = score - score.mean()
        slope, residuals = _residuals(self, centred)
        fitted = int(slope != 0.0)
        shift = 0.0
        if self.covariate is not None and covariate_mean is not None:
            shift = slope * (covariate_mean - float(self.covariate.mean()))
        n = self.n
        independent = sum_products(centred, centred) / n**2
        explained = sum_products(residuals, residuals) / n**2
        units = residuals
        if self.clusters is None:
            variance, degrees = explained * n / max(n - 1 - fitted, 1), math.inf
            design_effect = explained / independent if independent > 0 else 1.0
        else:
            totals, sizes = _cluster_totals(self.clusters, residuals)
            units = totals[np.bincount(self.clusters) > 0]
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

    def summarise(
        self,
        kind: EffectKind,
        *,
        n_effective: float | None = None,
        median: float | None = None,
        interval: Interval | None = None,
        ties: int = 0,
    ) -> ArmSummary:
        """Return the arm in numbers; `median` spares its computation when it is known."""
        wants_median = self.n > 0 and kind in (EffectKind.MEDIAN, EffectKind.MEAN)
        total = float(abs(self.values).sum()) if kind in (EffectKind.MEAN, EffectKind.RATIO) else 0.0
        return ArmSummary(
            n=self.n,
            n_effective=float(self.n) if n_effective is None else n_effective,
            clusters=self.cluster_count,
            median=(float(np.median(self.values)) if median is None else median) if wants_median else None,
            mean=float(self.score.mean()) if self.has_mean else None,
            interval=interval,
            ties=ties,
            largest_share=float(abs(self.values).max()) / total if total else None,
        )

    def _lack(self, obstacle: Obstacle, found: float, needed: int) -> Shortage:
        return Shortage(obstacle=obstacle, arm=self.name, found=found, needed=needed)


@dataclass(frozen=True, slots=True)
class SamplePair:
    """Both arms' sessions, and what they have in common."""

    control: ArmSample
    treatment: ArmSample
    covariate_mean: float | None

    @property
    def joint(self) -> bool:
        """Whether any cluster holds sessions of both arms."""
        control, treatment = self.control.clusters, self.treatment.clusters
        if control is None or treatment is None:
            return False
        return bool(np.intersect1d(control, treatment).size)

    def measure(self) -> tuple[Precision, Precision]:
        """Return the precision of both arms' means."""
        control, treatment = self.control, self.treatment
        mean = self.covariate_mean
        return control.measure(control.score, mean), treatment.measure(treatment.score, mean)

    def correlate(self, control: Precision, treatment: Precision, most: float = 0.99) -> float:
        """Return the correlation of both arms' mean scores, from clusters that hold sessions of both.

        It is the covariance of cluster totals over the two standard errors, and is limited to [-`most`, `most`].
        """
        if not self.joint or control.variance <= 0 or treatment.variance <= 0:
            return 0.0
        first, second = _totals(self.control.clusters, control), _totals(self.treatment.clusters, treatment)
        shared = min(first.size, second.size)
        products = first[:shared] * second[:shared]
        if np.count_nonzero(products) < 2:
            return 0.0
        covariance = float(products.sum()) / (control.n * treatment.n)
        return float(np.clip(covariance / math.sqrt(control.variance * treatment.variance), -most, most))

    def degrees(self, control: Precision, treatment: Precision) -> float:
        """Return the degrees of freedom of a difference of two mean scores; infinite without clusters.

        Satterthwaite's for independent arms. Clusters that hold both arms make only one set of totals, so there it is
        at most their number less one.
        """
        if math.isinf(control.degrees):
            return math.inf
        first, second = control.design_effect / control.n, treatment.design_effect / treatment.n
        separate = (first + second) ** 2 / (first**2 / control.degrees + second**2 / treatment.degrees)
        counts = self.control.cluster_count, self.treatment.cluster_count
        most = max(count or 0 for count in counts) - 1 if self.joint else math.inf
        return max(min(separate, most), 1.0)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two checked arms, when they may be analysed, and the level that was asked for."""

    kind: EffectKind
    samples: SamplePair
    design: Design
    nominal_alpha: float

    @classmethod
    def read(
        cls,
        kind: EffectKind,
        arms: ArrayPair,
        alpha: float,
        clusters: ArrayPair | None,
        covariate: ArrayPair | None,
        design: Design | None,
        denominators: ArrayPair | None = None,
    ) -> Comparison:
        """Check the arguments of a comparison and return them.

        Raises:
            StatisticsError: a value is missing, not finite or not a number, lengths disagree, or `alpha` is no level.
        """
        if not 0 < alpha < 0.5:
            raise StatisticsError(f"alpha is {alpha}; expected a level between 0 and 0.5, such as 0.05.")
        return cls(kind, _read_samples(*arms, clusters, covariate, denominators), design or FIXED, alpha)

    def shortage(self) -> Shortage | None:
        """Return why there is no interval, or None when there is one."""
        share = self.kind.is_share
        for sample in (self.samples.control, self.samples.treatment):
            if (found := sample.shortage(constant_allowed=share)) is not None:
                return found
            # clusters that hold both arms cancel in the difference, however large they are
            if sample.effective_clusters < _MIN_CLUSTERS and not self.samples.joint:
                return Shortage(
                    obstacle=Obstacle.UNEQUAL_CLUSTERS, arm=sample.name, found=sample.largest_cluster, needed=sample.n
                )
        smallest, needed = min(self.samples.control.n, self.samples.treatment.n), self.design.minimum
        if smallest >= needed:
            return None
        return Shortage(obstacle=Obstacle.TOO_EARLY, arm="smaller", found=smallest, needed=needed)

    def level(self, control: float, treatment: float) -> _Level:
        """Return the level at which arms of this many independent sessions are compared now."""
        sessions = self.samples.control.n, self.samples.treatment.n
        information = self.design.information((control, treatment), sessions)
        arms = [self.design.arm_information(i, n, sessions[i]) for i, n in enumerate((control, treatment))]
        levels = (effective_alpha(self.design, self.nominal_alpha, share) for share in (information, *arms))
        return _Level(information, *levels)

    def effect(
        self,
        level: _Level,
        arms: tuple[ArmSummary, ArmSummary],
        difference: Interval,
        percent: Interval | None,
        pair: _Contrast,
    ) -> Effect:
        """Return what was found; `pair` is where the p value and the confidence in a percent change come from."""
        return Effect(
            kind=self.kind,
            control=arms[0],
            treatment=arms[1],
            difference=difference,
            percent=percent,
            p_value=adjust_p_value(self.design, pair.p_value(), self.nominal_alpha, level.information),
            alpha=level.alpha,
            nominal_alpha=self.nominal_alpha,
            design=self.design,
            information=level.information if self.design.sequential else None,
            tails=pair if percent is not None else None,
        )

    def without_interval(self, shortage: Shortage) -> Effect:
        """Return the effect that only says why there is none."""
        return Effect(
            kind=self.kind,
            control=self.samples.control.summarise(self.kind),
            treatment=self.samples.treatment.summarise(self.kind),
            difference=None,
            percent=None,
            p_value=None,
            alpha=self.nominal_alpha,
            nominal_alpha=self.nominal_alpha,
            shortage=shortage,
            design=self.design,
        )


class _Level(NamedTuple):
    """The level at which two arms are compared now: of their contrast and of each arm alone."""

    information: float
    alpha: float
    control_alpha: float
    treatment_alpha: float


class _Contrast(Tails, Protocol):
    """Two estimates with the joint distribution of their errors."""

    def p_value(self) -> float:
        """Return the two-sided p value of no difference, of a single analysis."""


def _read_samples(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    clusters: ArrayPair | None = None,
    covariate: ArrayPair | None = None,
    denominators: ArrayPair | None = None,
) -> SamplePair:
    """Check both arms and return them."""
    values = _read_values(control, "control"), _read_values(treatment, "treatment")
    codes = (None, None) if clusters is None else _read_clusters(clusters, values)
    first, second = (None, None) if covariate is None else _read_beside(covariate, values, "covariate")
    below = (None, None) if denominators is None else _read_beside(denominators, values, "denominators")
    for part in below:
        if part is not None and part.size and part.min() < 0:
            raise StatisticsError(f"A denominator is {part.min():g}; expected numbers of 0 or more.")
    mean = None if first is None or second is None else _mean(np.concatenate((first, second)))
    return SamplePair(
        ArmSample("control", values[0], codes[0], first, below[0]),
        ArmSample("treatment", values[1], codes[1], second, below[1]),
        mean,
    )


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if values.size else None


def _read_values(values: npt.ArrayLike, name: str) -> FloatArray:
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise StatisticsError(f"The {name} arm holds something that is not a number: {error}.") from error
    if array.ndim != 1:
        raise StatisticsError(f"The {name} arm has shape {array.shape}; expected one value per session.")
    _check_finite(array, f"{name} arm")
    return array


def _check_finite(array: FloatArray, name: str) -> None:
    # NaN makes both extremes NaN, and no comparison with NaN holds.
    if array.size == 0 or (array.max() <= _LARGEST and array.min() >= -_LARGEST):
        return
    bad = np.flatnonzero(~(np.abs(array) <= _LARGEST))
    raise StatisticsError(
        f"The {name} holds {array[bad[0]]} at position {bad[0]} ({bad.size} such values); "
        f"expected finite numbers up to {_LARGEST:g}. Leave out sessions without a value and count them."
    )


def _read_clusters(clusters: ArrayPair, values: tuple[FloatArray, FloatArray]) -> tuple[IntArray, IntArray]:
    first, second = (np.asarray(part) for part in clusters)
    for part, arm, name in ((first, values[0], "control"), (second, values[1], "treatment")):
        _check_length(part.shape, arm, f"clusters of the {name} arm")
    if first.dtype.kind in "iu" and second.dtype.kind in "iu":
        _, inverse = np.unique(np.concatenate((first, second)), return_inverse=True)
        return inverse[: first.size], inverse[first.size :]
    # One dictionary pass: sorting text is several times slower, and objects may not be comparable.
    known: dict[object, int] = {}
    codes = [known.setdefault(key, len(known)) for part in (first, second) for key in part.tolist()]
    array = np.array(codes, dtype=np.int64)
    return array[: first.size], array[first.size :]


def _read_beside(pair: ArrayPair, values: tuple[FloatArray, FloatArray], what: str) -> tuple[FloatArray, FloatArray]:
    read = []
    for part, arm, name in zip(pair, values, ("control", "treatment"), strict=True):
        array = _read_values(part, f"{what} of the {name}")
        _check_length(array.shape, arm, f"{what} of the {name} arm")
        read.append(array)
    return read[0], read[1]


def _check_length(shape: tuple[int, ...], arm: FloatArray, name: str) -> None:
    if shape != arm.shape:
        raise StatisticsError(f"The {name} has shape {shape}; expected {arm.shape}, one entry per session.")


def student_inflation(degrees: float, alpha: float) -> float:
    """Return (Student's quantile / normal quantile)² at the two-sided level `alpha`; 1 for infinite degrees.

    >>> round(student_inflation(3, 0.05), 2)
    2.64
    """
    if math.isinf(degrees):
        return 1.0
    return float((special.stdtrit(degrees, alpha / 2) / special.ndtri(alpha / 2)) ** 2)


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


def _totals(clusters: IntArray | None, precision: Precision) -> FloatArray:
    return np.zeros(0) if clusters is None else _cluster_totals(clusters, precision.residuals)[0]
