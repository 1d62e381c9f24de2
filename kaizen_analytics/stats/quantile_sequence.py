"""Exact anytime-valid intervals for quantiles and shares: no approximation at any number of sessions.

The number of sessions at or below the true quantile is a sum of coin flips with a known chance. Mixing its likelihood
ratio over a beta prior gives a martingale, so by Ville's inequality it ever exceeds 1/alpha with probability at most
alpha (Howard & Ramdas 2022, "Sequential estimation of quantiles"; Robbins 1970). The product over both arms is again
a martingale, and the interval collects every pair of quantiles whose product stays below 1/alpha.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

if TYPE_CHECKING:
    from collections.abc import Callable

    from kaizen_analytics.stats.laws import FloatArray, IntArray


def log_mixture(n: int, chance: float, n_opt: float, alpha: float) -> FloatArray:
    """Return the log mixture martingale of a coin of `chance` after n flips, for 0 .. n successes; shape (n + 1,).

    The prior is centred on `chance`, and makes the bound tightest near `n_opt` flips.
    """
    log_level = 2 * math.log(1 / alpha)
    variance = chance * (1 - chance)
    width = max(n_opt * variance / (log_level + math.log1p(log_level)) - variance, 1e-3 * variance)
    a, b = width / (1 - chance), width / chance
    k = np.arange(n + 1.0)
    log_ratio: FloatArray = special.betaln(a + k, b + n - k) - special.betaln(a, b)
    return log_ratio - k * math.log(chance) - (n - k) * math.log1p(-chance)


@dataclass(frozen=True, slots=True)
class QuantileSequence:
    """The exact anytime-valid comparison of two arms' quantiles.

    Attributes:
        control: Shape (n,), sorted.
        treatment: Shape (n,), sorted.
        quantile: Which quantile.
        n_opt: Sessions per arm at which the interval is tightest.
        alpha: Two-sided level that holds over all looks together.
    """

    control: FloatArray
    treatment: FloatArray
    quantile: float
    n_opt: float
    alpha: float

    def difference_limits(self) -> tuple[float, float]:
        """Return the interval of treatment - control; infinite ends while there are too few sessions."""
        control, treatment = _padded(self.control, -math.inf), _padded(self.treatment, -math.inf)
        below, first, last = self._region()
        low = treatment[first] - control[below + 1]
        high = treatment[last + 1] - control[below]
        return float(low.min()), float(high.max())

    def percent_limits(self) -> tuple[float, float] | None:
        """Return the interval of the percent change; None when a value is negative or the control may be zero."""
        if self.control[0] < 0 or self.treatment[0] < 0:
            return None
        control, treatment = _padded(self.control, 0.0), _padded(self.treatment, 0.0)
        below, first, last = self._region()
        lowest, highest = control[below], control[below + 1]
        if (lowest[below > 0] <= 0).any():
            return None
        with np.errstate(divide="ignore", invalid="ignore"):
            low = np.where(np.isinf(highest), -100.0, 100 * (treatment[first] - highest) / highest)
            high = np.where(lowest > 0, 100 * (treatment[last + 1] - lowest) / lowest, math.inf)
        return float(low.min()), float(high.max())

    def arm_limits(self, values: FloatArray) -> tuple[float, float]:
        """Return the interval of one arm's own quantile, `values` sorted."""
        evidence = log_mixture(values.size, self.quantile, self.n_opt, self.alpha)
        possible = np.flatnonzero(evidence < math.log(1 / self.alpha))
        padded = _padded(values, -math.inf)
        return float(padded[possible[0]]), float(padded[possible[-1] + 1])

    def p_value(self) -> float:
        """Return the anytime-valid p value of equal quantiles."""
        points = np.unique(np.concatenate((self.control, self.treatment)))
        log_evidence = self._best(self.control, points) + self._best(self.treatment, points)
        return min(1.0, math.exp(-max(float(log_evidence.min()), 0.0)))

    def _best(self, values: FloatArray, points: FloatArray) -> FloatArray:
        """Return the least evidence against each point; with ties any count between < and <= is possible."""
        evidence = log_mixture(values.size, self.quantile, self.n_opt, self.alpha)
        low, high = np.searchsorted(values, points, "left"), np.searchsorted(values, points, "right")
        best: FloatArray = evidence[np.clip(int(evidence.argmin()), low, high)]
        return best

    def _region(self) -> tuple[IntArray, IntArray, IntArray]:
        """Return control counts and, for each, the first and last treatment count that are jointly possible."""
        threshold = math.log(1 / self.alpha)
        control = log_mixture(self.control.size, self.quantile, self.n_opt, self.alpha)
        treatment = log_mixture(self.treatment.size, self.quantile, self.n_opt, self.alpha)
        middle = int(treatment.argmin())
        below = np.flatnonzero(control + treatment[middle] < threshold)
        limit = threshold - control[below]
        last = middle + np.searchsorted(treatment[middle:], limit, side="left") - 1
        first = middle - (np.searchsorted(treatment[middle::-1], limit, side="left") - 1)
        return below, first, last


def _padded(values: FloatArray, lowest: float) -> FloatArray:
    return np.concatenate((np.array([lowest]), values, np.array([math.inf])))


def share_limits(successes: int, n: int, alpha: float) -> tuple[float, float]:
    """Return the anytime-valid interval of a share: every chance whose mixture martingale stays below 1/alpha.

    The prior is uniform (Robbins 1970). Solved by bisection on each side of the observed share.
    """

    def log_evidence(chance: float) -> float:
        mixture = special.betaln(1 + successes, 1 + n - successes)
        return float(mixture - special.xlogy(successes, chance) - special.xlog1py(n - successes, -chance))

    share = successes / n
    return _boundary(log_evidence, share, 0.0, alpha), _boundary(log_evidence, share, 1.0, alpha)


def share_p_value(successes_c: int, n_c: int, successes_t: int, n_t: int) -> float:
    """Return the anytime-valid p value of equal shares: least evidence of both arms, which lies at the pooled share."""
    pooled = (successes_c + successes_t) / (n_c + n_t)
    log_evidence = 0.0
    for successes, n in ((successes_c, n_c), (successes_t, n_t)):
        log_evidence += special.betaln(1 + successes, 1 + n - successes)
        log_evidence -= special.xlogy(successes, pooled) + special.xlog1py(n - successes, -pooled)
    return min(1.0, math.exp(-max(log_evidence, 0.0)))


def _boundary(log_evidence: Callable[[float], float], inside: float, outside: float, alpha: float) -> float:
    if log_evidence(outside) < math.log(1 / alpha):
        return outside
    for _ in range(60):
        middle = 0.5 * (inside + outside)
        if log_evidence(middle) < math.log(1 / alpha):
            inside = middle
        else:
            outside = middle
    return outside
