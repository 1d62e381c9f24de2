"""Sample ratio mismatch: did the arms receive the shares of sessions that the randomisation promised?

A mismatch means that sessions were lost or assigned in a way that depends on the treatment, and no comparison of the
arms can be trusted. It is only defined where the split was randomised: sessions before and after a commit have no
promised ratio.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from scipy import special

from kaizen_analytics.core.errors import StatisticsError

_INVALID_BELOW = 0.001
_WARN_BELOW = 0.01

_CONCENTRATION = 100.0
"""Weight of the prior on the declared split, in sessions (Lindon & Malek 2022)."""

_EXACT_UP_TO = 100_000


class RatioStatus(StrEnum):
    """What the sizes of the arms say about the assignment."""

    OK = "ok"
    WARN = "warn"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio:
    """Whether the arms' sizes fit the declared split.

    Attributes:
        n_control: Control sessions, or units where these were drawn.
        n_treatment: Treatment sessions, or units.
        p_value: Chance of a split at least this unlikely.
        status: INVALID below 0.001, WARN below 0.01.
    """

    n_control: int
    n_treatment: int
    expected_share: float
    p_value: float
    status: RatioStatus
    unit: str = "session"
    """What was drawn, and so is counted."""


def check_sample_ratio(
    n_control: int,
    n_treatment: int,
    *,
    expected_share: float = 0.5,
    sequential: bool = False,
    unit: str = "session",
) -> SampleRatio:
    """Compare the sizes of two randomised arms with the declared split.

    Args:
        expected_share: Declared share of the treatment, between 0 and 1.
        sequential: Whether the arms are analysed while they grow. Then the p value is the inverse of the likelihood
            ratio against a Dirichlet mixture, valid at every analysis (Lindon & Malek 2022); otherwise it is the
            exact binomial one.
        unit: What was drawn; counting the sessions of a drawn user would call most fair splits unfair.

    Raises:
        StatisticsError: a count is negative or the share is not between 0 and 1.

    >>> check_sample_ratio(100, 160).status
    <RatioStatus.INVALID: 'invalid'>
    """
    if min(n_control, n_treatment) < 0:
        raise StatisticsError(f"The arms hold {n_control} and {n_treatment} sessions; expected counts of 0 or more.")
    if not 0 < expected_share < 1:
        raise StatisticsError(f"The declared share of the treatment is {expected_share}; expected one between 0 and 1.")
    compute = _sequential_p_value if sequential else _exact_p_value
    p_value = compute(n_treatment, n_control + n_treatment, expected_share)
    return SampleRatio(
        n_control=n_control,
        n_treatment=n_treatment,
        expected_share=expected_share,
        p_value=p_value,
        status=_status(p_value),
        unit=unit,
    )


def _exact_p_value(successes: int, n: int, share: float) -> float:
    """Return the probability of all splits that are at most as likely as the observed one."""
    if n == 0:
        return 1.0
    if n > _EXACT_UP_TO:
        z = (successes - n * share) / math.sqrt(n * share * (1 - share))
        return 2 * float(special.ndtr(-abs(z)))
    k = np.arange(n + 1.0)
    log_mass = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    log_mass = log_mass + k * math.log(share) + (n - k) * math.log1p(-share)
    # Equal masses differ by rounding; the slack is that of scipy.stats.binomtest.
    rare = log_mass <= log_mass[successes] + 1e-7
    return min(1.0, float(np.exp(log_mass[rare]).sum()))


def _sequential_p_value(successes: int, n: int, share: float) -> float:
    a, b = _CONCENTRATION * share, _CONCENTRATION * (1 - share)
    log_evidence = special.betaln(a + successes, b + n - successes) - special.betaln(a, b)
    log_evidence -= successes * math.log(share) + (n - successes) * math.log1p(-share)
    return min(1.0, math.exp(-max(float(log_evidence), 0.0)))


def _status(p_value: float) -> RatioStatus:
    if p_value < _INVALID_BELOW:
        return RatioStatus.INVALID
    return RatioStatus.WARN if p_value < _WARN_BELOW else RatioStatus.OK
