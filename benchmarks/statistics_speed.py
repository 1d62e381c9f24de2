"""The exact interval of a median, against two selections in the same data and against scipy's bootstrap."""

from __future__ import annotations

import statistics
import time
import warnings
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.tables import Section, seconds, times
from kaizen_analytics.stats import median_effect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SEED = 20_250_103
_RESAMPLES = 9_999
_MEASURED_RESAMPLES = 99


def run(folder: Path, *, quick: bool) -> Section:  # noqa: ARG001 - every section is called alike
    """Measure intervals of medians and return the section."""
    section = Section("Interval of a difference of medians")
    section.add_text(
        f"Log-normal values, n per arm; the median of 5 runs. scipy's bootstrap ran with {_MEASURED_RESAMPLES} "
        f"resamples and is scaled to its default of {_RESAMPLES:,}."
    )
    rows = []
    for n in (10_000, 100_000) if quick else (10_000, 100_000, 1_000_000):
        random = np.random.default_rng(SEED)
        control, treatment = random.lognormal(9, 1, n), 0.9 * random.lognormal(9, 1, n)
        ours = clock(lambda: median_effect(control, treatment))  # noqa: B023 - called at once
        select = clock(lambda: [np.partition(arm, arm.size // 2) for arm in (control, treatment) * 2])  # noqa: B023
        bootstrap = None if n > 100_000 else clock_bootstrap(control, treatment)
        rows.append([f"{n:,}", seconds(select), seconds(ours), "" if bootstrap is None else seconds(bootstrap)])
        if n >= 1_000_000:
            ratio = ours / select
            section.add_target(
                "interval of a median, n = 1e6, against np.partition of both arms, twice",
                "at most 3x",
                times(ratio),
                met=ratio <= 3,
            )
        if n == 100_000 and bootstrap is not None:
            ratio = bootstrap / ours
            section.add_target(
                "interval of a median, n = 1e5, against scipy's bootstrap",
                "1,000x faster",
                times(ratio),
                met=ratio >= 1_000,
            )
    section.add_table(["n per arm", "np.partition of both arms, twice", "median_effect", "scipy.stats.bootstrap"], rows)
    return section


def clock(function: Callable[[], object]) -> float:
    """Return the median time of five calls, in seconds."""
    times_s = []
    for _ in range(5):
        started = time.perf_counter()
        function()
        times_s.append(time.perf_counter() - started)
    return statistics.median(times_s)


def clock_bootstrap(control: np.ndarray, treatment: np.ndarray) -> float:
    """Return the time of scipy's percentile bootstrap of the difference, scaled to its default number of resamples."""
    from scipy import stats

    def difference(x: np.ndarray, y: np.ndarray, axis: int) -> np.ndarray:
        return np.median(y, axis=axis) - np.median(x, axis=axis)

    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        stats.bootstrap(
            (control, treatment),
            difference,
            n_resamples=_MEASURED_RESAMPLES,
            batch=10,
            method="percentile",
            rng=np.random.default_rng(SEED),
        )
    return (time.perf_counter() - started) * _RESAMPLES / _MEASURED_RESAMPLES
