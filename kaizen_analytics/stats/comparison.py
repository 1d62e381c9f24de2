"""The door of every comparison: arrays become checked samples, and the design chooses the level of the intervals."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

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
class ArmSample:
    """One arm's sessions.

    Attributes:
        name: "control" or "treatment".
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
        *,
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
        return cls(kind, read_samples(*arms, clusters, covariate, denominators), design or FIXED, alpha)

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

    def level(self, control: float, treatment: float) -> Level:
        """Return the level at which arms of this many independent sessions are compared now."""
        sessions = self.samples.control.n, self.samples.treatment.n
        information = self.design.information((control, treatment), sessions)
        arms = [self.design.arm_information(i, n, sessions[i]) for i, n in enumerate((control, treatment))]
        alpha, control_alpha, treatment_alpha = (
            effective_alpha(self.design, self.nominal_alpha, share) for share in (information, *arms)
        )
        return Level(information=information, alpha=alpha, control_alpha=control_alpha, treatment_alpha=treatment_alpha)

    def effect(
        self,
        level: Level,
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
            control=summarise_arm(self.samples.control, self.kind),
            treatment=summarise_arm(self.samples.treatment, self.kind),
            difference=None,
            percent=None,
            p_value=None,
            alpha=self.nominal_alpha,
            nominal_alpha=self.nominal_alpha,
            shortage=shortage,
            design=self.design,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """The level at which two arms are compared now: of their contrast and of each arm alone."""

    information: float
    alpha: float
    control_alpha: float
    treatment_alpha: float


class _Contrast(Tails, Protocol):
    """Two estimates with the joint distribution of their errors."""

    def p_value(self) -> float:
        """Return the two-sided p value of no difference, of a single analysis."""


def summarise_arm(
    sample: ArmSample,
    kind: EffectKind,
    *,
    n_effective: float | None = None,
    median: float | None = None,
    interval: Interval | None = None,
    ties: int = 0,
) -> ArmSummary:
    """Return one arm in numbers; `median` spares its computation when it is known.

    >>> summarise_arm(ArmSample("control", np.array([1.0, 2.0, 6.0])), EffectKind.MEAN).largest_share
    0.6666666666666666
    """
    wants_median = sample.n > 0 and kind in (EffectKind.MEDIAN, EffectKind.MEAN)
    total = float(abs(sample.values).sum()) if kind in (EffectKind.MEAN, EffectKind.RATIO) else 0.0
    return ArmSummary(
        n=sample.n,
        n_effective=float(sample.n) if n_effective is None else n_effective,
        clusters=sample.cluster_count,
        median=(float(np.median(sample.values)) if median is None else median) if wants_median else None,
        mean=float(sample.score.mean()) if sample.has_mean else None,
        interval=interval,
        ties=ties,
        largest_share=float(abs(sample.values).max()) / total if total else None,
    )


def read_samples(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    clusters: ArrayPair | None = None,
    covariate: ArrayPair | None = None,
    denominators: ArrayPair | None = None,
) -> SamplePair:
    """Check both arms and return them.

    Raises:
        StatisticsError: a value is missing, not finite or not a number, a denominator is below zero, or lengths
            disagree.

    >>> read_samples([1, 2], [3], clusters=(["a", "b"], ["a"])).joint
    True
    """
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
