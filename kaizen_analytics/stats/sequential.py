"""When the data may be analysed, and what that does to the level of an interval.

A fixed 95 % interval that is read after every session is wrong for up to a third of all experiments without any
effect. A `Design` states when the data may be analysed; `effective_alpha` turns the nominal level into the level of
the one interval that is shown now, and `adjust_p_value` does the same to a p value. The rest of the package does not
know about interim analyses.

The end of the window is a date that was fixed at the start, so it does not depend on results: the last analysis of a
planned design spends all of the level that is left (Lan & DeMets 1983), however many sessions came.

Sources: O'Brien & Fleming 1979 and Lan & DeMets 1983 (the planned design, in its continuous form: the reflection
principle bounds Brownian motion by a constant); Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024 (the open design,
"Time-uniform central limit theory and asymptotic confidence sequences").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.core.errors import StatisticsError
from kaizen_analytics.core.model import DesignKind
from kaizen_analytics.stats.distributions import sum_products

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

MIN_SEQUENTIAL_N = 30
"""Sessions per arm from which on interim analyses are always allowed; their theory is asymptotic."""

MIN_PLANNED_N = 10
"""Sessions per arm below which the planned design says nothing, however small the plan."""

_DEFAULT_PLANNED_N = 250
"""Sessions per arm for which the open design is tightest, when no plan says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """When an experiment may be analysed, fixed before its data arrive.

    Attributes:
        planned_n: Sessions per arm at the planned end. Required by PLANNED. OPEN is tightest near it.
        planned_control_n: Sessions of the control arm at the planned end, when they differ from `planned_n`, as for
            a control arm that lies in the past.
        design_effect: The design effect that the plan expected: how many sessions are worth one independent session.
            1 without clusters.
        is_last: Whether the window is over, so that this analysis is the last one.
    """

    kind: DesignKind = DesignKind.FIXED
    planned_n: int | None = None
    planned_control_n: int | None = None
    design_effect: float = 1.0
    is_last: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", DesignKind(self.kind))
        for name in ("planned_n", "planned_control_n"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise StatisticsError(f"{name} is {value}; expected at least 1 session per arm.")
        if not 0 < self.design_effect < math.inf:
            raise StatisticsError(
                f"design_effect is {self.design_effect}; expected a positive number, 1 without clusters."
            )
        if self.kind is DesignKind.PLANNED and self.planned_n is None:
            raise StatisticsError(
                "A planned design has no planned_n; give the sessions per arm that the experiment was planned for."
            )

    @property
    def sequential(self) -> bool:
        """Whether the design allows interim analyses."""
        return self.kind is not DesignKind.FIXED

    @property
    def minimum(self) -> int:
        """Sessions per arm below which nothing is said: half of the smaller planned arm, between 10 and 30.

        >>> Design(kind=DesignKind.PLANNED, planned_n=30).minimum
        15
        """
        if self.kind is not DesignKind.PLANNED:
            return MIN_SEQUENTIAL_N if self.sequential else 0
        half = MIN_PLANNED_N if self.is_last else min(self.planned) // 2
        return min(max(half, MIN_PLANNED_N), MIN_SEQUENTIAL_N)

    @property
    def planned(self) -> tuple[int, int]:
        """Sessions of control and treatment at the planned end, or at the tightest point."""
        treatment = self.planned_n or _DEFAULT_PLANNED_N
        return self.planned_control_n or treatment, treatment

    def information(self, independent: tuple[float, float], sessions: tuple[int, int]) -> float:
        """Return the share of the planned information that control and treatment hold.

        Information is the inverse variance of a difference, 1/(1/n_control + 1/n_treatment): the share of sessions
        would be wrong whenever one arm is further along than the other. `design_effect` turns the plan's sessions into
        independent ones; where it was expected too large, or a covariate sharpens the data, the planned design counts
        sessions instead, because information beyond the plan would let it err too often.
        """
        share = _precision(*independent) / _precision(*self.planned) * self.design_effect
        return self._bound(share, _precision(*sessions) / _precision(*self.planned))

    def arm_information(self, arm: int, independent: float, sessions: int) -> float:
        """Return the share of the planned information on one arm alone; `arm` is 0 for control, 1 for treatment."""
        planned = self.planned[arm]
        return self._bound(independent / planned * self.design_effect, sessions / planned)

    def _bound(self, share: float, of_sessions: float) -> float:
        return min(share, of_sessions) if self.kind is DesignKind.PLANNED else share


FIXED = Design()


def _precision(n_control: float, n_treatment: float) -> float:
    if n_control <= 0 or n_treatment <= 0:
        return 0.0
    return 1 / (1 / n_control + 1 / n_treatment)


def effective_alpha(design: Design, alpha: float, information: float) -> float:
    """Return the level of the interval to show now so that all analyses together err at most `alpha` of the time.

    Args:
        alpha: Nominal two-sided level, such as 0.05.
        information: Share of the planned information at hand (see `Design.information`).

    Returns:
        The two-sided level of the interval to show now; `alpha` for a fixed design.

    >>> round(effective_alpha(Design(kind=DesignKind.PLANNED, planned_n=100), 0.05, 1.0), 4)
    0.025
    """
    if design.kind is DesignKind.PLANNED:
        share = min(information, 1.0)
        boundary = _last_boundary(alpha, share) if design.is_last else _planned_boundary(alpha)
        return 2 * float(special.ndtr(boundary / -math.sqrt(share)))
    if design.kind is DesignKind.OPEN:
        return 2 * float(special.ndtr(-_open_boundary(_open_r(information, alpha), alpha)))
    return alpha


def _planned_boundary(alpha: float) -> float:
    """Return c with P(|W(u)| > c for some u in [0, 1]) <= `alpha` for a Brownian motion W.

    >>> round(_planned_boundary(0.05), 4)
    2.2414
    """
    return float(-special.ndtri(alpha / 4))


@lru_cache(maxsize=256)
def _last_boundary(alpha: float, information: float) -> float:
    """Return b with P(|W(u)| > c for some u < t, or |W(t)| > b) = `alpha`, c being the boundary before the last look.

    >>> round(_last_boundary(0.05, 0.4) / math.sqrt(0.4), 2)
    1.96
    """
    low, high = 0.0, _planned_boundary(alpha)
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if _spent(alpha, middle, information) > alpha else (low, middle)
    return high


def _spent(alpha: float, b: float, information: float) -> float:
    """Return the chance of an error up to a last look that finds an effect beyond b; exact by the reflection principle.

    W stays between the boundaries c and ends between -b and b with probability
    sum over k of (-1)^k [Phi((b - 2kc) / sqrt t) - Phi((-b - 2kc) / sqrt t)].
    """
    c, root = _planned_boundary(alpha), math.sqrt(information)
    end = min(b, c)
    shifts = 2 * c * _REFLECTIONS
    return 1 - sum_products(_SIGNS, special.ndtr((end - shifts) / root) - special.ndtr((-end - shifts) / root))


_REFLECTIONS = np.arange(-8.0, 9.0)
"""Mirror images of the start that reach the end with a probability above rounding, for levels up to 1."""
_SIGNS = (-1.0) ** _REFLECTIONS


def adjust_p_value(design: Design, p_value: float, alpha: float, information: float) -> float:
    """Return the two-sided p value that stays valid however often the data are analysed under `design`.

    It is the smallest nominal level at which the design would reject now, so it is compared with the nominal level,
    not with the effective one.

    Args:
        design: When the data may be analysed.
        alpha: Nominal level at which the open design was tuned.

    >>> round(adjust_p_value(Design(kind=DesignKind.PLANNED, planned_n=100), 0.02, 0.05, 1.0), 6)
    0.04
    """
    if not design.sequential:
        return p_value
    if design.is_last and design.kind is DesignKind.PLANNED:
        return _adjust_last(p_value, information)
    z = float(-special.ndtri(min(max(p_value / 2, 1e-300), 0.5)))
    if design.kind is DesignKind.PLANNED:
        adjusted = 4 * float(special.ndtr(-z * math.sqrt(min(information, 1.0))))
    else:
        r = _open_r(information, alpha)
        adjusted = math.exp(0.5 * math.log1p(r) - 0.5 * z * z * r / (r + 1))
    return min(1.0, adjusted)


def _adjust_last(p_value: float, information: float) -> float:
    """Return the smallest level whose last boundary a p value reaches: that at which it spends just the level."""
    if information <= 0:
        return 1.0
    b = -float(special.ndtri(p_value / 2)) * math.sqrt(min(information, 1.0))
    low, high = math.log(1e-15), 0.0
    for _ in range(50):
        middle = 0.5 * (low + high)
        level = math.exp(middle)
        low, high = (low, middle) if _spent(level, b, min(information, 1.0)) <= level else (middle, high)
    return math.exp(high)


def _open_r(information: float, alpha: float) -> float:
    """Return rho² N for an information of N/N_opt; rho² makes the boundary tightest at N_opt."""
    log_level = -2 * math.log(alpha)
    return information * (log_level + math.log1p(log_level))


def _open_boundary(r: float, alpha: float) -> float:
    if r <= 0:
        return math.inf
    return math.sqrt((r + 1) / r * (math.log1p(r) - 2 * math.log(alpha)))


def sessions_within_plan(is_treatment: npt.ArrayLike, design: Design) -> int:
    """Return how many of the first sessions a planned design may use; the rest is reported, not used.

    Args:
        is_treatment: Shape (n,), true for treatment sessions, in the order in which the sessions started.

    >>> sessions_within_plan([False, True, False, True], Design(kind=DesignKind.PLANNED, planned_n=1))
    2
    """
    arms = np.asarray(is_treatment, dtype=bool)
    if design.kind is not DesignKind.PLANNED:
        return int(arms.size)
    treatment = np.cumsum(arms)
    control = np.arange(1, arms.size + 1) - treatment
    with np.errstate(divide="ignore"):
        precision = 1 / (1 / control + 1 / treatment)
    reached = precision >= _precision(*design.planned) * (1 - 1e-12)
    return int(reached.argmax()) + 1 if reached.any() else int(arms.size)


def adjust_holm(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for their number, in the same order (Holm 1979).

    Rejecting those at or below alpha keeps the chance of any false rejection at alpha, however the tests depend on
    each other.

    >>> adjust_holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    stepped = np.maximum.accumulate(np.minimum(1.0, p[order] * (p.size - np.arange(p.size))))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return [float(value) for value in adjusted]


def adjust_benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return the p values adjusted for their number, in the same order (Benjamini & Hochberg 1995).

    Among those at or below a level, the expected share of false ones is at most the level.

    >>> adjust_benjamini_hochberg([0.01, 0.04, 0.03])
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(-p, kind="stable")
    ranks = np.arange(p.size, 0, -1)
    stepped = np.minimum.accumulate(np.minimum(1.0, p[order] * p.size / ranks))
    adjusted = np.empty_like(p)
    adjusted[order] = stepped
    return [float(value) for value in adjusted]
