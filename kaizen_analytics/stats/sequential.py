"""How often the data are looked at, and what that does to the level of an interval.

A fixed 95 % interval that is read after every session is wrong for up to a third of all experiments without any
effect. A `Design` states the plan of looking; `effective_alpha` turns the nominal level into the level of the one
interval that is shown now, and `adjust_p_value` does the same to a p value. The rest of the package does not know
about looks.

Sources: O'Brien & Fleming 1979 and Lan & DeMets 1983 (the planned design, in its continuous form: the reflection
principle bounds Brownian motion by a constant); Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas 2024 (the open design,
"Time-uniform central limit theory and asymptotic confidence sequences").
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from kaizen_analytics.errors import StatisticsError

if TYPE_CHECKING:
    import numpy.typing as npt

MIN_SEQUENTIAL_N = 30
"""Sessions per arm below which the planned and the open design say nothing: their theory is asymptotic."""

DEFAULT_PLANNED_N = 250
"""Sessions per arm for which the open and the exact design are tightest, when no plan says otherwise."""


class DesignKind(StrEnum):
    """When the data are looked at."""

    FIXED = "fixed"
    """Once, at the end."""
    PLANNED = "planned"
    """At any time up to a number of sessions that was fixed beforehand."""
    OPEN = "open"
    """At any time, with no planned end."""
    EXACT = "exact"
    """At any time, with no planned end and no approximation; wide. For few sessions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """The plan of looking at an experiment, fixed before its data arrive.

    Attributes:
        kind: When the data are looked at.
        planned_n: Sessions per arm at the planned end. Required by PLANNED. OPEN and EXACT are tightest near it.
        planned_control_n: Sessions of the control arm at the planned end, when they differ from `planned_n`, as for
            a control arm that lies in the past.
        design_effect: The design effect that the plan expected: how many sessions are worth one independent session.
            1 without clusters.
        looks: How often the data were looked at so far. Printed, never used: the designs hold for any number.
    """

    kind: DesignKind = DesignKind.FIXED
    planned_n: int | None = None
    planned_control_n: int | None = None
    design_effect: float = 1.0
    looks: int | None = None

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
                "A planned design has no planned_n; give the sessions per arm that the experiment was planned for.",
            )

    @property
    def sequential(self) -> bool:
        """Whether the design allows more than one look."""
        return self.kind is not DesignKind.FIXED

    @property
    def planned(self) -> tuple[int, int]:
        """Sessions of control and treatment at the planned end, or at the tightest point."""
        treatment = self.planned_n or DEFAULT_PLANNED_N
        return self.planned_control_n or treatment, treatment

    def information(self, independent: tuple[float, float], sessions: tuple[int, int]) -> float:
        """Return the share of the planned information that control and treatment hold.

        Information is the inverse variance of a difference, 1/(1/n_control + 1/n_treatment): the share of sessions
        would be wrong whenever one arm is further along than the other. `design_effect` turns the plan's sessions into
        independent ones; where it was expected too large, or a covariate sharpens the data, the planned design counts
        sessions instead, because information beyond the plan would let it err too often.

        Args:
            independent: How many independent sessions each arm is worth.
            sessions: Sessions of each arm.
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
    """Return the level of the interval to show now so that all looks together err at most `alpha` of the time.

    Args:
        design: The plan of looking.
        alpha: Nominal two-sided level, such as 0.05.
        information: Share of the planned information at hand (see `Design.information`).

    Returns:
        The two-sided level of the interval to show now; `alpha` for a fixed or an exact design, where the exact one
        builds its interval differently.
    """
    if design.kind is DesignKind.PLANNED:
        return 2 * float(special.ndtr(planned_boundary(alpha) / -math.sqrt(min(information, 1.0))))
    if design.kind is DesignKind.OPEN:
        return 2 * float(special.ndtr(-_open_boundary(_open_r(information, alpha), alpha)))
    return alpha


def planned_boundary(alpha: float) -> float:
    """Return c with P(|W(u)| > c for some u in [0, 1]) <= `alpha` for a Brownian motion W; 2.2414 at 0.05."""
    return float(-special.ndtri(alpha / 4))


def adjust_p_value(design: Design, p_value: float, alpha: float, information: float, *, sides: int = 2) -> float:
    """Return the p value that stays valid however often the data are looked at under `design`.

    It is the smallest nominal level at which the design would reject now, so it is compared with the nominal level,
    not with the effective one.

    Args:
        design: The plan of looking.
        p_value: P value of one fixed look.
        alpha: Nominal level at which the open design was tuned.
        information: Share of the planned information at hand.
        sides: 2 for a two-sided p value; 1 for a one-sided one.
    """
    if not design.sequential or design.kind is DesignKind.EXACT:
        return p_value
    z = float(-special.ndtri(min(max(p_value / sides, 1e-300), 0.5)))
    if design.kind is DesignKind.PLANNED:
        adjusted = 2 * sides * float(special.ndtr(-z * math.sqrt(min(information, 1.0))))
    else:
        r = _open_r(information, alpha)
        adjusted = math.exp(0.5 * math.log1p(r) - 0.5 * z * z * r / (r + 1))
    return min(1.0, adjusted)


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
        design: A planned design; any other uses every session.
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
