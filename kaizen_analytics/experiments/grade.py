"""How the arms of an experiment came about, which decides what may be said about the cause of a difference."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from kaizen_analytics.core.model import GitCommit

if TYPE_CHECKING:
    import numpy.typing as npt

    from kaizen_analytics.core.model import Binding

_MIDDLE = (0.05, 0.95)
"""Quantiles of an arm's session starts between which the arm is taken to have run; a few strays do not count."""
_SHARED = 0.5
"""Share of each arm's sessions that must start while the other arm runs, for the arms to be concurrent."""


class Grade(StrEnum):
    """How the arms came about, the strongest design first."""

    RANDOMISED = "randomised"
    """Arms were drawn by lot, and the draw was recorded when each session started."""
    CONCURRENT = "concurrent"
    """Both arms ran at the same time; people chose the arm of a session."""
    BEFORE_AFTER = "before_after"
    """The arms are separated in time."""


def compute_grade(
    binding: Binding, control_starts: npt.NDArray[np.int64], treatment_starts: npt.NDArray[np.int64], *, assigned: bool
) -> Grade:
    """Return the grade of a design from its facts.

    Args:
        binding: How sessions were assigned to arms.
        control_starts: Starts of the control sessions in milliseconds, shape (n,).
        treatment_starts: The same of the treatment sessions.
        assigned: Whether arms were drawn by lot and recorded when each session started.

    >>> from kaizen_analytics.core.model import Branch
    >>> day = np.arange(10)
    >>> compute_grade(Branch("main", "short"), day, day + 100, assigned=False)
    <Grade.BEFORE_AFTER: 'before_after'>
    """
    if assigned:
        return Grade.RANDOMISED
    if isinstance(binding, GitCommit) or not _overlap(control_starts, treatment_starts):
        return Grade.BEFORE_AFTER
    return Grade.CONCURRENT


def _overlap(first: npt.NDArray[np.int64], second: npt.NDArray[np.int64]) -> bool:
    """Return whether half of each arm started while the other arm ran; an empty arm overlaps with anything."""
    if not first.size or not second.size:
        return True
    return min(_share_within(first, second), _share_within(second, first)) >= _SHARED


def _share_within(starts: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> float:
    low, high = np.quantile(others, _MIDDLE)
    return float(np.mean((starts >= low) & (starts <= high)))
