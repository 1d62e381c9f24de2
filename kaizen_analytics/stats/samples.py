"""The door: arrays become checked samples here, and nothing behind it checks again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from kaizen_analytics.errors import StatisticsError
from kaizen_analytics.text import counted

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.stats.laws import FloatArray, IntArray

    ArrayPair = tuple[npt.ArrayLike, npt.ArrayLike]

MIN_N = 5
"""Sessions per arm below which there is no interval."""

_LARGEST = 1e150
"""Largest magnitude whose square is still finite."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One arm's sessions.

    Attributes:
        name: "control" or "treatment".
        values: Shape (n,), finite.
        clusters: Shape (n,), codes 0 .. g - 1 that both arms share; None without clusters.
        covariate: Shape (n,), finite; None without covariate.
    """

    name: str
    values: FloatArray
    clusters: IntArray | None = None
    covariate: FloatArray | None = None

    @property
    def n(self) -> int:
        """Sessions."""
        return int(self.values.size)

    @property
    def cluster_count(self) -> int | None:
        """Clusters with at least one session; None without clusters."""
        return None if self.clusters is None else int(np.count_nonzero(np.bincount(self.clusters)))

    @property
    def constant(self) -> bool:
        """Whether all sessions have the same value."""
        if self.n == 0 or self.values[0] != self.values[-1]:
            return False
        return bool((self.values == self.values[0]).all())


@dataclass(frozen=True, slots=True)
class SamplePair:
    """Both arms' sessions, and what they have in common."""

    control: Sample
    treatment: Sample
    covariate_mean: float | None

    @property
    def joint(self) -> bool:
        """Whether any cluster holds sessions of both arms."""
        control, treatment = self.control.clusters, self.treatment.clusters
        if control is None or treatment is None:
            return False
        return bool(np.intersect1d(control, treatment).size)


def read_samples(
    control: npt.ArrayLike,
    treatment: npt.ArrayLike,
    clusters: ArrayPair | None,
    covariate: ArrayPair | None,
) -> SamplePair:
    """Check both arms and return them.

    Raises:
        StatisticsError: a value is missing, not finite or not a number, or lengths disagree.
    """
    values = _read_values(control, "control"), _read_values(treatment, "treatment")
    codes = (None, None) if clusters is None else _read_clusters(clusters, values)
    extra = (None, None) if covariate is None else _read_covariate(covariate, values)
    first, second = extra
    mean = None if first is None or second is None else _mean(np.concatenate((first, second)))
    return SamplePair(
        Sample("control", values[0], codes[0], first),
        Sample("treatment", values[1], codes[1], second),
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
        f"expected finite numbers up to {_LARGEST:g}. Leave out sessions without a value and count them.",
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


def _read_covariate(
    covariate: ArrayPair,
    values: tuple[FloatArray, FloatArray],
) -> tuple[FloatArray, FloatArray]:
    read = []
    for part, arm, name in zip(covariate, values, ("control", "treatment"), strict=True):
        array = _read_values(part, f"covariate of the {name}")
        _check_length(array.shape, arm, f"covariate of the {name} arm")
        read.append(array)
    return read[0], read[1]


def _check_length(shape: tuple[int, ...], arm: FloatArray, name: str) -> None:
    if shape != arm.shape:
        raise StatisticsError(f"The {name} has shape {shape}; expected {arm.shape}, one entry per session.")


def shortage(sample: Sample, *, constant_allowed: bool = False) -> str | None:
    """Return a sentence why this arm has no interval, or None when it has one."""
    if sample.n == 0:
        return f"There is no {sample.name} session with a value yet, so nothing can be compared: collect sessions."
    if sample.n < MIN_N:
        return (
            f"The {sample.name} arm has only {counted(sample.n, 'session')} with a value; at least {MIN_N} are needed, "
            f"so collect more before deciding."
        )
    needed = 2 if sample.covariate is None else 3
    clusters = sample.cluster_count
    if clusters is not None and clusters < needed:
        return (
            f"The {sample.name} sessions come from only {counted(clusters, 'cluster')} (workspaces or users); at "
            f"least {needed} are needed to tell the treatment from the habits of one, so widen the experiment."
        )
    if sample.constant and not constant_allowed:
        return (
            f"All {sample.n} {sample.name} sessions have the same value ({sample.values[0]:.6g}), so there is no "
            f"variation to judge from: check how the metric is recorded, or choose another one."
        )
    return None
